'use strict';

const { inThisRealm } = require('./lib/errors.js');
const { hasWebSocketSupport, withWebSocket: check } = require('./lib/native.js');
const { WebSocketPlugin } = require('./lib/plugin.js');

function withWebSocket(app) {
  return inThisRealm(() => check(app));
}

module.exports = { WebSocketPlugin, withWebSocket, hasWebSocketSupport };
