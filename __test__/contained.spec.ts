/** User code that does its worst: nothing of it ends the process or reaches another connection. */
import { createReadStream } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';
import { inspect } from 'node:util';
import { runInNewContext } from 'node:vm';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { WSSocket } from '../index.js';
import { connect, expectEcho, refused } from './support/client.js';
import { stderr } from './support/console.js';
import { deferred, queue } from './support/events.js';
import { fetchFrom, upgradeStatus } from './support/http.js';
import { echo, pair, serveRecorded } from './support/pair.js';
import { frame, rawConnect, rawUpgrade, TEXT, upgradeRequest } from './support/raw.js';
import { portOf, type Served, serve } from './support/server.js';
import { adopts } from './support/transport.js';

type Reported = [error: Error, socket: WSSocket | undefined];

function errorsOf({ plugin }: Pick<Served, 'plugin'>) {
  const errors = queue<Reported>();
  plugin.on('error', (error, socket) => errors.push([error, socket]));
  return errors;
}

const mine = new Error('the listener is wrong');

/** Objects that cannot be looked at without something being thrown. */
const hostile: [name: string, make: () => unknown][] = [
  [
    'an object whose then throws',
    () => ({
      // biome-ignore lint/suspicious/noThenProperty: that is what is tested
      get then() {
        throw mine;
      },
    }),
  ],
  [
    'a revoked Proxy',
    () => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return proxy;
    },
  ],
  [
    'a thenable that throws when it is asked',
    () => ({
      // biome-ignore lint/suspicious/noThenProperty: that is what is tested
      then() {
        throw mine;
      },
    }),
  ],
  [
    'a thenable that settles twice',
    () => ({
      // biome-ignore lint/suspicious/noThenProperty: that is what is tested
      then(_resolve: () => void, reject: (error: Error) => void) {
        reject(mine);
        reject(mine);
      },
    }),
  ],
];

describe('an async listener that rejects', () => {
  const rejecting = async () => {
    throw mine;
  };

  test.each(['connection', 'close', 'room:created', 'room:destroyed'])(
    'for %s, of the plugin or of the application, is reported like one that throws',
    async (event) => {
      const { client, plugin, app, socket } = await pair();
      const errors = errorsOf({ plugin });
      plugin.on(event as 'close', rejecting);
      plugin.once(event as 'close', rejecting);
      app.on(`plugin:WebSocketPlugin:${event}`, rejecting);
      let expected: WSSocket | undefined;
      if (event === 'connection') {
        const connected = queue<WSSocket>();
        plugin.on('connection', connected.push);
        await connect(`${client.ws.url}?second`);
        expected = await connected.next();
      } else if (event === 'close') {
        client.close();
        expected = socket;
      } else {
        socket.join('room');
        socket.leave('room');
      }
      for (let count = 0; count < 3; count++) {
        const [error, of] = await errors.next();
        expect(error).toBe(mine);
        expect(of).toBe(expected);
      }
    },
  );

  test.each(['room:created', 'room:destroyed'])('for %s of the room manager too', async (event) => {
    const { plugin, app, socket, port } = await pair({
      before: (host) => {
        host.use(async (ctx, next) => {
          ctx.wsRooms?.on(event as 'room:created', rejecting);
          await next();
        });
      },
    });
    expect(app).toBeDefined();
    expect(await upgradeStatus(port)).toBe(101);
    const errors = errorsOf({ plugin });
    socket.join('room');
    socket.leave('room');
    expect((await errors.next())[0]).toBe(mine);
  });

  test('for error goes to stderr, as there is nobody else to tell', async () => {
    const printed = stderr();
    const { client, plugin } = await pair({}, (socket) => {
      socket.onMessage(() => {
        throw new Error('first');
      });
    });
    plugin.on('error', rejecting);
    client.send('x');
    expect(await printed.next()).toContain(mine);
  });

  test('does not keep the other listeners from being called', async () => {
    const called = queue<string>();
    const served = await serve();
    const errors = errorsOf(served);
    served.plugin.on('connection', () => {
      throw mine;
    });
    served.plugin.on('connection', () => called.push('plugin'));
    served.app.on('plugin:WebSocketPlugin:connection', () => {
      throw mine;
    });
    served.app.on('plugin:WebSocketPlugin:connection', () => called.push('application'));
    await connect(served.url());
    expect([await called.next(), await called.next()]).toEqual(['plugin', 'application']);
    expect([(await errors.next())[0], (await errors.next())[0]]).toEqual([mine, mine]);
  });
});

