const { WebSocketPlugin } = require('nextrush-websocket');

test('an option that is wrong is refused', () => {
  const make = () => new WebSocketPlugin({ path: '' });
  expect(make).toThrow('option "path"');
  // Jest gives each test file a TypeError of its own.
  expect(make).toThrow(TypeError);
});
