/** One server and everyone on it: several plugins, other packages, plugins that come and go. */
import { EventEmitter, once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { type Duplex, Readable } from 'node:stream';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { createApp } from '../examples/host/index.js';
import { WebSocketPlugin, type WebSocketPluginOptions, withWebSocket } from '../index.js';
import { connect, expectEcho, refused } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { answerOf, answerTo, fetchFrom, parseResponse, upgradeStatus } from './support/http.js';
import { echo } from './support/pair.js';
import { script } from './support/process.js';
import { frame, rawConnect, rawUpgrade, TEXT, upgradeRequest } from './support/raw.js';
import { secondCopy } from './support/second-copy.js';
import { portOf, serve } from './support/server.js';
import {
  clientSource,
  createServer,
  createServerSource,
  hostOptions,
  isBun,
  securesByPlugin,
  wsUrl,
} from './support/transport.js';
import { until } from './support/until.js';

/** A server that listens, closed after the test. */
async function listening(server: Server = createServer()): Promise<number> {
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  return portOf(server);
}

function attached(server: Server, options: WebSocketPluginOptions = {}) {
  const plugin = new WebSocketPlugin(options);
  const methods = plugin.attach(server);
  onTestFinished(() => plugin.cleanup());
  return { plugin, methods };
}

/** What a server has of itself and of its listeners. */
function traces(server: Server) {
  const events = server.eventNames();
  return {
    keys: Reflect.ownKeys(server).filter((key) => key !== '_events' && key !== '_eventsCount'),
    events: Object.fromEntries(
      events.map((event) => [String(event), server.listenerCount(event as string)]),
    ),
  };
}

describe('an upgrade for nobody, beside a listener of another package that ignores it', () => {
  async function ignoring(handshakeTimeoutMs: number) {
    const sockets = queue<Duplex>();
    const server = createServer();
    const { plugin } = attached(server, { handshakeTimeoutMs });
    server.on('upgrade', (_req, socket) => sockets.push(socket));
    return { plugin, sockets, port: await listening(server) };
  }

  test('survives that the client resets the connection', async () => {
    const { port, sockets } = await ignoring(10_000);
    const client = await rawConnect(port);
    client.write(upgradeRequest('/nobody'));
    const socket = await sockets.next();
    const closed = once(socket, 'close').catch(() => {});
    client.reset();
    await closed;
    expect(await upgradeStatus(port, '/ws')).toBe(101);
  });

  test('is refused with 404 after handshakeTimeoutMs', async () => {
    const { port, plugin } = await ignoring(50);
    expect(await answerTo(port, upgradeRequest('/nobody'))).toMatchObject({ status: 404 });
    expect(plugin.getStats().rejected).toMatchObject({ path: 1 });
  });

  test('is left alone where the other one has answered, or closed', async () => {
    const { port, sockets, plugin } = await ignoring(50);
    const answered = await rawConnect(port);
    answered.write(upgradeRequest('/theirs'));
    const theirs = await sockets.next();
    theirs.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: theirs\r\n\r\n');
    await answered.head();
    const ended = await rawConnect(port);
    ended.write(upgradeRequest('/theirs'));
    (await sockets.next()).end();
    await ended.end();
    // A third one, which is refused, shows that the time of the others is over.
    expect(await answerTo(port, upgradeRequest('/nobody'))).toMatchObject({ status: 404 });
    theirs.write('bytes of their own');
    theirs.end();
    expect(String(await answered.end())).toBe('bytes of their own');
    expect(plugin.getStats().rejected).toMatchObject({ path: 1 });
  });
});

describe('an upgrade for nobody', () => {
  test('behind an earlier response, beside a listener that ignores it, is refused as well', async () => {
    const gate = deferred();
    const { port, plugin } = await serve({ handshakeTimeoutMs: 50 }, ({ app }) => {
      app.getServer().on('upgrade', () => {});
      app.get('/slow', async (ctx) => {
        await gate.promise;
        ctx.res.send('slow');
      });
      app.get('/stream', (ctx) => {
        ctx.res.write('endless');
        return new Promise(() => {});
      });
    });
    const get = (path: string) =>
      `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n${upgradeRequest('/nobody')}`;
    const slow = await rawConnect(port);
    slow.write(get('/slow'));
    setTimeout(gate.resolve, 10);
    expect(String(await slow.end())).toMatch(/200 OK.*slow.*404 Not Found/s);
    const stream = await rawConnect(port);
    stream.write(get('/stream'));
    await stream.end();
    expect(plugin.getStats().rejected).toMatchObject({ path: 1 });
  });

  test('whose path gets a route meanwhile is refused, and takes nobody’s place', async () => {
    const asked = deferred();
    const { port, wsApp, url } = await serve(
      { handshakeTimeoutMs: 50, maxConnections: 1 },
      ({ app }) => void app.getServer().on('upgrade', () => asked.resolve()),
    );
    const answer = answerTo(port, upgradeRequest('/later'));
    await asked.promise;
    wsApp.ws('/later', echo);
    expect(await answer).toMatchObject({ status: 404 });
    await expectEcho(url('/later'));
  });
});

describe('the package loaded twice', () => {
  test('has one hub per server: each serves its paths, and a path of neither is refused', async () => {
    const other = secondCopy();
    expect(other.WebSocketPlugin).not.toBe(WebSocketPlugin);
    const server = createServer();
    const first = attached(server, { path: '/first' });
    const second = new other.WebSocketPlugin({ path: '/second' });
    second.attach(server);
    onTestFinished(() => second.cleanup());
    const port = await listening(server);
    await connect(wsUrl(port, '/first'));
    await connect(wsUrl(port, '/second'));
    expect(first.plugin.getStats().totalConnections).toBe(1);
    expect(second.getStats().totalConnections).toBe(1);
    expect(await refused(wsUrl(port, '/third'))).toMatchObject({ status: 404 });
    expect(server.listenerCount('upgrade')).toBe(1);
  });

  test('has one reading of the context of an application', async () => {
    const other = secondCopy();
    const app = createApp(hostOptions);
    const first = new WebSocketPlugin({ path: '/first' });
    first.install(app);
    const second = new other.WebSocketPlugin({ path: '/second' });
    second.install(app);
    const seen = queue<unknown[]>();
    app.use(async (ctx, next) => {
      seen.push([ctx.path, ctx.isWebSocket, ctx.ws?.url]);
      await next();
    });
    onTestFinished(() => Promise.all([first.cleanup(), second.cleanup()]).then(() => {}));
    const port = await listening(app.getServer());
    for (const path of ['/first', '/second']) {
      await connect(wsUrl(port, path));
      expect(await seen.next()).toEqual([path, true, path]);
    }
  });
});

describe('a plugin that is cleaned up', () => {
  test('leaves nothing on its server', async () => {
    const server = createServer().on('request', (_req, res) => res.end('HTTP'));
    const port = await listening(server);
    // TLS stays: a server that has spoken it never speaks plain text again.
    if (securesByPlugin) await attached(server).plugin.cleanup();
    const before = traces(server);
    for (let round = 0; round < 3; round++) {
      const { plugin, methods } = attached(server);
      methods.ws('/echo', echo);
      await expectEcho(wsUrl(port, '/echo'));
      await plugin.cleanup();
      expect(traces(server)).toEqual(before);
      expect(await (await fetchFrom(port, '/echo')).text()).toBe('HTTP');
    }
  });

  test('leaves nothing on its application but methods and a place that do no harm', async () => {
    const app = createApp(hostOptions);
    const state = () => [app.middleware.length, app.listenerCount('shutdown')];
    for (let round = 0; round < 3; round++) {
      const plugin = new WebSocketPlugin();
      plugin.install(app);
      const wsApp = withWebSocket(app);
      await plugin.cleanup();
      expect(state()).toEqual([1, 0]);
      wsApp.wsBroadcast('to nobody');
    }
  });

  // It begins without a plugin.
  test.skipIf(securesByPlugin)(
    'never has a request that is under way leave out a middleware, or meet one twice',
    async () => {
      const app = createApp(hostOptions);
      const order = new Map<string, string[]>();
      const gates = [deferred(), deferred(), deferred()];
      let waiting = 0;
      for (const [index, name] of ['first', 'guard', 'last'].entries()) {
        app.use(async (ctx, next) => {
          const names = order.get(ctx.url) ?? [];
          order.set(ctx.url, [...names, name]);
          waiting += 1;
          await gates[index]?.promise;
          await next();
        });
      }
      app.get('/page', (ctx) => ctx.res.send('page'));
      const port = await listening(app.getServer());
      const reload = async () => {
        const plugin = new WebSocketPlugin();
        plugin.install(app);
        withWebSocket(app).ws('/echo', echo);
        await plugin.cleanup();
      };
      const requests: Promise<Response>[] = [];
      const begin = async () => {
        const before = waiting;
        requests.push(fetchFrom(port, `/page?${requests.length}`));
        await until(() => waiting > before);
      };
      await begin();
      for (const gate of gates) {
        await reload();
        const plugin = new WebSocketPlugin();
        plugin.install(app);
        await begin();
        gate.resolve();
        await new Promise((resolve) => setImmediate(resolve));
        await plugin.cleanup();
        await reload();
      }
      for (const response of requests) expect((await response).status).toBe(200);
      for (const names of order.values()) expect(names).toEqual(['first', 'guard', 'last']);
    },
  );

  test.each<[string, (server: Server) => void]>([
    ['another plugin', (server) => void attached(server).methods.ws('/echo', echo)],
    [
      'a server of ws',
      (server) => {
        const other = new WebSocketServer({ server, path: '/echo' });
        onTestFinished(() => other.close());
        other.on('connection', (socket) => {
          socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
        });
      },
    ],
  ])('makes room for %s', async (_name, next) => {
    const server = createServer();
    const port = await listening(server);
    const { plugin, methods } = attached(server);
    methods.ws('/echo', () => {});
    await connect(wsUrl(port, '/echo'));
    await plugin.cleanup();
    next(server);
    await expectEcho(wsUrl(port, '/echo'));
    expect(plugin.getStats().rejected).toMatchObject({ shuttingDown: 0 });
  });

  test('can be attached and installed again, on the same server or another', async () => {
    const server = createServer();
    const port = await listening(server);
    const plugin = new WebSocketPlugin();
    onTestFinished(() => plugin.cleanup());
    plugin.attach(server).ws('/echo', echo);
    await plugin.cleanup();
    expect(plugin.isPluginInstalled()).toBe(false);
    plugin.attach(server);
    await expectEcho(wsUrl(port, '/echo'));
    await plugin.cleanup();
    const app = createApp(hostOptions);
    plugin.install(app);
    await expectEcho(wsUrl(await listening(app.getServer()), '/echo'));
  });

  test('is served by a bare server after an application, without middleware of its own', async () => {
    const app = createApp(hostOptions);
    const plugin = new WebSocketPlugin();
    plugin.install(app);
    withWebSocket(app).ws('/echo', echo);
    await plugin.cleanup();
    const server = createServer().on('request', (_req, res) => res.end('HTTP'));
    plugin.attach(server);
    onTestFinished(() => plugin.cleanup());
    await expectEcho(wsUrl(await listening(server), '/echo'));
  });

  test('serves again where each listen() of the application makes a new server', async () => {
    const servers: Server[] = [];
    const app = Object.assign(new EventEmitter(), {
      async listen() {
        const server = createServer();
        servers.push(server);
        await listening(server);
        return server;
      },
    });
    const plugin = new WebSocketPlugin();
    plugin.install(app as never);
    onTestFinished(() => plugin.cleanup());
    for (let round = 0; round < 3; round++) {
      const server = await app.listen();
      await connect(wsUrl(await portOf(server), '/ws'));
      app.emit('shutdown');
      await plugin.cleanup();
      server.close();
    }
  });

  test('is cleaned up even where a pending request cannot be told', async () => {
    const pendingCame = deferred();
    const before = (app: ReturnType<typeof createApp>) => {
      app.use(async (ctx, next) => {
        if (!ctx.url.includes('pending')) return next();
        Object.assign(ctx.req, { method: undefined });
        pendingCame.resolve();
        await new Promise(() => {});
      });
    };
    const { plugin, port, url } = await serve({ before });
    const client = await connect(url());
    const pending = await rawConnect(port);
    pending.write(upgradeRequest('/ws?pending'));
    await pendingCame.promise;
    await plugin.cleanup();
    expect(await client.closed).toMatchObject({ code: 1001 });
  });

  test('stays away once the server listens again with another plugin', async () => {
    const server = createServer();
    const old = attached(server);
    old.methods.ws('/old', echo);
    await listening(server);
    await new Promise((resolve) => server.close(resolve));
    await old.plugin.cleanup();
    attached(server).methods.ws('/new', echo);
    const port = await listening(server);
    await expectEcho(wsUrl(port, '/new'));
    expect(await refused(wsUrl(port, '/old'))).toMatchObject({ status: 404 });
    expect(await old.plugin.healthCheck()).toBe(false);
  });

  test('while it is still closing its connections, has another one serve already', async () => {
    const server = createServer();
    const port = await listening(server);
    const old = attached(server);
    old.methods.ws('/echo', echo);
    const silent = await rawUpgrade(port, '/echo');
    const cleaning = old.plugin.cleanup();
    await silent.frame();
    attached(server).methods.ws('/echo', echo);
    await expectEcho(wsUrl(port, '/echo'));
    silent.socket.destroy();
    await cleaning;
    await expectEcho(wsUrl(port, '/echo'));
  });

  test('a hundred times over, warns of nothing', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning);
    process.on('warning', onWarning);
    onTestFinished(() => void process.off('warning', onWarning));
    const app = createApp(hostOptions);
    const port = await listening(app.getServer());
    for (let reload = 0; reload < 100; reload++) {
      const plugin = new WebSocketPlugin();
      plugin.install(app);
      withWebSocket(app).ws('/echo', echo);
      if (reload % 10 === 0) await expectEcho(wsUrl(port, '/echo'));
      await plugin.cleanup();
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(warnings).toEqual([]);
  });
});

