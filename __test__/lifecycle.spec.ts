import { EventEmitter, once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createApp } from '../examples/host/index.js';
import { WebSocketPlugin, type WebSocketPluginOptions, withWebSocket } from '../index.js';
import { block } from './support/block.js';
import { connect, open, refused } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { upgradeStatus } from './support/http.js';
import { pair } from './support/pair.js';
import { script } from './support/process.js';
import {
  CLOSE,
  closePayload,
  frame,
  rawConnect,
  rawUpgrade,
  TEXT,
  upgradeRequest,
} from './support/raw.js';
import { portOf, serve } from './support/server.js';
import {
  clientSource,
  createServer,
  createServerSource,
  hostOptions,
  isBun,
  wsUrl,
} from './support/transport.js';
import { until } from './support/until.js';

const { version } = createRequire(import.meta.url)('../package.json');

afterEach(() => {
  vi.restoreAllMocks();
});

/** Installs on something that TypeScript would not take for an application. */
function installOn(app: unknown, options?: WebSocketPluginOptions): WebSocketPlugin {
  const plugin = new WebSocketPlugin(options);
  plugin.install(app as never);
  return plugin;
}

/** The port of a server that is closed after the test. */
function portUntilEnd(server: Server): Promise<number> {
  onTestFinished(() => void server.close());
  return portOf(server);
}

describe('install', () => {
  test('throws the second time, on the same application or another', () => {
    const app = createApp(hostOptions);
    const plugin = installOn(app);
    expect(() => plugin.install(app)).toThrow('install() or attach() was called already');
    expect(() => plugin.install(createApp())).toThrow('install() or attach() was called already');
  });

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a number', 5],
    ['a text', 'app'],
    ['an object with neither server nor listen()', { use() {} }],
    ['an object whose server is none', { server: {} }],
  ])('refuses %s with a TypeError, and can be called again', (_name, app) => {
    const plugin = new WebSocketPlugin();
    expect(() => plugin.install(app as never)).toThrow(TypeError);
    expect(plugin.isPluginInstalled()).toBe(false);
    plugin.install(createApp());
    expect(plugin.isPluginInstalled()).toBe(true);
  });

  test('after listen() serves all the same', async () => {
    const app = createApp(hostOptions);
    const server = app.listen(0, '127.0.0.1');
    const port = await portUntilEnd(server);
    const plugin = installOn(app);
    withWebSocket(app).ws('/late', (socket) => socket.send('hello'));
    onTestFinished(() => plugin.cleanup());
    const client = await connect(wsUrl(port, '/late'));
    expect(await client.next()).toBe('hello');
  });
});

describe('what the plugin says of itself', () => {
  test('name, version, description and metadata', () => {
    const plugin = new WebSocketPlugin();
    expect(plugin.name).toBe('WebSocketPlugin');
    expect(plugin.version).toBe(version);
    expect(plugin.description).toEqual(expect.any(String));
    const { name, description } = plugin;
    expect(plugin.getMetadata()).toEqual({ name, version, description });
    expect(plugin.validateConfig()).toBe(true);
    expect(plugin.init?.()).toBeUndefined();
  });

  test('installed or not, healthy or not, and how many connections there are', async () => {
    const plugin = new WebSocketPlugin();
    expect(plugin.isPluginInstalled()).toBe(false);
    expect(plugin.getStatus()).toMatchObject({
      name: 'WebSocketPlugin',
      version,
      installed: false,
    });
    expect(await plugin.healthCheck()).toBe(false);

    const served = await serve();
    expect(served.plugin.isPluginInstalled()).toBe(true);
    expect(await served.plugin.healthCheck()).toBe(true);
    await connect(served.url());
    expect(served.plugin.getStatus()).toMatchObject({
      installed: true,
      shuttingDown: false,
      connections: 1,
    });
    expect(await served.plugin.healthCheck()).toBe(true);
    await served.plugin.cleanup();
    expect(await served.plugin.healthCheck()).toBe(false);
    expect(served.plugin.getStatus()).toMatchObject({ shuttingDown: true, connections: 0 });
  });
});

