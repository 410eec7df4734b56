/** Other WebSocket servers on the same server, on paths of their own. */
import type { Server } from 'node:http';
import { Server as SocketIoServer } from 'socket.io';
import { io, type Socket as SocketIoClient } from 'socket.io-client';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { WebSocketPlugin, type WebSocketPluginOptions } from '../index.js';
import { connect, refused } from './support/client.js';
import { deferred } from './support/events.js';
import { answerTo } from './support/http.js';
import { rawUpgrade, upgradeRequest } from './support/raw.js';
import { portOf, serve } from './support/server.js';
import { clientOptions, createServer, httpUrl, wsUrl } from './support/transport.js';

/** A server with the plugin on `/ours` and whatever `add` adds, before the plugin or after it. */
async function together(
  order: string,
  add: (server: Server) => void,
  options: WebSocketPluginOptions = {},
) {
  const server = createServer();
  const plugin = new WebSocketPlugin({ path: '/ours', ...options });
  if (order === 'before') add(server);
  plugin.attach(server).ws('/ours', (socket) => {
    socket.onMessage((data) => socket.send(`ours: ${data}`));
  });
  if (order === 'after') add(server);
  onTestFinished(async () => {
    await plugin.cleanup();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  const port = await portOf(server);
  return { port, plugin, url: (path: string) => wsUrl(port, path) };
}

async function expectEcho(url: string, owner: string): Promise<void> {
  const client = await connect(url);
  client.send('hello');
  expect(await client.next()).toBe(`${owner}: hello`);
  client.close(4000, 'bye');
  expect(await client.closed).toEqual({ code: 4000, reason: 'bye' });
}

const echoByWs = (other: WebSocketServer) => {
  onTestFinished(() => other.close());
  other.on('connection', (socket) => {
    socket.on('message', (data) => socket.send(`theirs: ${data}`));
  });
};

describe.each(['before', 'after'])('a server of ws that was added %s the plugin', (order) => {
  const addWs = (server: Server) => echoByWs(new WebSocketServer({ server, path: '/theirs' }));

  test('serves its path, and the plugin its own', async () => {
    const { url, plugin } = await together(order, addWs);
    await expectEcho(url('/ours'), 'ours');
    await expectEcho(url('/theirs'), 'theirs');
    // Both at once, on connections that stay.
    const [ours, theirs] = [await connect(url('/ours')), await connect(url('/theirs'))];
    ours.send('a');
    theirs.send('b');
    expect([await ours.next(), await theirs.next()]).toEqual(['ours: a', 'theirs: b']);
    expect(plugin.getStats().totalConnections).toBe(1);
  });

  test('does not answer for the plugin while that verifies a client', async () => {
    const gate = deferred();
    const verifyClient = async () => {
      await gate.promise;
      return true;
    };
    const { url } = await together(order, addWs, { verifyClient });
    const pending = connect(url('/ours'));
    await expectEcho(url('/theirs'), 'theirs');
    gate.resolve();
    const client = await pending;
    client.send('late');
    expect(await client.next()).toBe('ours: late');
  });

  test('refuses what neither of them serves, in its own way', async () => {
    const { url, plugin } = await together(order, addWs);
    expect(await refused(url('/nobody'))).toMatchObject({ status: 400 });
    expect(plugin.getStats().rejected).toMatchObject({ path: 0 });
  });

  test('may be behind a listener that destroys what it does not know', async () => {
    const { url, port } = await together(order, (server) => {
      const other = new WebSocketServer({ noServer: true });
      echoByWs(other);
      server.on('upgrade', (req, socket, head) => {
        if (req.url !== '/theirs') return void socket.destroy();
        other.handleUpgrade(req, socket, head, (client) => other.emit('connection', client, req));
      });
    });
    await expectEcho(url('/ours'), 'ours');
    await expectEcho(url('/theirs'), 'theirs');
    await expect(answerTo(port, upgradeRequest('/nobody'))).rejects.toThrow('no HTTP response: ""');
  });
});

describe.each(['before', 'after'])('a Socket.IO that was added %s the plugin', (order) => {
  /** Ends upgrades that it does not know after that many milliseconds. */
  const destroyUpgradeTimeout = 20;

  const addSocketIo = (server: Server) => {
    const other = new SocketIoServer(server, { destroyUpgradeTimeout });
    onTestFinished(() => other.close());
    other.on('connection', (socket) => {
      socket.on('say', (text: string) => socket.emit('said', `theirs: ${text}`));
    });
  };

  async function connectSocketIo(port: number, transports?: string[]): Promise<SocketIoClient> {
    const client = io(httpUrl(port, ''), { transports, forceNew: true, ...clientOptions });
    onTestFinished(() => void client.close());
    await new Promise<void>((resolve, reject) => {
      client.on('connect', resolve);
      client.on('connect_error', reject);
    });
    return client;
  }

  async function expectSaid(client: SocketIoClient): Promise<void> {
    const said = new Promise((resolve) => client.once('said', resolve));
    client.emit('say', 'hello');
    expect(await said).toBe('theirs: hello');
  }

  test('serves its clients, by WebSocket and from polling upwards, and the plugin its own', async () => {
    const { url, port, plugin } = await together(order, addSocketIo);
    await expectEcho(url('/ours'), 'ours');
    await expectSaid(await connectSocketIo(port, ['websocket']));
    const client = await connectSocketIo(port);
    await expectSaid(client);
    const { engine } = client.io;
    if (engine.transport.name !== 'websocket') {
      await new Promise((resolve) => engine.once('upgrade', resolve));
    }
    await expectSaid(client);
    await expectEcho(url('/ours'), 'ours');
    expect(plugin.getStats().rejected).toMatchObject({ path: 0 });
  });

  test('does not end what the plugin takes its time for', async () => {
    const verifyClient = async () => {
      await new Promise((resolve) => setTimeout(resolve, 5 * destroyUpgradeTimeout));
      return true;
    };
    const { url, port } = await together(order, addSocketIo, { verifyClient });
    const silent = rawUpgrade(port, '/ours');
    await expectEcho(url('/ours'), 'ours');
    // Nor a connection on which nothing has been said since.
    const client = await silent;
    client.socket.destroy();
  });

  test('ends what neither of them serves', async () => {
    const { port, plugin } = await together(order, addSocketIo);
    await expect(answerTo(port, upgradeRequest('/nobody'))).rejects.toThrow('no HTTP response: ""');
    expect(plugin.getStats().rejected).toMatchObject({ path: 0 });
  });
});

test('ws, Socket.IO and two plugins share an application', async () => {
  const second = new WebSocketPlugin({ path: '/second' });
  const { url, port, app } = await serve({ path: '/first' }, ({ app, plugin }) => {
    plugin.on('connection', (socket) => socket.send('first'));
    second.install(app);
    second.on('connection', (socket) => socket.send('second'));
    const byWs = new WebSocketServer({ noServer: true });
    byWs.on('connection', (socket) => socket.send('ws'));
    app.getServer().on('upgrade', (req, socket, head) => {
      if (req.url !== '/ws') return;
      byWs.handleUpgrade(req, socket, head, (client) => byWs.emit('connection', client, req));
    });
    const bySocketIo = new SocketIoServer(app.getServer());
    onTestFinished(() => bySocketIo.close());
    bySocketIo.on('connection', (socket) => socket.emit('said', 'Socket.IO'));
  });
  onTestFinished(() => second.cleanup());
  for (const name of ['first', 'second', 'ws']) {
    expect(await (await connect(url(`/${name}`))).next()).toBe(name);
  }
  const client = io(httpUrl(port, ''), { transports: ['websocket'], ...clientOptions });
  onTestFinished(() => void client.close());
  expect(await new Promise((resolve) => client.on('said', resolve))).toBe('Socket.IO');
  expect(app.getServer().listenerCount('upgrade')).toBe(3);
});
