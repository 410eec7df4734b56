import { once } from 'node:events';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createApp } from '../examples/host/index.js';
import {
  hasWebSocketSupport,
  WebSocketPlugin,
  type WSConnection,
  type WSContext,
  withWebSocket,
} from '../index.js';
import { connect, refused } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { answerTo, fetchFrom, parseResponse, upgradeStatus } from './support/http.js';
import { frame, PING, PONG, rawConnect, rawUpgrade, TEXT, upgradeRequest } from './support/raw.js';
import { serve } from './support/server.js';

type App = ReturnType<typeof createApp>;
type HostContext = Parameters<Parameters<App['use']>[0]>[0];

/** The context as the plugin enhances it. */
const ws = (ctx: HostContext) => ctx as unknown as WSContext;

interface Seen {
  where: string;
  isWebSocket: boolean;
  ws: WSConnection | undefined;
  wsRooms: unknown;
}

function look(where: string, ctx: HostContext): Seen {
  const { isWebSocket, wsRooms } = ws(ctx);
  return { where, isWebSocket, ws: ws(ctx).ws, wsRooms };
}

/** What the host has to say of requests that failed, in place of stderr. */
function printedErrors() {
  const errors = queue<unknown>();
  const print = vi.spyOn(console, 'error').mockImplementation((_, error) => errors.push(error));
  onTestFinished(() => print.mockRestore());
  return errors;
}

const isManager = expect.objectContaining({
  broadcast: expect.any(Function),
  getRooms: expect.any(Function),
  on: expect.any(Function),
});