describe.each(hostile)('%s', (_name, make) => {
  test('from a handler closes its connection with 1011 and is reported', async () => {
    const served = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', make as () => void);
      wsApp.ws('/echo', echo);
    });
    const errors = errorsOf(served);
    const client = await connect(served.url());
    expect(await client.closed).toMatchObject({ code: 1011 });
    expect((await errors.next())[1]).toMatchObject({ url: '/ws' });
    expect(errors.waiting).toEqual([]);
    await expectEcho(served.url('/echo'));
  });

  test('from middleware does so too', async () => {
    const served = await serve({}, ({ wsApp }) => wsApp.wsUse(make as () => void));
    const errors = errorsOf(served);
    const client = await connect(served.url());
    expect(await client.closed).toMatchObject({ code: 1011 });
    expect((await errors.next())[1]).toMatchObject({ url: '/ws' });
  });

  test('from listeners of a connection does so too', async () => {
    const served = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => {
        socket.onMessage(make as () => void);
        socket.onClose(make as () => void);
      });
    });
    const errors = errorsOf(served);
    const client = await connect(served.url());
    client.send('x');
    expect(await client.closed).toMatchObject({ code: 1011 });
    for (let count = 0; count < 2; count++) {
      expect((await errors.next())[1]).toMatchObject({ url: '/ws' });
    }
  });

  test('from listeners of the plugin is reported', async () => {
    const served = await serveRecorded({}, echo);
    const errors = errorsOf(served);
    served.plugin.on('connection', make as () => void);
    await expectEcho(served.url());
    expect((await errors.next())[1]).toMatchObject({ url: '/ws' });
  });

  test('from verifyClient refuses with 500 and is reported', async () => {
    const served = await serve({ verifyClient: make as () => boolean });
    const errors = errorsOf(served);
    expect(await refused(served.url())).toMatchObject({ status: 500 });
    await errors.next();
  });

  test('thrown, by whatever, is reported as an Error', async () => {
    const served = await serveRecorded({}, (socket) => {
      socket.onMessage(() => {
        throw make();
      });
    });
    const errors = errorsOf(served);
    const client = await connect(served.url());
    client.send('x');
    expect(await client.closed).toMatchObject({ code: 1011 });
    expect((await errors.next())[0]).toBeInstanceOf(Error);
  });
});

describe('an error that cannot be inspected', () => {
  const uninspectable: [name: string, make: () => unknown][] = [
    [
      'has a stack that throws',
      () =>
        Object.defineProperty(new Error('x'), 'stack', {
          get() {
            throw new Error('no stack');
          },
        }),
    ],
    [
      'throws when it is inspected',
      () => ({
        [inspect.custom]() {
          throw new Error('do not look');
        },
      }),
    ],
    [
      'has a message that throws',
      () =>
        Object.defineProperty(new Error('x'), 'message', {
          get() {
            throw new Error('no message');
          },
        }),
    ],
  ];

  test.each(uninspectable)(
    'as it %s, is printed all the same where nobody listens',
    async (_name, make) => {
      const lines = queue<string>();
      // As the real one does, which vitest has put something of its own in the place of.
      const spy = vi.spyOn(console, 'error').mockImplementation((...args) => {
        lines.push(args.map((arg) => (typeof arg === 'string' ? arg : inspect(arg))).join(' '));
      });
      onTestFinished(() => spy.mockRestore());
      const { client, url } = await pair({}, (socket) => {
        socket.onMessage((data) => {
          if (data === 'boom') throw make();
          socket.send(data);
        });
      });
      client.send('boom');
      expect(await client.closed).toMatchObject({ code: 1011 });
      expect(await lines.next()).toMatch(/^\[WebSocketPlugin\] error \(connection [0-9a-f-]+\):/);
      await expectEcho(url());
    },
  );
});

describe('an application that puts what throws on the socket', () => {
  const bad = () => {
    throw mine;
  };

  test.each(['id', 'url', 'close', 'protocol', 'lastPong', 'isAlive', 'then'])(
    'as its %s, keeps nobody from being closed, and logging goes on',
    async (property) => {
      const logged = vi.spyOn(console, 'log').mockImplementation(() => {});
      onTestFinished(() => logged.mockRestore());
      const printed = stderr();
      const { url, plugin } = await serveRecorded({ debug: true }, (socket) => {
        if (socket.url !== '/ws?bad') return echo(socket);
        Object.defineProperty(socket, property, { get: bad, configurable: true });
        socket.onMessage(bad);
      });
      const failing = await connect(url('/ws?bad'));
      failing.send('boom');
      expect(await failing.closed).toMatchObject({ code: 1011 });
      expect((await printed.next())[1]).toBe(mine);
      const clients = [await connect(url('/ws?bad')), await connect(url()), await connect(url())];
      await plugin.cleanup();
      for (const client of clients) expect(await client.closed).toMatchObject({ code: 1001 });
      expect(plugin.getStats().totalConnections).toBe(0);
    },
  );
});