test('a listener that somebody has removed is there again with the next plugin', async () => {
  const server = createServer();
  const port = await listening(server);
  attached(server, { path: '/first' });
  server.removeAllListeners('upgrade');
  attached(server, { path: '/second' });
  for (const path of ['/first', '/second']) await connect(wsUrl(port, path));
  expect(await refused(wsUrl(port, '/third'))).toMatchObject({ status: 404 });
});

test('of several plugins the one with the most specific path serves', async () => {
  const server = createServer();
  const port = await listening(server);
  for (const path of ['*', '/a/*', '/a/:x', '/a/b']) {
    attached(server, { path }).plugin.on('connection', (socket) => socket.send(path));
  }
  for (const [target, path] of [
    ['/z', '*'],
    ['/a/b/c', '/a/*'],
    ['/a/c', '/a/:x'],
    ['/a/b', '/a/b'],
  ]) {
    expect(await (await connect(wsUrl(port, target))).next()).toBe(path);
  }
});

test.skipIf(isBun)(
  'what wraps emit of all servers after the plugin sees every request',
  async () => {
    const server = createServer().on('request', (_req, res) => res.end());
    const { methods } = attached(server);
    methods.ws('/echo', echo);
    const port = await listening(server);
    const seen: string[] = [];
    const prototype = Object.getPrototypeOf(server);
    const own = Object.hasOwn(prototype, 'emit');
    const emit = prototype.emit;
    prototype.emit = function (event: string, ...args: unknown[]) {
      if (event === 'request') seen.push((args[0] as IncomingMessage).url ?? '');
      return emit.call(this, event, ...args);
    };
    onTestFinished(() => {
      if (own) prototype.emit = emit;
      else delete prototype.emit;
    });
    await fetchFrom(port, '/page');
    await expectEcho(wsUrl(port, '/echo'));
    expect(seen).toEqual(['/page']);
  },
);