describe.each([
  ['the host', { debug: false }],
  ['the host in debug mode', { debug: true }],
])('on %s', (_name, host) => {
  /** Everything that middleware before and after the plugin and a route see, in order. */
  async function watched() {
    const seen: Seen[] = [];
    const through = queue<string>();
    const served = await serve(
      {
        host,
        before: (app) => {
          app.use(async (ctx, next) => {
            seen.push(look('before', ctx));
            await next();
            seen.push(look('before, on the way back', ctx));
            through.push(ctx.path);
          });
        },
      },
      ({ app }) => {
        app.use(async (ctx, next) => {
          seen.push(look('after', ctx));
          await next();
        });
        app.get('/page', (ctx) => {
          seen.push(look('route', ctx));
          ctx.res.json({ ok: true });
        });
      },
    );
    return {
      ...served,
      seen,
      through,
      fetchPage: () => fetchFrom(served.port, '/page'),
    };
  }

  test('every HTTP request has isWebSocket false, ws undefined and the room manager', async () => {
    const { seen, fetchPage } = await watched();
    expect(await (await fetchPage()).json()).toEqual({ ok: true });
    expect(seen.map(({ where }) => where)).toEqual([
      'before',
      'after',
      'before, on the way back',
      'route',
    ]);
    for (const { where: _, ...fields } of seen) {
      expect(fields).toEqual({ isWebSocket: false, ws: undefined, wsRooms: isManager });
    }
  });

  test('an upgrade request runs through the middleware: isWebSocket first, ws later', async () => {
    const connections = queue<WSConnection>();
    const { seen, through, url, plugin } = await watched();
    plugin.on('connection', connections.push);
    await connect(url('/ws?a=b'));
    const connection = await connections.next();
    expect(await through.next()).toBe('/ws');
    expect(seen).toEqual([
      { where: 'before', isWebSocket: true, ws: undefined, wsRooms: isManager },
      { where: 'after', isWebSocket: true, ws: connection, wsRooms: isManager },
      { where: 'before, on the way back', isWebSocket: true, ws: connection, wsRooms: isManager },
    ]);
    expect(seen[1]?.ws).toBe(connection);
    expect(seen[2]?.ws).toBe(connection);
  });

  test('nothing of an upgrade is left in the context of a later request', async () => {
    const { seen, through, url, fetchPage } = await watched();
    for (let round = 0; round < 3; round++) {
      await connect(url());
      await through.next();
      seen.length = 0;
      await fetchPage();
      await through.next();
      expect(seen).toHaveLength(4);
      for (const fields of seen) expect(fields).toMatchObject({ isWebSocket: false });
      for (const fields of seen) expect(fields.ws).toBeUndefined();
    }
  });

  test('nothing of a refused upgrade is left either', async () => {
    const seen = queue<Seen>();
    const { url, port } = await serve({ host, verifyClient: () => false }, ({ app }) => {
      app.get('/page', (ctx) => {
        seen.push(look('route', ctx));
        ctx.res.json({});
      });
    });
    expect(await refused(url())).toMatchObject({ status: 401 });
    await fetchFrom(port, '/page');
    expect(await seen.next()).toMatchObject({ isWebSocket: false, ws: undefined });
  });

  test('middleware after the plugin does not run for an upgrade that is refused, a route does', async () => {
    const passed = queue<string>();
    const ran: string[] = [];
    const { url, port } = await serve(
      {
        host,
        verifyClient: async () => false,
        before: (app) => {
          app.use(async (ctx, next) => {
            await next();
            passed.push(`${ctx.path} on the way back`);
          });
        },
      },
      ({ app }) => {
        app.use(async (ctx, next) => {
          ran.push(`${ctx.path} in middleware`);
          await next();
        });
        app.get('/ws', (ctx) => {
          ran.push(`${ctx.path} in the route`);
          ctx.res.json({});
        });
      },
    );
    expect(await refused(url())).toMatchObject({ status: 401 });
    expect(await passed.next()).toBe('/ws on the way back');
    expect(ran).toEqual(['/ws in the route']);
    await fetchFrom(port, '/ws');
    expect(ran.slice(1)).toEqual(['/ws in middleware', '/ws in the route']);
  });

  test('an upgrade request has the context of any request: path, query, headers, ip', async () => {
    const contexts = queue<Record<string, unknown>>();
    const { url } = await serve({
      host,
      before: (app) => {
        app.use(async ({ method, url, path, query, headers, ip, secure }, next) => {
          contexts.push({ method, url, path, query, agent: headers['user-agent'], ip, secure });
          await next();
        });
      },
    });
    await connect(url('/ws?room=7'), { headers: { 'user-agent': 'test' } });
    expect(await contexts.next()).toMatchObject({
      method: 'GET',
      url: '/ws?room=7',
      path: '/ws',
      query: { room: '7' },
      agent: 'test',
      ip: '127.0.0.1',
    });
  });

  test('middleware before the plugin can set state that later middleware reads', async () => {
    const users = queue<unknown>();
    const { url } = await serve(
      {
        host,
        before: (app) => {
          app.use(async (ctx, next) => {
            if (ws(ctx).isWebSocket) ctx.state.user = 'Ada';
            await next();
          });
        },
      },
      ({ app }) => {
        app.use(async (ctx, next) => {
          users.push(ctx.state.user);
          ws(ctx).ws?.send(`Hello ${ctx.state.user}`);
          await next();
        });
      },
    );
    const client = await connect(url());
    expect(await client.next()).toBe('Hello Ada');
    expect(await users.next()).toBe('Ada');
  });

  test('middleware before the plugin can answer with 401 as JSON, which the client gets', async () => {
    const verifyClient = vi.fn(() => true);
    const handler = vi.fn();
    const { port, url, plugin } = await serve(
      {
        host,
        verifyClient,
        before: (app) => {
          app.use(async (ctx, next) => {
            if (ws(ctx).isWebSocket && ctx.query.token !== 'good') {
              ctx.res.set('www-authenticate', 'Bearer').status(401).json({ error: 'Who are you?' });
              return;
            }
            await next();
          });
        },
      },
      ({ wsApp }) => {
        wsApp.ws('/ws', handler);
      },
    );
    const answer = await answerTo(port, upgradeRequest('/ws'));
    expect(answer).toMatchObject({
      status: 401,
      statusText: 'Unauthorized',
      headers: {
        'www-authenticate': 'Bearer',
        'content-type': 'application/json; charset=utf-8',
        connection: 'close',
      },
      body: '{"error":"Who are you?"}',
    });
    const refusal = await refused(url());
    expect(refusal).toMatchObject({ status: 401, body: '{"error":"Who are you?"}' });
    expect(verifyClient).not.toHaveBeenCalled();
    expect(handler).not.toHaveBeenCalled();
    expect(plugin.getStats()).toMatchObject({ totalConnections: 0, rejected: { application: 2 } });
    await connect(url('/ws?token=good'));
    expect(handler).toHaveBeenCalledOnce();
  });

  test('a request that middleware has answered does not count against the limit', async () => {
    const { url } = await serve({
      host,
      maxConnections: 1,
      before: (app) => {
        app.use(async (ctx, next) => {
          if (ctx.query.token) await next();
          else ctx.res.status(401).json({});
        });
      },
    });
    for (let count = 0; count < 3; count++) {
      expect(await refused(url())).toMatchObject({ status: 401 });
    }
    await connect(url('/ws?token=x'));
  });

  test('nothing that the router answers after the upgrade reaches the socket', async () => {
    const { port, wsApp, through } = await watched();
    const client = await rawUpgrade(port);
    expect(await through.next()).toBe('/ws');
    wsApp.wsBroadcast('marker');
    expect(await client.frame()).toMatchObject({ opcode: TEXT, payload: Buffer.from('marker') });
    client.write(frame(PING, 'ping'));
    expect(await client.frame()).toMatchObject({ opcode: PONG, payload: Buffer.from('ping') });
  });

  test('nothing that middleware writes after the upgrade does, early or late', async () => {
    const written = queue<string>();
    const gate = deferred();
    const { port, wsApp } = await serve({
      host,
      before: (app) => {
        app.use(async (ctx, next) => {
          await next();
          ctx.res.setHeader('x-late', 'yes');
          ctx.res.write('late bytes');
          ctx.res.socket?.write('late bytes');
          ctx.req.socket.write('late bytes');
          written.push('on the way back');
          await gate.promise;
          ctx.res.end('later bytes');
          written.push('later');
        });
      },
    });
    const client = await rawConnect(port);
    client.write(upgradeRequest('/ws'));
    const { status, headers } = parseResponse(await client.head());
    expect(status).toBe(101);
    expect(headers).not.toHaveProperty('x-late');
    expect(await written.next()).toBe('on the way back');
    wsApp.wsBroadcast('first');
    expect(await client.frame()).toMatchObject({ opcode: TEXT, payload: Buffer.from('first') });
    gate.resolve();
    expect(await written.next()).toBe('later');
    wsApp.wsBroadcast('second');
    expect(await client.frame()).toMatchObject({ opcode: TEXT, payload: Buffer.from('second') });
  });

  test('a route on the same path does not answer an upgrade', async () => {
    const { port, wsApp } = await serve({ host }, ({ app }) => {
      app.get('/ws', (ctx) => {
        ctx.res.json({ page: true });
      });
    });
    const page = await fetchFrom(port, '/ws');
    expect(await page.json()).toEqual({ page: true });
    const client = await rawUpgrade(port);
    wsApp.wsBroadcast('marker');
    expect((await client.frame()).payload.toString()).toBe('marker');
  });

  test.each<[string, (error: Error) => void | Promise<void>]>([
    [
      'throws',
      (error) => {
        throw error;
      },
    ],
    ['rejects', async (error) => Promise.reject(error)],
  ])('middleware that %s gives the client a 500', async (_name, act) => {
    const mine = new Error('the application is wrong');
    const errors = printedErrors();
    const { port, plugin } = await serve({
      host,
      before: (app) => {
        app.use((ctx, next) => (ctx.query.bad ? act(mine) : next()));
      },
    });
    const answer = await answerTo(port, upgradeRequest('/ws?bad=1'));
    expect(answer).toMatchObject({ status: 500, headers: { connection: 'close' } });
    expect(answer.body).toContain('Internal Server Error');
    expect(await errors.next()).toBe(mine);
    expect(plugin.getStats().totalConnections).toBe(0);
    expect(await upgradeStatus(port)).toBe(101);
  });

  test('middleware that throws after the upgrade does the connection no harm', async () => {
    const errors = printedErrors();
    const { url } = await serve(
      {
        host,
        before: (app) => {
          app.use(async (_ctx, next) => {
            await next();
            throw new Error('too late to matter');
          });
        },
      },
      ({ wsApp }) => {
        wsApp.ws('/ws', (socket) => socket.onMessage((data) => socket.send(data)));
      },
    );
    const client = await connect(url());
    expect(await errors.next()).toMatchObject({ message: 'too late to matter' });
    client.send('still here');
    expect(await client.next()).toBe('still here');
  });

  test('async middleware may take its time', async () => {
    const gate = deferred();
    const reached = deferred();
    const { url, plugin } = await serve({
      host,
      before: (app) => {
        app.use(async (_ctx, next) => {
          reached.resolve();
          await gate.promise;
          await next();
        });
      },
    });
    const client = connect(url());
    await reached.promise;
    expect(plugin.getStats().totalConnections).toBe(0);
    gate.resolve();
    await client;
    expect(plugin.getStats().totalConnections).toBe(1);
  });

  test('middleware that never goes on ends after handshakeTimeoutMs', async () => {
    const { port, plugin } = await serve({
      host,
      handshakeTimeoutMs: 50,
      before: (app) => {
        app.use(() => new Promise(() => {}));
      },
    });
    expect(await answerTo(port, upgradeRequest('/ws'))).toMatchObject({ status: 503 });
    expect(plugin.getStats().rejected).toMatchObject({ timeout: 1 });
  });

  test.each<[string, (ctx: HostContext) => Promise<unknown>]>([
    [
      'by events',
      ({ req }) => {
        req.on('data', () => {});
        return once(req, 'end');
      },
    ],
    [
      'by an async iterator',
      async ({ req }) => {
        for await (const _chunk of req);
      },
    ],
    [
      'by resume()',
      ({ req }) => {
        req.resume();
        return once(req, 'end');
      },
    ],
  ])(
    'a body parser that reads the request %s neither hangs nor eats frames',
    async (_name, read) => {
      const messages = queue<string | Buffer>();
      const { port } = await serve(
        {
          host,
          before: (app) => {
            app.use(async (ctx, next) => {
              await read(ctx);
              await next();
            });
          },
        },
        ({ wsApp }) => {
          wsApp.ws('/ws', (socket) => socket.onMessage(messages.push));
        },
      );
      const client = await rawUpgrade(port, '/ws', frame(TEXT, 'early'));
      client.write(frame(TEXT, 'late'));
      expect(await messages.next()).toBe('early');
      expect(await messages.next()).toBe('late');
    },
  );

  test('headers set before the upgrade are on the 101, repeated ones included', async () => {
    const { port } = await serve({
      host,
      before: (app) => {
        app.use(async (ctx, next) => {
          ctx.res.set('set-cookie', ['session=1; HttpOnly', 'theme=dark']);
          ctx.res.set('X-Request-Id', 'abc');
          await next();
        });
      },
    });
    const client = await rawConnect(port);
    client.write(upgradeRequest('/ws'));
    const { status, headers } = parseResponse(await client.head());
    expect(status).toBe(101);
    expect(headers).toMatchObject({
      'set-cookie': ['session=1; HttpOnly', 'theme=dark'],
      'x-request-id': 'abc',
      upgrade: 'websocket',
      connection: 'Upgrade',
      'sec-websocket-accept': 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
    });
  });

  test('headers that would describe a body or the handshake are not on the 101', async () => {
    const { port, wsApp } = await serve({
      host,
      before: (app) => {
        app.use(async (ctx, next) => {
          ctx.res.set('content-length', '5').set('content-type', 'text/html');
          ctx.res.set('transfer-encoding', 'chunked').set('connection', 'close');
          ctx.res.set('sec-websocket-accept', 'forged').set('sec-websocket-protocol', 'forged');
          await next();
        });
      },
    });
    const client = await rawConnect(port);
    client.write(upgradeRequest('/ws'));
    const { headers } = parseResponse(await client.head());
    expect(Object.keys(headers).sort()).toEqual(['connection', 'sec-websocket-accept', 'upgrade']);
    expect(headers).toMatchObject({ connection: 'Upgrade' });
    wsApp.wsBroadcast('marker');
    expect((await client.frame()).payload.toString()).toBe('marker');
  });
});