describe('cleaning up inside of user code', () => {
  test.each<[string, (served: Served) => unknown]>([
    ['cleanup()', ({ plugin }) => plugin.cleanup()],
    ['close() of the server', ({ server }) => server.close()],
  ])(
    'that chooses a subprotocol, by %s, refuses this client with one answer',
    async (_name, end) => {
      let calls = 0;
      const served: Served = await serve({
        protocols: ([first]) => {
          if (calls++ === 0) end(served);
          return first ?? false;
        },
      });
      const refusal = await refused(served.url(), { headers: { 'Sec-WebSocket-Protocol': 'a' } });
      expect(refusal.status).toBe(503);
      expect(refusal.body).toContain('shutting down');
      expect(served.plugin.getStats()).toMatchObject({
        totalConnections: 0,
        rejected: { shuttingDown: 1 },
      });
    },
  );

  test('that verifies a client does so too', async () => {
    const served: Served = await serve({
      verifyClient: () => {
        void served.plugin.cleanup();
        return true;
      },
    });
    expect((await refused(served.url())).status).toBe(503);
  });

  test('that makes a header into text does so too', async () => {
    const served: Served = await serve({
      before: (app) => {
        app.use(async (ctx, next) => {
          let reads = 0;
          const value = {
            toString() {
              // Node asks for the text first, to check it.
              if (++reads === 2) void served.plugin.cleanup();
              return 'x';
            },
          };
          ctx.res.setHeader('X-Custom', value as never);
          await next();
        });
      },
    });
    expect((await refused(served.url())).status).toBe(503);
  });
});

test('a connection that is kept beyond the clean-up reaches nobody once the plugin serves again', async () => {
  const sockets: WSSocket[] = [];
  const { url, server, plugin } = await serveRecorded({}, (socket) => {
    socket.join('room');
    sockets.push(socket);
  });
  const first = await connect(url());
  await new Promise((resolve) => server.close(resolve));
  await plugin.cleanup();
  expect(await first.closed).toMatchObject({ code: 1001 });
  server.listen(0, '127.0.0.1');
  const port = await portOf(server);
  const stranger = await rawUpgrade(port);
  const old = sockets[0] as WSSocket;
  old.send('to whom?');
  old.send(Buffer.from('to whom?'));
  old.broadcast('room', 'to whom?');
  old.ping();
  old.join('another room');
  old.leave('room');
  old.isAlive = false;
  old.markAlive();
  old.close(4000, 'not yours');
  expect(old.isAlive).toBe(false);
  expect(old.bufferedAmount).toBe(0);
  expect(plugin.getStats().rooms).toEqual(['room']);
  sockets[1]?.send('to you');
  expect(await stranger.frame()).toMatchObject({ opcode: TEXT, payload: Buffer.from('to you') });
  stranger.write(frame(TEXT, 'still here'));
  sockets[1]?.close(4001);
  expect((await stranger.frame()).payload.readUInt16BE()).toBe(4001);
});

test('excluding a connection of another plugin excludes nobody', async () => {
  const stranger = await pair();
  const { plugin, url, port } = await serve({
    before: (app) => {
      app.use(async (ctx, next) => {
        if (ctx.path === '/tell') ctx.wsRooms?.broadcast('room', 'hello', stranger.socket);
        await next();
      });
    },
  });
  plugin.on('connection', (socket) => socket.join('room'));
  const member = await connect(url());
  await fetchFrom(port, '/tell');
  expect(await member.next()).toBe('hello');
});

describe('req.socket', () => {
  test('emits close when the connection ends, and not when it changes hands', async () => {
    const events: string[] = [];
    const closed = queue<string>();
    const { url } = await serve(
      {
        verifyClient: (req) => Boolean(req.socket.once('close', () => closed.push('verifyClient'))),
      },
      ({ wsApp }) => {
        wsApp.ws('/ws', (socket, req) => {
          req.socket.once('close', () => closed.push('handler'));
          socket.onClose(() => req.socket.once('close', () => closed.push('onClose')));
          socket.onMessage((data) => {
            req.socket.once('close', () => closed.push('listener'));
            events.push('message');
            socket.send(data);
          });
        });
      },
    );
    const client = await connect(url());
    for (const text of ['a', 'b']) {
      client.send(text);
      expect(await client.next()).toBe(text);
    }
    // A turn of the event loop, in which a closed socket would have told of it.
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed.waiting).toEqual([]);
    client.close();
    const all = [];
    while (all.length < 5) all.push(await closed.next());
    expect(all.sort()).toEqual(['handler', 'listener', 'listener', 'onClose', 'verifyClient']);
  });

  // Elsewhere it is Node itself that emits, as on any other server.
  test.runIf(adopts)('may have a listener for close that throws, which is reported', async () => {
    const served = await serveRecorded();
    const errors = errorsOf(served);
    served.plugin.on('connection', (_socket, req) => {
      req.socket.once('close', () => {
        throw mine;
      });
    });
    (await connect(served.url())).close();
    expect((await errors.next())[0]).toBe(mine);
  });
});