describe('a request whose Upgrade is not to websocket', () => {
  const h2c = {
    Connection: 'Upgrade, HTTP2-Settings',
    Upgrade: 'h2c',
    'HTTP2-Settings': 'AAMAAABkAARAAAAAAAIAAAAA',
    'Sec-WebSocket-Key': undefined,
    'Sec-WebSocket-Version': undefined,
  };

  /** An application whose routes say what they got. */
  async function application(options: Parameters<typeof serve>[0] = {}) {
    return serve(options, ({ app, wsApp }) => {
      app.use(async (ctx, next) => {
        let body = '';
        for await (const chunk of ctx.req) body += chunk;
        ctx.state.text = body;
        await next();
      });
      const tell = (ctx: Parameters<Parameters<typeof app.get>[1]>[0]) => {
        ctx.res.json({ method: ctx.method, url: ctx.url, body: ctx.state.text });
      };
      app.get('/api', tell);
      app.post('/api', tell);
      wsApp.ws('/echo', echo);
    });
  }

  test('is served as if there were none, and the connection goes on', async () => {
    const { port } = await application();
    const client = await rawConnect(port);
    client.write(upgradeRequest('/api?a=1', h2c));
    expect(parseResponse(await client.head())).toMatchObject({ status: 200 });
    client.write(upgradeRequest('/api', { ...h2c, Connection: 'Upgrade, close' }));
    expect(String(await client.end())).toMatch(/"url":"\/api\?a=1".*200 OK.*"url":"\/api"/s);
  });

  test.each<[string, Record<string, string>, string]>([
    ['a length', { 'Content-Length': '11' }, 'hello world'],
    ['chunks', { 'Transfer-Encoding': 'chunked' }, '6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n'],
  ])('has its body with %s, in one piece or several', async (_name, headers, body) => {
    const { port } = await application();
    for (const pieces of [1, 4]) {
      const client = await rawConnect(port);
      const request = Buffer.from(
        upgradeRequest(
          '/api',
          { ...h2c, Upgrade: 'TLS/1.2', Connection: 'Upgrade, close', ...headers },
          { method: 'POST' },
        ) + body,
      );
      const length = Math.ceil(request.length / pieces);
      for (let at = 0; at < request.length; at += length) {
        client.write(request.subarray(at, at + length));
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      const answer = await answerOf(client);
      expect(answer.status).toBe(200);
      expect(JSON.parse(answer.body.replace(/^[^{]*/, ''))).toEqual({
        method: 'POST',
        url: '/api',
        body: 'hello world',
      });
    }
  });

  test('behind another request that is still being answered waits for its turn', async () => {
    const gate = deferred();
    const { port } = await serve({}, ({ app }) => {
      app.get('/slow', async (ctx) => {
        await gate.promise;
        ctx.res.send('slow');
      });
      app.get('/api', (ctx) => ctx.res.send('fast'));
    });
    const client = await rawConnect(port);
    client.write(
      `GET /slow HTTP/1.1\r\nHost: a\r\n\r\n${upgradeRequest('/api', { ...h2c, Connection: 'Upgrade, close' })}`,
    );
    setTimeout(gate.resolve, 20);
    const text = String(await client.end());
    expect(text.indexOf('slow')).toBeLessThan(text.indexOf('fast'));
    expect(text).toMatch(/slow.*HTTP\/1\.1 200 OK.*fast/s);
  });

  test('does not lose what is pipelined behind it', async () => {
    const { port } = await application();
    const client = await rawConnect(port);
    const post = upgradeRequest(
      '/api',
      { ...h2c, Connection: 'Upgrade', 'Content-Length': '3' },
      { method: 'POST' },
    );
    client.write(`${post}abc${upgradeRequest('/api?2', { ...h2c, Connection: 'Upgrade, close' })}`);
    expect(String(await client.end())).toMatch(/"body":"abc".*200 OK.*"url":"\/api\?2"/s);
  });

  test('and is reset while it waits for its turn harms nobody', async () => {
    const { port, server } = await serve({}, ({ app }) => {
      app.get('/stream', (ctx) => {
        ctx.res.write('endless');
        return new Promise(() => {});
      });
    });
    const closed = deferred();
    server.on('connection', (socket) => socket.on('close', () => closed.resolve()));
    const client = await rawConnect(port);
    client.write(`GET /stream HTTP/1.1\r\nHost: a\r\n\r\n${upgradeRequest('/api', h2c)}`);
    await client.head();
    client.reset();
    await closed.promise;
    expect(await upgradeStatus(port)).toBe(101);
  });

  test('may be followed by a WebSocket on the same connection', async () => {
    const { port } = await serve({}, ({ app, wsApp }) => {
      app.get('/api', (ctx) => ctx.res.status(204).send(''));
      wsApp.ws('/echo', echo);
    });
    const client = await rawConnect(port);
    client.write(upgradeRequest('/api', h2c));
    expect(parseResponse(await client.head()).status).toBe(204);
    client.write(upgradeRequest('/echo'));
    expect(parseResponse(await client.head()).status).toBe(101);
    client.write(frame(TEXT, 'hello'));
    expect((await client.frame()).payload.toString()).toBe('hello');
  });

  test('with more headers than Node keeps is refused, as what they say of its body is not known', async () => {
    const seen: string[] = [];
    const { port } = await application({
      before: (app) => {
        app.use(async (ctx, next) => {
          seen.push(ctx.url);
          await next();
        });
      },
    });
    const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
    const many = `${'a: b\r\n'.repeat(1100)}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`;
    for (const headers of [h2c, {}]) {
      const request = upgradeRequest('/ws', headers, { method: 'POST' }).replace(/\r\n$/, many);
      expect(await answerTo(port, request)).toMatchObject({ status: 431 });
    }
    expect(seen).toEqual([]);
  });

  test('is left to another listener where there is one', async () => {
    const asked = queue<string>();
    const { port } = await serve({}, ({ app }) => {
      app.getServer().on('upgrade', (req, socket) => {
        asked.push(String(req.headers.upgrade));
        socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: close\r\n\r\n');
      });
    });
    expect(await answerTo(port, upgradeRequest('/ws', h2c))).toMatchObject({ status: 101 });
    expect(await asked.next()).toBe('h2c');
  });
});

describe('an upgrade behind a response that does not end', () => {
  async function streaming(handshakeTimeoutMs: number) {
    const served = await serve({ handshakeTimeoutMs, maxConnections: 1 }, ({ app, wsApp }) => {
      app.get('/stream', (ctx) => {
        ctx.res.writeHead(200, { 'Content-Type': 'text/event-stream' });
        ctx.res.write('data: 1\n\n');
        return new Promise(() => {});
      });
      wsApp.ws('/echo', echo);
    });
    const client = await rawConnect(served.port);
    client.write(`GET /stream HTTP/1.1\r\nHost: a\r\n\r\n${upgradeRequest('/echo')}`);
    await client.head();
    return { ...served, client };
  }

  test('counts from its arrival', async () => {
    const { url } = await streaming(10_000);
    expect((await refused(url('/echo'))).status).toBe(503);
  });

  test('is cut off after handshakeTimeoutMs', async () => {
    const { client, plugin, url } = await streaming(50);
    await client.end();
    expect(plugin.getStats().rejected).toMatchObject({ timeout: 1 });
    await expectEcho(url('/echo'));
  });

  test('is cut off by cleanup()', async () => {
    const { client, plugin, server } = await streaming(10_000);
    await plugin.cleanup();
    await client.end();
    expect(plugin.getStats().rejected).toMatchObject({ shuttingDown: 1 });
    await new Promise((resolve) => server.close(resolve));
  });

  test('that will be refused is cut off as well', async () => {
    const { port, plugin } = await serve({ handshakeTimeoutMs: 50 }, ({ app }) => {
      app.get('/stream', (ctx) => {
        ctx.res.write('endless');
        return new Promise(() => {});
      });
    });
    for (const request of [
      upgradeRequest('/ws', { Host: undefined }),
      upgradeRequest('/nowhere'),
    ]) {
      const client = await rawConnect(port);
      client.write(`GET /stream HTTP/1.1\r\nHost: a\r\n\r\n${request}`);
      await client.end();
    }
    expect(plugin.getStats().totalConnections).toBe(0);
  });
});

describe('a context in the pool that all applications share', () => {
  test.skipIf(securesByPlugin)(
    'shows nothing of an upgrade to an application without the plugin',
    async () => {
      const other = createApp(hostOptions);
      other.get('/look', (ctx) => {
        const { isWebSocket, ws, wsRooms } = ctx;
        ctx.res.json({
          isWebSocket: isWebSocket === true,
          ws: ws !== undefined,
          rooms: wsRooms !== undefined,
        });
      });
      other.get('/throw', () => {
        throw new Error('on purpose');
      });
      other.on('error', () => {});
      const otherPort = await listening(other.getServer());
      // As the framework does, the host prints what a middleware throws.
      const printed = vi.spyOn(console, 'error').mockImplementation(() => {});
      onTestFinished(() => printed.mockRestore());
      const failing = queue<string>();
      const { url, port, app } = await serve({}, ({ app: ours }) => {
        ours.use(async (ctx, next) => {
          if (ctx.url.includes('throw')) {
            failing.push(ctx.url);
            throw new Error('on purpose');
          }
          await next();
        });
      });
      app.on('error', () => {});
      for (let round = 0; round < 5; round++) {
        await connect(url('/ws'));
        await connect(url('/ws?throw'));
        await failing.next();
        await fetchFrom(port, '/anything');
        const answer = await fetchFrom(otherPort, '/look');
        expect(await answer.json()).toEqual({ isWebSocket: false, ws: false, rooms: false });
      }
    },
  );
});

describe('a plain request on a WebSocket path', () => {
  test('gets 426 where the application has no route for it', async () => {
    const { port } = await serve({}, ({ app, wsApp }) => {
      app.get('/page', (ctx) => ctx.res.send('a page'));
      wsApp.ws('/page', echo);
      wsApp.ws('/rooms/:id', echo);
    });
    for (const path of ['/ws', '/ws?a=1', '/rooms/7']) {
      const answer = await fetchFrom(port, path);
      expect(answer.status, path).toBe(426);
      expect(answer.headers.get('upgrade')).toBe('websocket');
      expect(answer.headers.get('sec-websocket-version')).toBe('13');
      expect(await answer.text()).toContain('WebSocket');
    }
    const head = await fetchFrom(port, '/ws', { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([426, '']);
    expect(await (await fetchFrom(port, '/page')).text()).toBe('a page');
    expect((await fetchFrom(port, '/nowhere')).status).toBe(404);
    expect((await fetchFrom(port, '/ws', { method: 'POST' })).status).toBe(404);
  });

  test('gets what the application answers where it has a route, a 404 included', async () => {
    const { port } = await serve({ path: ['/ws', '/files/*', '/*'] }, ({ app, wsApp }) => {
      wsApp.ws('/users/:id', echo);
      app.get('/users/:id', (ctx) => ctx.res.status(404).json({ error: 'no such user' }));
      app.get('/files/text', (ctx) => ctx.res.status(404).send('no such file'));
      app.get('/files/head', (ctx) => {
        ctx.res.writeHead(404, { 'X-Own': 'yes' });
        ctx.res.write('no ');
        ctx.res.end('such file');
      });
      app.get('/files/later', (ctx) => {
        const { res } = ctx;
        res.writeHead(404);
        setImmediate(() => res.end('later'));
      });
      app.get('/files/pipe', (ctx) => {
        ctx.res.statusCode = 404;
        Readable.from(['no ', 'such ', 'file']).pipe(ctx.res);
      });
    });
    for (const [path, body] of [
      ['/users/7', '{"error":"no such user"}'],
      ['/files/text', 'no such file'],
      ['/files/head', 'no such file'],
      ['/files/later', 'later'],
      ['/files/pipe', 'no such file'],
    ] as const) {
      const answer = await fetchFrom(port, path);
      expect([answer.status, await answer.text()], path).toEqual([404, body]);
      expect(answer.headers.get('upgrade')).toBeNull();
    }
    expect((await fetchFrom(port, '/files/other')).status).toBe(426);
    // A path for everything is no path of WebSockets alone.
    expect((await fetchFrom(port, '/favicon.ico')).status).toBe(404);
  });

  test.each<[string, (res: ServerResponse) => unknown, number]>([
    ['writeHead that throws and is caught', (res) => headWithLineEnd(res), 500],
    ['flushHeaders before its body', (res) => res.writeHead(404).flushHeaders(), 404],
    ['writeHead twice', (res) => attempt(() => res.writeHead(404).writeHead(404)), 404],
  ])('may be answered by %s, as on any path', async (_name, begin, status) => {
    const { port } = await serve({}, ({ app }) => {
      app.get('/ws', (ctx) => {
        begin(ctx.res);
        ctx.res.end('Not so');
      });
    });
    const answer = await fetchFrom(port, '/ws');
    expect([answer.status, await answer.text()]).toEqual([status, 'Not so']);
  });

  function headWithLineEnd(res: ServerResponse) {
    if (!attempt(() => res.writeHead(404, { 'X-Own': 'a\nb' }))) res.writeHead(500);
  }

  function attempt(act: () => unknown): boolean {
    try {
      act();
      return true;
    } catch {
      return false;
    }
  }

  test('leaves the connection as it was', async () => {
    const { port } = await serve();
    const client = await rawConnect(port);
    const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
    client.write(get('/ws') + get('/nowhere') + get('/ws', 'Connection: close\r\n'));
    const text = String(await client.end());
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 426', 'HTTP/1.1 404', 'HTTP/1.1 426']);
  });
});

describe('what would be dead or wrong is refused when it is registered', () => {
  test('two plugins with the same path on one server', async () => {
    const server = createServer();
    const { methods } = attached(server);
    expect(() => new WebSocketPlugin().attach(server)).toThrow(
      /another WebSocketPlugin on this server has the path "\/ws" already; .*option "path"/,
    );
    const second = attached(server, { path: '/second' });
    methods.ws('/chat/:room', echo);
    expect(() => second.methods.ws('/chat/:name', echo)).toThrow(/has the path "\/chat\/:/);
    expect(() => methods.ws('/second/', echo)).toThrow(/has the path "\/second" already/);
    expect(second.plugin.getStats().handlers).toBe(0);
    const port = await listening(server);
    for (const path of ['/ws', '/second', '/chat/a']) await connect(wsUrl(port, path));
  });

  test('two plugins on one application', () => {
    const app = createApp(hostOptions);
    const first = new WebSocketPlugin();
    first.install(app);
    onTestFinished(() => first.cleanup());
    const { ws } = withWebSocket(app);
    const second = new WebSocketPlugin();
    expect(() => second.install(app)).toThrow(/has the path "\/ws" already/);
    // As if nothing had happened.
    expect(withWebSocket(app).ws).toBe(ws);
    expect(second.isPluginInstalled()).toBe(false);
  });

  test('beside the plugin that is built into the framework, whichever comes first', async () => {
    const builtIn = { ws() {}, wsUse() {}, wsBroadcast() {} };
    const taken = Object.assign(createApp(hostOptions), builtIn);
    expect(() => new WebSocketPlugin().install(taken)).toThrow(
      /has a method ws\(\) of another package; install one WebSocket plugin/,
    );
    const app = createApp(hostOptions);
    const plugin = new WebSocketPlugin();
    plugin.install(app);
    expect(() => Object.assign(app, builtIn)).toThrow(/nextrush-websocket: .*install one/);
    await plugin.cleanup();
    Object.assign(app, builtIn);
    expect(app).toMatchObject(builtIn);
  });

  test('middleware between path and handler, and several at once', async () => {
    const { wsApp } = await serve();
    const ws = wsApp.ws as (...args: unknown[]) => unknown;
    const wsUse = wsApp.wsUse as (...args: unknown[]) => unknown;
    expect(() => ws('/a', () => {}, echo)).toThrow(
      /^ws: options must be an object .*, got a function; middleware belongs into wsUse\(\), or/,
    );
    expect(() =>
      wsUse(
        () => {},
        () => {},
      ),
    ).toThrow(TypeError);
    expect(() => wsUse('/a', () => {})).toThrow(TypeError);
  });

  test('app.use(plugin), which installs nothing, where its methods are asked for', () => {
    const app = createApp(hostOptions);
    app.use(new WebSocketPlugin() as never);
    expect(() => withWebSocket(app)).toThrow(
      /\.install\(app\) \(app\.use\(\) does not install it\)/,
    );
  });

  test('where an application makes its server only when it listens', async () => {
    const server = createServer();
    attached(server);
    const late = Object.assign(new EventEmitter(), { listen: () => server });
    const plugin = new WebSocketPlugin();
    plugin.install(late as never);
    expect(() => late.listen()).toThrow(/has the path "\/ws" already/);
  });
});

test('one request that asks for nothing does not end the process', async () => {
  const child = script(`
    const { WebSocketPlugin } = require('./index.js');
    const server = ${createServerSource};
    const plugin = new WebSocketPlugin();
    plugin.attach(server);
    server.on('upgrade', () => {});
    for (const event of ['connection', 'close', 'error', 'room:created', 'room:destroyed']) {
      plugin.on(event, async () => { throw new Error('of ' + event); });
    }
    plugin.on('connection', (socket) => { socket.join('a'); socket.leave('a'); });
    plugin.on('close', () => setTimeout(() => { console.log('alive'); process.exit(0); }, 100));
    console.error = () => {};
    const open = ${clientSource};
    server.listen(0, '127.0.0.1', () => {
      const client = open(server.address().port, '/ws');
      client.on('open', () => client.close());
    });
  `);
  expect(await child.line()).toBe('alive');
  expect(await child.exited).toMatchObject({ code: 0 });
});
