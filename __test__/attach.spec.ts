/** Servers without a NextRush application: `attach`. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import { createSecureServer } from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import express from 'express';
import Koa from 'koa';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createApp } from '../examples/host/index.js';
import {
  WebSocketPlugin,
  type WebSocketPluginOptions,
  type WSConnection,
  withWebSocket,
} from '../index.js';
import { makeCertificate } from './support/certificate.js';
import { connect, refused } from './support/client.js';
import { queue } from './support/events.js';
import { fetchFrom } from './support/http.js';
import { createServer, securesByPlugin, wsUrl } from './support/transport.js';

/** Listens on a free port until the test is over. */
async function listen(
  server: Pick<Server, 'listen' | 'close' | 'address'>,
  plugin?: WebSocketPlugin,
) {
  onTestFinished(async () => {
    await plugin?.cleanup();
    server.close();
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { port, url: (path?: string) => wsUrl(port, path) };
}

async function attached(options?: WebSocketPluginOptions, server = createServer()) {
  const plugin = new WebSocketPlugin(options);
  const sockets = plugin.attach(server);
  return { plugin, sockets, server, ...(await listen(server, plugin)) };
}

describe('a bare server', () => {
  test('gets routes, middleware and broadcasts from what attach returns', async () => {
    const { sockets, url } = await attached();
    const returned = sockets
      .ws('/rooms/:id', (socket) => {
        socket.join('room');
        socket.onMessage((data) => socket.send(`${(socket as { user?: string }).user}: ${data}`));
      })
      .wsUse((socket, _req, next) => {
        Object.assign(socket, { user: 'ada' });
        next();
      })
      .wsBroadcast('to nobody');
    expect(returned).toBe(sockets);
    const client = await connect(url('/rooms/1'));
    client.send('hello');
    expect(await client.next()).toBe('ada: hello');
    sockets.wsBroadcast('to the room', 'room');
    sockets.wsBroadcast('to all');
    expect([await client.next(), await client.next()]).toEqual(['to the room', 'to all']);
  });

  test('refuses paths that it does not serve with 404', async () => {
    const { url, plugin } = await attached({ path: '/only' });
    await connect(url('/only'));
    expect(await refused(url('/other'))).toMatchObject({ status: 404 });
    expect(plugin.getStats().rejected).toMatchObject({ path: 1 });
  });

  test('is asked by verifyClient, and its request listener hears of no upgrade', async () => {
    const requests: string[] = [];
    const server = createServer().on('request', (req, res) => {
      requests.push(req.url ?? '');
      res.end('page');
    });
    const { url, port } = await attached({ verifyClient: (req) => req.url === '/ws?in' }, server);
    await connect(url('/ws?in'));
    expect(await refused(url('/ws?out'))).toMatchObject({ status: 401 });
    expect(await (await fetchFrom(port, '/page')).text()).toBe('page');
    expect(requests).toEqual(['/page']);
  });

  test.skipIf(securesByPlugin)('may listen already, with connections of its own', async () => {
    const server = createServer().on('request', (_req, res) => res.end('page'));
    const { port, url } = await listen(server);
    expect((await fetchFrom(port, '/')).status).toBe(200);
    const plugin = new WebSocketPlugin();
    plugin.attach(server).ws('/late', (socket) => socket.send('late'));
    onTestFinished(() => plugin.cleanup());
    expect(await (await connect(url('/late'))).next()).toBe('late');
  });

  test('closes its connections with 1001 when it closes, and then has closed', async () => {
    const { server, url, plugin } = await attached();
    const clients = [await connect(url()), await connect(url())];
    const closed = once(server, 'close');
    server.close();
    for (const client of clients) {
      expect(await client.closed).toEqual({ code: 1001, reason: 'server is shutting down' });
    }
    await closed;
    await plugin.cleanup();
    expect(plugin.getStats().totalConnections).toBe(0);
  });

  test('makes the plugin an installed one, which tells of its events itself', async () => {
    const server = createServer();
    const plugin = new WebSocketPlugin();
    expect(plugin.isPluginInstalled()).toBe(false);
    const events = queue<string>();
    plugin.on('connection', () => events.push('connection'));
    plugin.on('close', (_socket, code) => events.push(`close ${code}`));
    plugin.attach(server);
    const { url } = await listen(server, plugin);
    expect(plugin.isPluginInstalled()).toBe(true);
    expect(plugin.getStatus()).toMatchObject({ installed: true, connections: 0 });
    expect(await plugin.healthCheck()).toBe(true);
    const client = await connect(url());
    expect(await events.next()).toBe('connection');
    client.close(4000);
    expect(await events.next()).toBe('close 4000');
  });

  test('of HTTP/2 that allows HTTP/1.1 serves it to such clients', async () => {
    const { key, cert } = makeCertificate();
    const server = createSecureServer({ key, cert, allowHTTP1: true });
    const plugin = new WebSocketPlugin({ tls: undefined });
    plugin.attach(server).ws('/echo', (socket) => socket.onMessage((data) => socket.send(data)));
    const { port } = await listen(server as unknown as Server, plugin);
    const client = await connect(`wss://127.0.0.1:${port}/echo`, { ca: cert });
    client.send('over TLS');
    expect(await client.next()).toBe('over TLS');
    expect(plugin.getStats().transports).toEqual({ adopted: 0, bridged: 1 });
    client.close(4000, 'bye');
    expect(await client.closed).toEqual({ code: 4000, reason: 'bye' });
  });
});

describe('attach', () => {
  test.each<[string, unknown, string]>([
    ['undefined', undefined, 'undefined'],
    ['null', null, 'null'],
    ['a port', 3000, '3000'],
    ['an empty object', {}, 'an object'],
    ['an application', createApp(), 'an instance of Application'],
    ['an Express application', express(), 'a function'],
    ['a server that does not speak HTTP', net.createServer(), 'an instance of Server'],
  ])('refuses %s with a TypeError that names it and says what is accepted', (_, value, shown) => {
    const plugin = new WebSocketPlugin();
    const act = () => plugin.attach(value as Server);
    expect(act).toThrow(TypeError);
    expect(act).toThrow(
      `attach: server must be an http.Server or https.Server, such as listen() returns, got ${shown}`,
    );
    expect(plugin.isPluginInstalled()).toBe(false);
    // It can be called again.
    plugin.attach(createServer());
  });

  test('throws the second time, on the same server or another', () => {
    const server = createServer();
    const plugin = new WebSocketPlugin();
    plugin.attach(server);
    expect(() => plugin.attach(server)).toThrow('install() or attach() was called already');
    expect(() => plugin.attach(createServer())).toThrow('install() or attach() was called already');
  });

  test('and install exclude each other', () => {
    const attachedFirst = new WebSocketPlugin();
    attachedFirst.attach(createServer());
    expect(() => attachedFirst.install(createApp())).toThrow(
      'install() or attach() was called already',
    );
    const installedFirst = new WebSocketPlugin();
    installedFirst.install(createApp());
    expect(() => installedFirst.attach(createServer())).toThrow(
      'install() or attach() was called already',
    );
  });

  test('refuses wrong arguments of its methods as those of an application do', () => {
    const sockets = new WebSocketPlugin().attach(createServer());
    expect(() => sockets.ws(5 as never, () => {})).toThrow('ws: path must be a string, got 5');
    expect(() => sockets.ws('/ws', 'no' as never)).toThrow('ws: handler must be a function');
    expect(() => sockets.wsUse(null as never)).toThrow('wsUse: middleware must be a function');
    expect(() => sockets.wsBroadcast('a', 5 as never)).toThrow('room must be a string, got 5');
  });
});

describe('the applications of other frameworks', () => {
  test('are refused by install where their middleware takes other arguments', () => {
    const plugin = new WebSocketPlugin();
    const act = () => plugin.install(express() as never);
    expect(act).toThrow(TypeError);
    expect(act).toThrow('use attach() with the server that listen() returns');
    expect(plugin.isPluginInstalled()).toBe(false);
  });

  test('are installed on like NextRush where it is the same, as in Koa', async () => {
    const app = new Koa();
    const seen = queue<WSConnection | undefined>();
    app.use(async (ctx, next) => {
      if (ctx.query.token !== 'good') ctx.throw(403);
      await next();
    });
    const server = createServer();
    // As Koa's own, which always makes a server without TLS.
    Object.assign(app, { listen: () => server.on('request', app.callback()) });
    const plugin = new WebSocketPlugin();
    plugin.install(app as never);
    app.use((ctx) => {
      seen.push((ctx as unknown as { ws?: WSConnection }).ws);
    });
    withWebSocket(app as never).ws('/echo', (socket) => {
      socket.onMessage((data) => socket.send(data));
    });
    app.listen();
    const { url } = await listen(server, plugin);
    expect(await refused(url('/echo?token=bad'))).toMatchObject({ status: 403 });
    const client = await connect(url('/echo?token=good'));
    expect((await seen.next())?.url).toBe('/echo?token=good');
    client.send('through Koa');
    expect(await client.next()).toBe('through Koa');
  });
});
