import { WebSocketPlugin } from 'nextrush-websocket';
import { expect, test } from 'vitest';

test('an option that is wrong is a TypeError', () => {
  expect(() => new WebSocketPlugin({ path: '' })).toThrow(TypeError);
});
