/** What `require` and `import` get from the package. */
import { describe, expect, test } from 'vitest';
import { version } from '../package.json';
import { script } from './support/process.js';

describe('the package', () => {
  const names = ['WebSocketPlugin', 'hasWebSocketSupport', 'withWebSocket'];

  test('has the same named exports for require and for import', async () => {
    const { line, exited } = script(
      `import { createRequire } from 'node:module';
      import * as esm from 'nextrush-websocket';
      import { hasWebSocketSupport, WebSocketPlugin, withWebSocket } from 'nextrush-websocket';
      const cjs = createRequire(import.meta.url)('nextrush-websocket');
      const named = { WebSocketPlugin, withWebSocket, hasWebSocketSupport };
      console.log(JSON.stringify({
        esm: Object.keys(esm).sort(),
        cjs: Object.keys(cjs).sort(),
        same: Object.entries(named).every(([name, value]) => cjs[name] === value),
        types: Object.values(named).map((value) => typeof value),
      }));`,
      { module: true },
    );
    expect(JSON.parse(await line())).toEqual({
      esm: names,
      cjs: names,
      same: true,
      types: ['function', 'function', 'function'],
    });
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
  });

  test('knows its version', async () => {
    const { line } = script(`
      const { WebSocketPlugin } = require('nextrush-websocket');
      console.log(new WebSocketPlugin().version);`);
    expect(await line()).toBe(version);
  });

  test('can be destructured from require', async () => {
    const { line } = script(`
      const { WebSocketPlugin, withWebSocket, hasWebSocketSupport } = require('nextrush-websocket');
      console.log(new WebSocketPlugin().name, hasWebSocketSupport({}), typeof withWebSocket);`);
    expect(await line()).toBe('WebSocketPlugin false function');
  });
});