describe('the events', () => {
  test('are emitted by the plugin and, with its name, by the application', async () => {
    const told = queue<[event: string, ...args: unknown[]]>();
    const { url } = await serve({}, ({ app, wsApp, plugin }) => {
      wsApp.ws('/ws', (socket) => socket.join('room'));
      for (const event of ['connection', 'close', 'room:created', 'room:destroyed'] as const) {
        plugin.on(event as 'close', (...args) => told.push([event, ...args]));
        const name = `plugin:WebSocketPlugin:${event}`;
        app.on(name, (...args) => told.push([name, ...args]));
      }
    });
    const client = await connect(url('/ws?a'));
    const connection = [
      expect.objectContaining({ url: '/ws?a' }),
      expect.objectContaining({ method: 'GET', url: '/ws?a' }),
    ];
    expect(await told.next()).toEqual(['connection', ...connection]);
    expect(await told.next()).toEqual(['plugin:WebSocketPlugin:connection', ...connection]);
    expect(await told.next()).toEqual(['room:created', 'room']);
    expect(await told.next()).toEqual(['plugin:WebSocketPlugin:room:created', 'room']);
    client.close(4000, 'bye');
    const rest = [await told.next(), await told.next(), await told.next(), await told.next()];
    const close = [expect.objectContaining({ url: '/ws?a' }), 4000, 'bye'];
    expect(rest).toEqual(
      expect.arrayContaining([
        ['room:destroyed', 'room'],
        ['plugin:WebSocketPlugin:room:destroyed', 'room'],
        ['close', ...close],
        ['plugin:WebSocketPlugin:close', ...close],
      ]),
    );
    expect(told.waiting).toEqual([]);
  });

  test('come once per connection', async () => {
    const ended = queue<string>();
    const connected = vi.fn();
    const { url, plugin } = await serve();
    plugin.on('connection', connected);
    plugin.on('close', (socket) => ended.push(socket.url));
    for (let count = 0; count < 5; count++) {
      const client = await connect(url(`/ws?${count}`));
      client.close();
      expect(await ended.next()).toBe(`/ws?${count}`);
    }
    expect(connected).toHaveBeenCalledTimes(5);
    expect(ended.waiting).toEqual([]);
  });

  test('do the connection no harm where a listener throws, which is reported', async () => {
    const errors = queue<Error>();
    const { url, plugin, app } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => socket.send('handled'));
    });
    plugin.on('error', errors.push);
    plugin.on('connection', () => {
      throw new Error('from the plugin’s listener');
    });
    app.on('plugin:WebSocketPlugin:connection', () => {
      throw new Error('from the application’s listener');
    });
    const client = await connect(url());
    expect(await client.next()).toBe('handled');
    expect((await errors.next()).message).toBe('from the plugin’s listener');
    expect((await errors.next()).message).toBe('from the application’s listener');
  });

  test('are told to hosts that are no event emitters by the plugin alone', async () => {
    const connected = queue<string>();
    const server = createServer();
    const plugin = installOn({ server });
    onTestFinished(() => plugin.cleanup());
    plugin.on('connection', (socket) => connected.push(socket.url));
    const port = await portUntilEnd(server.listen(0, '127.0.0.1'));
    await connect(wsUrl(port, '/ws'));
    expect(await connected.next()).toBe('/ws');
  });
});

