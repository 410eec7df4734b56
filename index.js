'use strict';

const { hasWebSocketSupport, withWebSocket } = require('./lib/native.js');
const { WebSocketPlugin } = require('./lib/plugin.js');

module.exports = { WebSocketPlugin, withWebSocket, hasWebSocketSupport };