describe('ctx.wsRooms', () => {
  test('broadcasts from HTTP routes to a room', async () => {
    const { url, port } = await serve({}, ({ app, wsApp }) => {
      wsApp.ws('/rooms/:room', (socket) => socket.join(socket.url.slice(7)));
      app.use(app.json());
      app.post('/notify', (ctx) => {
        const { room, message } = ctx.body as { room: string; message: string };
        ws(ctx).wsRooms.broadcast(room, message);
        ctx.res.json({ success: true });
      });
    });
    const red = await connect(url('/rooms/red'));
    const blue = await connect(url('/rooms/blue'));
    const notify = async (room: string, message: string) => {
      const response = await fetchFrom(port, '/notify', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ room, message }),
      });
      expect(await response.json()).toEqual({ success: true });
    };
    await notify('red', 'for red');
    await notify('nobody', 'for nobody');
    await notify('blue', 'for blue');
    expect(await red.next()).toBe('for red');
    expect(await blue.next()).toBe('for blue');
  });

  test('leaves out the connection that is excluded', async () => {
    const sockets: WSConnection[] = [];
    const { url, port } = await serve({}, ({ app, wsApp }) => {
      wsApp.ws('/ws', (socket) => {
        sockets.push(socket);
        socket.join('room');
      });
      app.get('/notify', (ctx) => {
        ws(ctx).wsRooms.broadcast('room', 'for the others', sockets[0]);
        ws(ctx).wsRooms.broadcast('room', Buffer.from('for all'));
        ctx.res.json({});
      });
    });
    const first = await connect(url());
    const second = await connect(url());
    await fetchFrom(port, '/notify');
    expect(await first.next()).toEqual(Buffer.from('for all'));
    expect(await second.next()).toBe('for the others');
    expect(await second.next()).toEqual(Buffer.from('for all'));
  });

  test('can leave out the connection of the upgrade itself', async () => {
    const { url, wsApp } = await serve({}, ({ app, wsApp }) => {
      wsApp.ws('/ws', (socket) => socket.join('room'));
      app.use(async (ctx, next) => {
        const { wsRooms, ws: connection } = ws(ctx);
        if (connection) wsRooms.broadcast('room', 'somebody came', connection);
        await next();
      });
    });
    const first = await connect(url());
    const second = await connect(url());
    expect(await first.next()).toBe('somebody came');
    const third = await connect(url());
    expect(await first.next()).toBe('somebody came');
    expect(await second.next()).toBe('somebody came');
    wsApp.wsBroadcast('marker');
    expect(await third.next()).toBe('marker');
  });

  test('names the rooms and tells when they come and go', async () => {
    const managers: WSContext['wsRooms'][] = [];
    const { url, port } = await serve({}, ({ app, wsApp }) => {
      wsApp.ws('/ws', (socket) => {
        socket.onMessage((data) => {
          if (data === 'join') socket.join('room');
          else socket.leave('room');
          socket.send('done');
        });
      });
      app.get('/rooms', (ctx) => {
        managers.push(ws(ctx).wsRooms);
        ctx.res.json(ws(ctx).wsRooms.getRooms());
      });
    });
    const rooms = async () => (await fetchFrom(port, '/rooms')).json();
    expect(await rooms()).toEqual([]);
    const events: string[] = [];
    managers[0]?.on('room:created', (room) => events.push(`created ${room}`));
    managers[0]?.on('room:destroyed', (room) => events.push(`destroyed ${room}`));
    const client = await connect(url());
    client.send('join');
    await client.next();
    expect(await rooms()).toEqual(['room']);
    client.send('leave');
    await client.next();
    expect(await rooms()).toEqual([]);
    expect(events).toEqual(['created room', 'destroyed room']);
    expect(new Set(managers).size).toBe(1);
  });

  test.each<[string, unknown[], RegExp]>([
    ['a room that is no string', [5, 'x'], /room must be a string, got 5/],
    ['data that is neither text nor binary', ['room', { a: 1 }], /data must be .*got an object/],
    ['no data', ['room'], /data must be .*got undefined/],
    [
      'an exclude that is no connection',
      ['room', 'x', { id: 'x' }],
      /exclude must be a WSConnection/,
    ],
    [
      'an exclude that is null',
      ['room', 'x', null],
      /exclude must be a WSConnection, or \{ except \} with some, got null/,
    ],
  ])('refuses %s with a TypeError', async (_name, args, message) => {
    const errors = queue<unknown>();
    const { port } = await serve({}, ({ app }) => {
      app.get('/broadcast', (ctx) => {
        try {
          (ws(ctx).wsRooms.broadcast as (...args: unknown[]) => void)(...args);
        } catch (error) {
          errors.push(error);
        }
        ctx.res.json({});
      });
    });
    await fetchFrom(port, '/broadcast');
    const error = (await errors.next()) as TypeError;
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(message);
  });
});