describe('cleanup()', () => {
  test('closes everyone with 1001, on every path', async () => {
    const ended = queue<[code: number, reason: string]>();
    const { url, plugin } = await serve({ path: ['/ws', '/feeds/*'] }, ({ wsApp }) => {
      wsApp.ws('/chat', (socket) => {
        socket.onClose((code, reason) => ended.push([code, reason]));
      });
    });
    const clients = await Promise.all(
      ['/ws', '/feeds/a', '/chat', '/chat'].map((path) => connect(url(path))),
    );
    await plugin.cleanup();
    for (const client of clients) expect(await client.closed).toMatchObject({ code: 1001 });
    expect(await ended.next()).toMatchObject([1001, expect.any(String)]);
    expect(await ended.next()).toMatchObject([1001, expect.any(String)]);
    expect(plugin.getStats()).toMatchObject({ totalConnections: 0, rooms: [] });
  });

  test('sends what was sent before', async () => {
    const { url, plugin, wsApp } = await serve();
    const client = await connect(url());
    for (let count = 0; count < 100; count++) wsApp.wsBroadcast(`message ${count}`);
    await plugin.cleanup();
    await client.closed;
    expect(client.waiting).toEqual(Array.from({ length: 100 }, (_, n) => `message ${n}`));
  });

  test('waits for the answers, refuses new connections meanwhile, and then resolves', async () => {
    const { port, url, plugin } = await serve();
    const client = await rawUpgrade(port);
    const cleaned = vi.fn();
    const cleaning = plugin.cleanup().then(cleaned);
    const close = await client.frame();
    expect(close).toMatchObject({ opcode: CLOSE });
    expect(close.payload.readUInt16BE()).toBe(1001);
    expect(await refused(url())).toMatchObject({ status: 503, headers: { connection: 'close' } });
    expect(await upgradeStatus(port, '/nowhere')).toBe(404);
    expect(cleaned).not.toHaveBeenCalled();
    expect(plugin.getStats().totalConnections).toBe(1);
    client.write(frame(CLOSE, closePayload(1001)));
    await cleaning;
    await client.end();
    expect(plugin.getStats().totalConnections).toBe(0);
  });

  test('tells every end once, also where JavaScript is busy beyond all of its limits', async () => {
    const ends: number[] = [];
    const closes: number[] = [];
    const { port, plugin, server, app } = await serve({ closeTimeoutMs: 50 }, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => socket.onClose((code) => ends.push(code)));
    });
    plugin.on('close', (_socket, code) => closes.push(code));
    const clients = [];
    for (let index = 0; index < 20; index++) {
      const client = await rawUpgrade(port);
      if (index % 2 === 0) client.socket.pause();
      clients.push(client);
    }
    const cleaning = plugin.cleanup();
    // Twice the time after which what is left is cut off, and no longer waited for.
    block(2300);
    await cleaning;
    await until(() => closes.length === clients.length);
    expect(ends).toHaveLength(clients.length);
    expect(plugin.getStats()).toMatchObject({ totalConnections: 0, rooms: [] });
    for (const { socket } of clients) socket.destroy();
    await until(() => plugin.getStats().closingConnections === 0);
    // A later engine counts its own.
    expect(server.listening).toBe(true);
    plugin.install(app);
    await rawUpgrade(port);
    await until(() => plugin.getStats().totalConnections === 1);
    expect(plugin.getStats().closingConnections).toBe(0);
    expect([ends.length, closes.length]).toEqual([20, 20]);
  });

  test('still delivers what a client had sent before it saw the close', async () => {
    const events = queue<unknown>();
    const { port, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => socket.onClose((code) => events.push(code)));
    });
    const client = await rawUpgrade(port);
    const cleaning = plugin.cleanup();
    await client.frame();
    client.write(Buffer.concat([frame(TEXT, 'crossing'), frame(CLOSE, closePayload(1001))]));
    await cleaning;
    expect(await events.next()).toBe(1001);
    expect(events.waiting).toEqual([]);
  });

  test('can be called any number of times, also at once', async () => {
    const { url, plugin } = await serve();
    const ended = queue<number>();
    plugin.on('close', (_socket, code) => ended.push(code));
    await connect(url());
    await Promise.all([plugin.cleanup(), plugin.cleanup()]);
    await plugin.cleanup();
    expect(ended.waiting).toEqual([1001]);
  });

  test('resolves where there is nothing to clean up', async () => {
    await new WebSocketPlugin().cleanup();
    await installOn(createApp()).cleanup();
  });

  test('is not held beyond closeTimeoutMs by peers that do not answer', async () => {
    const { port, url, plugin } = await serve({ closeTimeoutMs: 100 });
    const silent = [await rawUpgrade(port), await rawUpgrade(port)];
    const polite = await connect(url());
    await plugin.cleanup();
    expect(plugin.getStats().totalConnections).toBe(0);
    expect(await polite.closed).toMatchObject({ code: 1001 });
    for (const client of silent) await client.end();
  });

  test('is not held by a peer that does not even read', async () => {
    const { port, plugin, wsApp } = await serve({ closeTimeoutMs: 100 });
    const client = await rawUpgrade(port);
    client.socket.pause();
    const payload = 'x'.repeat(1_000_000);
    for (let count = 0; count < 12; count++) wsApp.wsBroadcast(payload);
    await plugin.cleanup();
    expect(plugin.getStats().totalConnections).toBe(0);
  });

  test('runs when the HTTP server closes', async () => {
    const { url, server, plugin } = await serve();
    const clients = [await connect(url()), await connect(url())];
    server.close();
    for (const client of clients) expect(await client.closed).toMatchObject({ code: 1001 });
    await plugin.cleanup();
    expect(plugin.getStatus()).toMatchObject({ shuttingDown: true, connections: 0 });
  });

  test('runs when the application shuts down', async () => {
    const { url, app, plugin } = await serve();
    const clients = [await connect(url()), await connect(url())];
    await app.shutdown();
    for (const client of clients) expect(await client.closed).toMatchObject({ code: 1001 });
    await plugin.cleanup();
    expect(plugin.getStatus()).toMatchObject({ shuttingDown: true, connections: 0 });
  });

  test('runs when an application without a server of its own emits shutdown', async () => {
    const server = createServer();
    const app = Object.assign(new EventEmitter(), { server });
    const plugin = installOn(app);
    onTestFinished(() => plugin.cleanup());
    const port = await portUntilEnd(server.listen(0, '127.0.0.1'));
    const client = await connect(wsUrl(port, '/ws'));
    app.emit('shutdown');
    expect(await client.closed).toMatchObject({ code: 1001 });
    expect(await upgradeStatus(port)).toBe(503);
  });

  test('ends the threads that the connections had needed', async () => {
    // Linux lists them by name; elsewhere there is nothing to see.
    const tasks = '/proc/self/task';
    const nameOf = (task: string) => {
      try {
        return readFileSync(join(tasks, task, 'comm'), 'utf8');
      } catch {
        return 'ended since';
      }
    };
    const all = () => (process.platform === 'linux' ? readdirSync(tasks) : []);
    const threads = () => all().filter((task) => nameOf(task).startsWith('nextrush')).length;
    await until(() => threads() === 0);
    const { url, plugin } = await serve();
    await connect(url());
    expect(threads()).toBe(process.platform === 'linux' ? 1 : 0);
    await plugin.cleanup();
    await until(() => threads() === 0);
  });

  // Bun's servers say only once that they listen.
  test.skipIf(isBun)('is undone when the server listens again', async () => {
    const { url, server, plugin, wsApp } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/echo', (socket) => {
        socket.join('room');
        socket.onMessage((data) => socket.send(data));
      });
    });
    const before = await connect(url('/echo'));
    before.send('before');
    expect(await before.next()).toBe('before');
    for (let round = 0; round < 3; round++) {
      await new Promise((resolve) => server.close(resolve));
      await plugin.cleanup();
      expect(plugin.getStats()).toMatchObject({ totalConnections: 0, rooms: [] });
      const port = await portUntilEnd(server.listen(0, '127.0.0.1'));
      expect(await plugin.healthCheck()).toBe(true);
      const after = await connect(wsUrl(port, '/echo'));
      after.send(`round ${round}`);
      expect(await after.next()).toBe(`round ${round}`);
      wsApp.wsBroadcast('to the room', 'room');
      expect(await after.next()).toBe('to the room');
    }
    expect(plugin.getStats()).toMatchObject({ messagesReceived: 4 });
    expect(await before.closed).toMatchObject({ code: 1001 });
  });
});

