// The package by its name, from a CommonJS module.
import websocket = require('nextrush-websocket');

const plugin: websocket.WebSocketPlugin = new websocket.WebSocketPlugin({ path: '/ws' });

export function setUp(app: websocket.Application): websocket.WebSocketApplication {
  plugin.install(app);
  return websocket.withWebSocket(app);
}
