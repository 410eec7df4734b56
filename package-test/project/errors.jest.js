const { WebSocketPlugin } = require('nextrush-websocket');

test('an option that is wrong is refused', () => {
  // Not compared with TypeError: jest gives each test file one of its own.
  expect(() => new WebSocketPlugin({ path: '' })).toThrow('option "path"');
});