describe('hosts', () => {
  /** Serves an echo on an application that can do nothing but what its server does. */
  async function expectEcho(app: unknown, listen: () => unknown): Promise<void> {
    const plugin = installOn(app);
    onTestFinished(() => plugin.cleanup());
    withWebSocket(app as { use(): void }).ws('/echo', (socket) => {
      socket.onMessage((data) => socket.send(data));
    });
    await listen();
    const { server } = app as { server: Server };
    const port = await portUntilEnd(server);
    const client = await connect(wsUrl(port, '/echo'));
    client.send('hello');
    expect(await client.next()).toBe('hello');
  }

  test('with only a server are served', async () => {
    const server = createServer();
    await expectEcho({ server }, () => server.listen(0, '127.0.0.1'));
  });

  test('with only getServer() are served', async () => {
    const server = createServer();
    const app = { getServer: () => server, server: undefined as Server | undefined };
    await expectEcho(app, () => {
      app.server = server.listen(0, '127.0.0.1');
    });
  });

  test('whose server handles no requests at all are served', async () => {
    const server = createServer();
    await expectEcho({ server, use() {} }, () => server.listen(0, '127.0.0.1'));
  });

  test('that make their server inside listen() and return it are served', async () => {
    const app = {
      server: undefined as Server | undefined,
      listen(port: number) {
        this.server = createServer().listen(port, '127.0.0.1');
        return this.server;
      },
    };
    await expectEcho(app, () => app.listen(0));
  });

  test('that make their server inside listen() and return nothing are served', async () => {
    const app = {
      server: undefined as Server | undefined,
      listen(port: number) {
        this.server = createServer().listen(port, '127.0.0.1');
      },
    };
    await expectEcho(app, () => app.listen(0));
  });

  test.each(['the server', 'nothing'])(
    'that make their server inside an async listen(), which resolves with %s, are served',
    async (what) => {
      const app = {
        server: undefined as Server | undefined,
        async listen(port: number) {
          await new Promise((resolve) => setImmediate(resolve));
          const server = createServer().listen(port, '127.0.0.1');
          await once(server, 'listening');
          this.server = server;
          return what === 'the server' ? server : undefined;
        },
      };
      await expectEcho(app, () => app.listen(0));
    },
  );

  test('keep their listen(): its arguments, its result and its errors', async () => {
    const calls: unknown[][] = [];
    const app = {
      listen(...args: unknown[]) {
        calls.push(args);
        if (args.length === 0) throw new Error('no port');
        return args[0] === 'fail' ? Promise.reject(new Error('port in use')) : 'listening';
      },
    };
    installOn(app);
    expect(app.listen(1, 'host')).toBe('listening');
    expect(() => app.listen()).toThrow('no port');
    await expect(app.listen('fail')).rejects.toThrow('port in use');
    expect(calls).toEqual([[1, 'host'], [], ['fail']]);
  });
});