describe('a response of an upgrade request that the application destroys', () => {
  const ways: [name: string, destroy: (res: ServerResponse) => unknown][] = [
    ['destroy()', (res) => res.destroy()],
    ['destroy() with an error', (res) => res.destroy(mine)],
    ['destroy() of its socket with an error', (res) => res.socket?.destroy(mine)],
    [
      'a pipeline that fails',
      (res) => new Promise((resolve) => pipeline(createReadStream('/nowhere'), res, resolve)),
    ],
    ['a write after its end', (res) => res.end('x') && res.write('y')],
  ];

  test.each(ways)('by %s in a route, does the connection no harm', async (_name, destroy) => {
    const { url } = await serve({}, ({ app, wsApp }) => {
      app.get('/ws', (ctx) => destroy(ctx.res) as undefined);
      wsApp.ws('/ws', echo);
    });
    for (let count = 0; count < 2; count++) await expectEcho(url());
  });

  test.each(ways.slice(0, 4))(
    'by %s before the upgrade, ends the connection',
    async (_name, destroy) => {
      const { port, plugin } = await serve({
        before: (app) => {
          app.use(async (ctx, next) => {
            await destroy(ctx.res);
            await next();
          });
        },
      });
      const client = await rawConnect(port);
      client.write(upgradeRequest('/ws'));
      expect(String(await client.end())).toBe('');
      expect(plugin.getStats().totalConnections).toBe(0);
    },
  );
});

test('an emit of somebody’s own is told, and neither drops promises nor ends the process', async () => {
  const served = await serveRecorded({}, echo);
  const errors = errorsOf(served);
  const { app, plugin } = served;
  const told = queue<unknown>();
  for (const emitter of [app, plugin]) {
    const emit = emitter.emit.bind(emitter) as (...args: unknown[]) => boolean;
    Object.assign(emitter, {
      emit: async (...args: unknown[]) => {
        told.push(args[0]);
        emit(...args);
        throw mine;
      },
    });
  }
  await expectEcho(served.url());
  expect(await told.next()).toBe('connection');
  expect(await told.next()).toBe('plugin:WebSocketPlugin:connection');
  for (let count = 0; count < 2; count++) expect((await errors.next())[0]).toBe(mine);
  const rejecting = async () => {
    throw mine;
  };
  plugin.on('connection', rejecting);
  app.on('plugin:WebSocketPlugin:connection', rejecting);
  await expectEcho(served.url());
  for (let count = 0; count < 2; count++) expect((await errors.next())[0]).toBe(mine);
});

describe('what is refused by middleware', () => {
  test.each<[string, unknown]>([
    ['an Error', new Error('denied')],
    ['an Error of another realm', runInNewContext('new RangeError("denied")')],
    ['a text', 'denied'],
    ['an empty text', ''],
    ['false', false],
    ['a DOMException', new DOMException('denied')],
    ['a promise, which says nothing yet', new Promise(() => {})],
  ])('by next() with %s closes with 1011 and is reported', async (_name, value) => {
    const handled = vi.fn();
    const served = await serve({}, ({ wsApp }) => {
      wsApp.wsUse((_socket, _req, next) => next(value));
      wsApp.ws('/ws', handled);
    });
    const errors = errorsOf(served);
    const client = await connect(served.url());
    expect(await client.closed).toMatchObject({ code: 1011 });
    expect((await errors.next())[1]).toMatchObject({ url: '/ws' });
    expect(handled).not.toHaveBeenCalled();
  });

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['true', true],
    ['0', 0],
    ['an object', { user: 'ada' }],
  ])('next() with %s goes on, as a promise may resolve with it', async (_name, value) => {
    const handled = deferred();
    const { url } = await serve({}, ({ wsApp }) => {
      wsApp.wsUse((_socket, _req, next) => Promise.resolve(value).then(next));
      wsApp.ws('/ws', () => handled.resolve());
    });
    await connect(url());
    await handled.promise;
  });

  test('by never calling next() says which one it was', async () => {
    const { url } = await serve({ handshakeTimeoutMs: 30 }, ({ wsApp }) => {
      wsApp.wsUse((_socket, _req, next) => next());
      wsApp.wsUse(function authenticate() {});
      wsApp.wsUse((_socket, _req, next) => next());
    });
    const client = await connect(url());
    expect(await client.closed).toEqual({
      code: 1008,
      reason:
        'the connection was not set up in time: middleware 2 of 3 (authenticate) did not call next()',
    });
  });
});
