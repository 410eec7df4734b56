import addon from './index.js';

export const { WebSocketPlugin, withWebSocket, hasWebSocketSupport } = addon;
