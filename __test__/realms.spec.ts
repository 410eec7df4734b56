/** Errors belong to the realm that called: test runners such as Jest give each file one of its own. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createContext, runInContext, Script } from 'node:vm';
import { describe, expect, onTestFinished, test } from 'vitest';
import { connect } from './support/client.js';
import { createServer, wsUrl } from './support/transport.js';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The package as such a runner loads it: its JavaScript in a realm, the rest from outside. */
function loadInRealm() {
  const realm = createContext({ process, Buffer, setTimeout, clearTimeout, setImmediate, console });
  const outside = createRequire(import.meta.url);
  const modules = new Map<string, { exports: unknown }>();
  const load = (path: string): unknown => {
    const loaded = modules.get(path);
    if (loaded) return loaded.exports;
    const module = { exports: {} };
    modules.set(path, module);
    const source = `(function (module, exports, require, __dirname) {${readFileSync(path, 'utf8')}\n})`;
    const body = new Script(source, { filename: path }).runInContext(realm);
    const require = (name: string) => {
      if (!name.startsWith('.')) return outside(name);
      const found = outside.resolve(resolve(dirname(path), name));
      return /\/lib\//.test(found) ? load(found) : outside(found);
    };
    body(module, module.exports, require, dirname(path));
    return module.exports;
  };
  const types = runInContext('({ Array, Error, Object, RangeError, TypeError })', realm);
  const pkg = load(resolve(root, 'index.js')) as typeof import('../index.js');
  return { ...types, ...pkg } as typeof pkg & {
    Array: ArrayConstructor;
    Error: ErrorConstructor;
    Object: ObjectConstructor;
    TypeError: TypeErrorConstructor;
    RangeError: RangeErrorConstructor;
  };
}

describe('an error', () => {
  const realm = loadInRealm();

  const never = undefined as never;
  const make = () => {
    const server = createServer();
    const plugin = new realm.WebSocketPlugin({ maxRoomsPerConnection: 1 });
    return { server, plugin, app: plugin.attach(server) };
  };

  const cases: [what: string, kind: 'Error' | 'TypeError' | 'RangeError', act: () => unknown][] = [
    [
      'of an option of the wrong type',
      'TypeError',
      () => new realm.WebSocketPlugin({ path: 5 as never }),
    ],
    [
      'of an option out of range',
      'RangeError',
      () => new realm.WebSocketPlugin({ maxConnections: -1 }),
    ],
    [
      'of an option that does not exist',
      'TypeError',
      () => new realm.WebSocketPlugin({ x: 1 } as never),
    ],
    ['of install()', 'TypeError', () => new realm.WebSocketPlugin().install(never)],
    ['of attach()', 'TypeError', () => new realm.WebSocketPlugin().attach(never)],
    [
      'of a second attach()',
      'Error',
      () => {
        const { plugin, server } = make();
        plugin.attach(server);
      },
    ],
    ['of ws() with a bad path', 'TypeError', () => make().app.ws('bad', () => {})],
    ['of ws() with a bad handler', 'TypeError', () => make().app.ws('/a', never)],
    [
      'of ws() a second time',
      'Error',
      () =>
        make()
          .app.ws('/a', () => {})
          .ws('/a/', () => {}),
    ],
    ['of wsBroadcast()', 'TypeError', () => make().app.wsBroadcast(5 as never)],
    ['of withWebSocket()', 'TypeError', () => realm.withWebSocket({} as never)],
  ];

  test.each(cases)('%s is a %s of this realm', (_what, kind, act) => {
    expect(act).toThrow(realm[kind]);
    expect(act).toThrow(realm.Error);
  });

  test('of a connection is one too, and so are those that listeners get', async () => {
    const { server, plugin, app } = make();
    onTestFinished(async () => {
      await plugin.cleanup();
      server.close();
    });
    const thrown: unknown[] = [];
    const reported: unknown[] = [];
    plugin.on('error', (error) => reported.push(error));
    app.ws('/errors', (socket) => {
      socket.join('one');
      for (const act of [
        () => socket.join('two'),
        () => socket.send(never),
        () => socket.close(7),
      ]) {
        try {
          act();
        } catch (error) {
          thrown.push(error);
        }
      }
      throw 'a text';
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const { port } = server.address() as { port: number };
    await (await connect(wsUrl(port, '/errors'))).closed;
    const kinds = [realm.RangeError, realm.TypeError, realm.RangeError];
    for (const [index, kind] of kinds.entries()) expect(thrown[index]).toBeInstanceOf(kind);
    const { rooms, rejected } = plugin.getStats();
    expect(rooms).toBeInstanceOf(realm.Array);
    expect(rejected).toBeInstanceOf(realm.Object);
    expect(reported).toHaveLength(1);
    expect(reported[0]).toBeInstanceOf(realm.Error);
  });
});
