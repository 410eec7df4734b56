'use strict';

const { hasWebSocketSupport, withWebSocket } = require('./js-binding.js');
const { WebSocketPlugin } = require('./lib/plugin.js');

module.exports = { WebSocketPlugin, withWebSocket, hasWebSocketSupport };