describe('kinds of servers', () => {
  // Windows has pipes instead, which `ws` does not speak on.
  test.skipIf(process.platform === 'win32')('on a unix socket connections are served', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'nextrush-websocket-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const path = join(folder, 'server.sock');
    // Without TLS, which `ws` does not speak on such sockets.
    const app = createApp();
    const plugin = installOn(app, { tls: undefined });
    const wsApp = withWebSocket(app);
    wsApp.ws('/echo', (socket, req) => {
      socket.join('room');
      socket.onMessage((data) => socket.send(`${data} from ${req.socket.remoteAddress}`));
    });
    onTestFinished(async () => {
      await plugin.cleanup();
      await app.shutdown();
    });
    const server = app.getServer().listen(path);
    await once(server, 'listening');
    const client = await connect(`ws+unix://${path}:/echo?a=b`);
    client.send('hello');
    expect(await client.next()).toBe('hello from undefined');
    wsApp.wsBroadcast('to the room', 'room');
    expect(await client.next()).toBe('to the room');
    client.send(Buffer.alloc(500_000));
    expect(await client.next()).toHaveLength(500_000 + ' from undefined'.length);
    client.close(4000, 'bye');
    expect(await client.closed).toEqual({ code: 4000, reason: 'bye' });
  });

  // Bun takes an upgrade behind another request for a request of the application.
  test.skipIf(isBun)(
    'the answer to an upgrade never takes the place of that to a request before it',
    async () => {
      const gate = deferred();
      const { port } = await serve({}, ({ app }) => {
        app.get('/slow', async (ctx) => {
          await gate.promise;
          ctx.res.send('slow');
        });
      });
      const slow = 'GET /slow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n';
      const client = await rawConnect(port);
      client.write(slow + upgradeRequest('/ws'));
      expect(await upgradeStatus(port)).toBe(101);
      gate.resolve();
      // Responses come in the order of requests (RFC 9112 section 9.3.2).
      expect(await client.head()).toMatch(/^HTTP\/1\.1 200 /);
      expect(await client.head()).toMatch(/^slowHTTP\/1\.1 101 /);
    },
  );
});