describe('withWebSocket and hasWebSocketSupport', () => {
  test('withWebSocket throws a TypeError before the plugin is installed', () => {
    const app = createApp();
    expect(() => withWebSocket(app)).toThrow(TypeError);
    expect(() => withWebSocket(app)).toThrow(/install the plugin first/);
  });

  test('withWebSocket returns the application itself once it is installed', () => {
    const app = createApp();
    new WebSocketPlugin().install(app);
    expect(withWebSocket(app)).toBe(app);
  });

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a number', 5],
    ['a text', 'app'],
    ['a boolean', true],
    ['a symbol', Symbol('app')],
    ['a bigint', 1n],
    ['an empty object', {}],
    ['an array', []],
    ['a function', () => {}],
    ['an application without the plugin', createApp()],
    ['an object with one of the methods', { ws() {} }],
    ['an object with two of them', { ws() {}, wsUse() {} }],
    ['an object with methods that are none', { ws: true, wsUse: 'x', wsBroadcast: {} }],
    ['an object with methods that are undefined', { ws() {}, wsUse() {}, wsBroadcast: undefined }],
  ])('say no to %s', (_name, value) => {
    expect(hasWebSocketSupport(value)).toBe(false);
    expect(() => withWebSocket(value as App)).toThrow(TypeError);
  });

  test('say yes to an application with the plugin, and to what has its methods', () => {
    const app = createApp();
    new WebSocketPlugin().install(app);
    const like = { ws() {}, wsUse() {}, wsBroadcast() {}, use() {} };
    for (const value of [app, like, Object.create(app), Object.assign(() => {}, like)]) {
      expect(hasWebSocketSupport(value)).toBe(true);
      expect(withWebSocket(value)).toBe(value);
    }
  });
});