describe('the process', () => {
  /** What the scripts have in common: an echo on `server`, whose port is the first line printed. */
  const echoServer = `
    const connect = ${clientSource};
    const { WebSocketPlugin } = require('nextrush-websocket');
    const server = ${createServerSource};
    const app = { server };
    const plugin = new WebSocketPlugin();
    plugin.install(app);
    app.ws('/echo', (socket) => socket.onMessage((data) => socket.send(data)));
    server.listen(0, '127.0.0.1', () => console.log(server.address().port));`;

  test('ends where a plugin was only made, or installed on a server that never listens', async () => {
    const { exited } = script(`
      const { WebSocketPlugin } = require('nextrush-websocket');
      new WebSocketPlugin();
      new WebSocketPlugin().install({ server: require('node:http').createServer() });`);
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
  });

  test('ends when an idle server closes', async () => {
    const { exited } = script(`${echoServer}
      server.on('listening', () => server.close());`);
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
  });

  test('ends when a server closes whose connections have gone', async () => {
    const { exited } = script(`${echoServer}
      plugin.on('close', () => server.close());
      server.on('listening', () => {
        const client = connect(server.address().port, '/echo');
        client.on('open', () => client.send('a'));
        client.on('message', () => client.close());
      });`);
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
  });

  test('ends when a server closes whose connections are open', async () => {
    const { line, exited } = script(`${echoServer}
      plugin.on('connection', () => server.close());
      plugin.on('close', (socket, code) => console.log('closed with ' + code));`);
    const client = await connect(wsUrl(await line(), '/echo'));
    expect(await client.closed).toMatchObject({ code: 1001 });
    expect(await line()).toBe('closed with 1001');
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
  });

  test('lives as long as a connection is open, and no longer', async () => {
    const { line, exited } = script(`${echoServer}
      plugin.on('connection', () => server.unref());
      process.on('exit', () => console.log('exit'));`);
    const client = await connect(wsUrl(await line(), '/echo'));
    // With nothing else to do, a process that is not kept alive would be gone at once.
    for (let count = 0; count < 50; count++) {
      client.send(`message ${count}`);
      expect(await client.next()).toBe(`message ${count}`);
    }
    client.close();
    await client.closed;
    expect(await line()).toBe('exit');
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
  });

  test.each<[string, string]>([
    ['a message listener', 'socket.onMessage(() => process.exit(7))'],
    [
      'a close listener',
      'socket.onMessage(() => socket.close()); socket.onClose(() => process.exit(7))',
    ],
    ['an async message listener', 'socket.onMessage(async () => { await null; process.exit(7); })'],
    ['a handler', 'process.exit(7)'],
  ])('ends with the code of process.exit() in %s', async (_name, code) => {
    const { line, exited } = script(`${echoServer}
      app.ws('/exit', (socket) => { ${code} });`);
    const port = await line();
    const others = await Promise.all(
      Array.from({ length: 5 }, () => connect(wsUrl(port, '/echo'))),
    );
    const client = open(wsUrl(port, '/exit'));
    client.ws.on('open', () => {
      for (let count = 0; count < 20; count++) client.send('exit');
    });
    expect(await exited).toEqual({ code: 7, signal: null, stderr: '' });
    for (const other of others) expect(await other.closed).toMatchObject({ code: 1006 });
  });

  test('ends as always on an error that nobody catches, connections open or not', async () => {
    const { line, exited } = script(`${echoServer}
      app.ws('/fail', (socket) => {
        socket.onMessage(() => setImmediate(() => { throw new Error('nobody catches this'); }));
      });`);
    const client = await connect(wsUrl(await line(), '/fail'));
    client.send('fail');
    const { code, signal, stderr } = await exited;
    expect({ code, signal }).toEqual({ code: 1, signal: null });
    expect(stderr).toContain('nobody catches this');
  });

  test('survives errors of listeners and goes on serving', async () => {
    const { line, exited } = script(`${echoServer}
      app.ws('/fail', (socket) => {
        socket.onMessage((data) => {
          if (data === 'throw') throw new Error('thrown');
          return Promise.reject(new Error('rejected'));
        });
      });`);
    const port = await line();
    for (const how of ['throw', 'reject']) {
      const client = await connect(wsUrl(port, '/fail'));
      client.send(how);
      expect(await client.closed).toMatchObject({ code: 1011 });
    }
    const client = await connect(wsUrl(port, '/echo'));
    client.send('still here');
    expect(await client.next()).toBe('still here');
    expect(await Promise.race([exited, 'running'])).toBe('running');
  });

  test('runs the plugin in a worker beside one in the main thread', async () => {
    const { line, exited } = script(`
      const { once } = require('node:events');
      const { Worker } = require('node:worker_threads');
      const connect = ${clientSource};
      const source = ${JSON.stringify(`${echoServer}
        const { parentPort } = require('node:worker_threads');
        server.on('listening', () => parentPort.postMessage(server.address().port));`)};
      const echo = async (port, text) => {
        const client = connect(port, '/echo');
        await once(client, 'open');
        client.send(text);
        const [data] = await once(client, 'message');
        return { client, text: data.toString() };
      };
      (async () => {
        const portOfWorker = () => once(new Worker(source, { eval: true, stdout: true }), 'message');
        const workers = [portOfWorker(), portOfWorker()];
        const main = ${createServerSource};
        const { WebSocketPlugin } = require('nextrush-websocket');
        const app = { server: main };
        new WebSocketPlugin().install(app);
        app.ws('/echo', (socket) => socket.onMessage((data) => socket.send('main: ' + data)));
        main.listen(0, '127.0.0.1');
        await once(main, 'listening');
        const ports = [];
        for (const worker of workers) ports.push((await worker)[0]);
        ports.push(main.address().port);
        for (const port of ports) console.log((await echo(port, 'hello')).text);
        process.exit(0);
      })();`);
    expect([await line(), await line(), await line()]).toEqual(['hello', 'hello', 'main: hello']);
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
  });

  test('survives workers that are terminated with connections open, five times', async () => {
    const { line, exited } = script(`
      const { once } = require('node:events');
      const { Worker } = require('node:worker_threads');
      const connect = ${clientSource};
      const source = ${JSON.stringify(`${echoServer}
        const { parentPort } = require('node:worker_threads');
        app.ws('/busy', (socket) => {
          socket.join('room');
          socket.onMessage((data) => {
            socket.send(data);
            app.wsBroadcast('to all', 'room');
          });
        });
        server.on('listening', () => parentPort.postMessage(server.address().port));`)};
      (async () => {
        for (let round = 0; round < 5; round++) {
          const worker = new Worker(source, { eval: true, stdout: true });
          const [port] = await once(worker, 'message');
          const clients = [];
          for (let count = 0; count < 10; count++) {
            const client = connect(port, '/busy');
            client.on('error', () => {});
            await once(client, 'open');
            client.send('hello');
            await once(client, 'message');
            client.closed = once(client, 'close');
            clients.push(client);
          }
          // Traffic under way, so that the end comes in the middle of it.
          for (const client of clients) for (let n = 0; n < 100; n++) client.send('more');
          await worker.terminate();
          const codes = [];
          for (const client of clients) codes.push((await client.closed)[0]);
          console.log('round ' + round + ': ' + [...new Set(codes)]);
        }
      })();`);
    for (let round = 0; round < 5; round++) expect(await line()).toBe(`round ${round}: 1006`);
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
  });
});

test('a client is let in and seen out while a test of the application has the clock', async () => {
  vi.useFakeTimers({ toFake: ['setImmediate', 'setTimeout', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const { client, ends } = await pair();
  client.close(4000, 'done');
  expect(await ends.next()).toEqual({ code: 4000, reason: 'done' });
  expect(await client.closed).toEqual({ code: 4000, reason: 'done' });
});
