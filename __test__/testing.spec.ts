import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createApp } from '../examples/host/index.js';
import {
  WebSocketPlugin,
  type WebSocketPluginOptions,
  type WSSocket,
  withWebSocket,
} from '../index.js';
import { ConnectionRefused, connect, TestWebSocketPlugin } from '../lib/testing/index.js';
import { portOf } from './support/server.js';

const require = createRequire(import.meta.url);
const native = require('../lib/native.js') as { WebSocketPlugin: { prototype: object } };
const { Loopback } = require('../lib/testing/loopback.js') as { Loopback: { prototype: object } };

/** A plugin without a network that is cleaned up after the test. */
function plugin(options: WebSocketPluginOptions = { path: '/chat' }) {
  const made = new TestWebSocketPlugin(options);
  onTestFinished(() => made.cleanup());
  return made;
}

/** The same over a network. */
async function serve(options: WebSocketPluginOptions = { path: '/chat' }) {
  const server = createServer().listen(0, '127.0.0.1');
  const wsPlugin = new WebSocketPlugin(options);
  const app = wsPlugin.attach(server);
  onTestFinished(async () => {
    server.close();
    await wsPlugin.cleanup();
  });
  return { app, url: `ws://127.0.0.1:${await portOf(server)}/chat` };
}

describe('a plugin without a network', () => {
  test('has what a client sends with the listeners at once, and answers with the client', async () => {
    const { app, connect } = bound(plugin());
    app.ws('/chat', (socket) => socket.onMessage((data) => socket.send(`echo ${data}`)));
    const client = await connect('/chat');
    client.send('hello');
    expect(client.received).toEqual(['echo hello']);
  });

  test('keeps text and binary apart, and what is sent from being changed later', async () => {
    const { app, connect } = bound(plugin());
    const heard: unknown[] = [];
    app.ws('/chat', (socket) => {
      socket.onMessage((data) => {
        heard.push(data);
        socket.send(data);
      });
    });
    const client = await connect('/chat');
    const bytes = Buffer.from([1, 2]);
    client.send(bytes);
    client.send('3');
    bytes.fill(0);
    expect(heard).toEqual([Buffer.from([1, 2]), '3']);
    expect(client.received).toEqual([Buffer.from([1, 2]), '3']);
  });

  test('runs middleware, and the handler with the parameters of its route', async () => {
    const { app, connect } = bound(plugin());
    const steps: string[] = [];
    app.wsUse((_socket, req, next) => {
      steps.push(`middleware ${req.headers['x-user']}`);
      next();
    });
    app.ws('/rooms/:room', (socket) => steps.push(`handler ${socket.params.room}`));
    await connect('/rooms/tea', { headers: { 'X-User': 'ada' } });
    expect(steps).toEqual(['middleware ada', 'handler tea']);
  });

  test('has told a client that it is closed before it tells the server that it was', async () => {
    const made = plugin();
    const { app, connect } = bound(made);
    const ended: string[] = [];
    app.ws('/chat', (socket) => {
      socket.join('tea');
      socket.onClose((code, reason) => ended.push(`${code} ${reason}`));
    });
    const client = await connect('/chat');
    made.rooms.close('tea', 4000, 'empty');
    expect(client.closed).toEqual({ code: 4000, reason: 'empty' });
    expect(ended).toEqual([]);
    await new Promise(setImmediate);
    expect(ended).toEqual(['4000 empty']);
    client.close(4001);
    expect(client.closed).toEqual({ code: 4000, reason: 'empty' });
  });

  test.each([
    ['at once', () => undefined],
    ['after looking something up', async () => undefined],
  ])('has told a client that middleware refuses %s, when it is connected', async (_, lookUp) => {
    const { app, connect } = bound(plugin());
    app.wsUse(async (socket) => {
      const waits = lookUp();
      if (waits) await waits;
      socket.close(4401, 'log in first');
    });
    const client = await connect('/chat');
    expect(client.closed).toEqual({ code: 4401, reason: 'log in first' });
  });

  test('keeps messages for a handler that is not ready yet, in order', async () => {
    const { app, connect } = bound(plugin());
    let ready = () => {};
    app.ws('/chat', async (socket) => {
      socket.onMessage((data) => socket.send(data));
      await new Promise<void>((resolve) => {
        ready = resolve;
      });
    });
    const client = await connect('/chat');
    client.send('1');
    client.send('2');
    expect(client.received).toEqual([]);
    ready();
    expect(await client.next()).toBe('1');
    expect(await client.next()).toBe('2');
  });

  test('broadcasts to rooms, to everyone, and to everyone else', async () => {
    const { app, connect } = bound(plugin());
    app.ws('/chat', (socket) => {
      socket.join('tea');
      socket.onMessage((data) => socket.broadcast('tea', data));
    });
    const [ada, bob] = [await connect('/chat'), await connect('/chat')];
    app.wsBroadcast('to all').wsBroadcast('to the room', 'tea').wsBroadcast('to nobody', 'coffee');
    ada.send('to the others');
    expect(ada.received).toEqual(['to all', 'to the room']);
    expect(bob.received).toEqual(['to all', 'to the room', 'to the others']);
  });

  test('tells both sides of a close, with code and reason', async () => {
    const { app, connect } = bound(plugin());
    const ends: unknown[] = [];
    app.ws('/chat', (socket) => {
      socket.onClose((code, reason) => ends.push([code, reason]));
      socket.onMessage(() => {
        socket.send('last words');
        socket.close(4000, 'enough');
      });
    });
    const closed = await connect('/chat');
    closed.send('go');
    await vi.waitFor(() => expect(closed.closed).toEqual({ code: 4000, reason: 'enough' }));
    expect(closed.received).toEqual(['last words']);
    const leaving = await connect('/chat');
    expect(() => leaving.close(99_999, 'bye')).toThrow(/^close: code must be .*, got 99999$/);
    expect(() => leaving.close(4001, 'x'.repeat(124))).toThrow(
      /^close: reason must be at most 123/,
    );
    leaving.close(4001, 'bye');
    const silent = await connect('/chat');
    silent.close();
    const lost = await connect('/chat');
    lost.drop();
    expect(ends).toEqual([
      [4000, 'enough'],
      [4001, 'bye'],
      [1005, ''],
      [1006, ''],
    ]);
  });

  test('forgets a connection that has ended: rooms, counts and its place', async () => {
    const made = plugin({ path: '/chat', maxConnections: 1 });
    const { app, connect } = bound(made);
    app.ws('/chat', (socket) => socket.join('tea'));
    const first = await connect('/chat');
    await expect(connect('/chat')).rejects.toMatchObject({ status: 503 });
    first.close();
    expect(made.getStats()).toMatchObject({ totalConnections: 0, rooms: [] });
    await connect('/chat');
    expect(made.getStats()).toMatchObject({ totalConnections: 1, rooms: ['tea'] });
  });

  test('refuses whom the real one refuses, with the response that it would send', async () => {
    const { connect } = bound(
      plugin({ path: '/chat', allowOrigins: ['https://app.example'], verifyClient: () => false }),
    );
    const refusal = await connect('/nowhere').catch((error) => error);
    expect(refusal).toBeInstanceOf(ConnectionRefused);
    expect(refusal.status).toBe(404);
    await expect(connect('/chat')).rejects.toMatchObject({ status: 403 });
    const headers = { Origin: 'https://app.example' };
    await expect(connect('/chat', { headers })).rejects.toMatchObject({ status: 401 });
  });

  test('closes with 1011 whose listener throws, and reports it', async () => {
    const made = plugin();
    const { app, connect } = bound(made);
    const errors: Error[] = [];
    made.on('error', (error) => errors.push(error));
    app.ws('/chat', (socket) => {
      socket.onMessage(() => {
        throw new Error('too much');
      });
    });
    const client = await connect('/chat');
    client.send('x');
    await vi.waitFor(() => expect(client.closed?.code).toBe(1011));
    expect(errors).toEqual([new Error('too much')]);
  });

  test('agrees on the subprotocol that the real one agrees on', async () => {
    const { app, connect } = bound(plugin({ path: '/any', protocols: ['v2', 'v1'] }));
    const noneIsNamed = bound(plugin({ path: '/any' }));
    app.ws('/own', { protocols: ['v1'] }, () => {});
    app.ws('/chosen', { protocols: (offered) => offered.at(-1) ?? false }, () => {});
    const agreed = async (connecting: ReturnType<typeof connect>) =>
      (await connecting).socket.protocol;
    const protocols = ['v1', 'v0', 'v2'];
    expect(await agreed(connect('/any', { protocols }))).toBe('v2');
    expect(await agreed(connect('/any', { protocols: ['v3'] }))).toBe('');
    expect(await agreed(connect('/own', { protocols }))).toBe('v1');
    expect(await agreed(connect('/chosen', { protocols }))).toBe('v2');
    expect(await agreed(noneIsNamed.connect('/any', { protocols }))).toBe('v1');
  });

  test('knows who is connected and who is in which room', async () => {
    const made = plugin();
    const { app, connect } = bound(made);
    const { rooms, connections } = made;
    app.ws('/chat', (socket) => socket.join('tea'));
    const [ada, bob, eve] = [
      await connect('/chat'),
      await connect('/chat', { remoteAddress: '192.0.2.1' }),
      await connect('/chat'),
    ];
    bob.socket.join('cake');
    expect(connections.size).toBe(3);
    expect([...connections]).toEqual([ada.socket, bob.socket, eve.socket]);
    expect(connections.get(bob.socket.id)).toBe(bob.socket);
    expect(bob.socket.remoteAddress).toBe('192.0.2.1');
    expect(rooms.members('cake')).toEqual([bob.socket]);
    expect([rooms.size, rooms.count('tea'), rooms.has('coffee')]).toEqual([2, 3, false]);

    rooms.broadcast(['tea', 'cake'], 'once', { except: [eve.socket] });
    expect([ada.received, bob.received, eve.received]).toEqual([['once'], ['once'], []]);

    expect(rooms.close('cake', 4003, 'kicked')).toBe(1);
    expect(bob.closed).toEqual({ code: 4003, reason: 'kicked' });
    // The server hears of the end when the code that is running is done.
    expect(rooms.has('cake')).toBe(true);
    await new Promise(setImmediate);
    expect(rooms.has('cake')).toBe(false);
    expect(connections.get(bob.socket.id)).toBe(undefined);
  });

  test('has the limits on rooms that the real one has, in its words', async () => {
    const options = { path: '/chat', maxRoomsPerConnection: 1, maxRoomNameLength: 3 };
    const told: string[] = [];
    const join = (socket: WSSocket) => {
      socket.join('tea');
      socket.join('tea');
      for (const room of ['cake', 'pie']) {
        try {
          socket.join(room);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
          told.push(String(error));
        }
      }
      socket.send('joined');
    };
    const { app, connect: inProcess } = bound(plugin(options));
    app.ws('/chat', join);
    await inProcess('/chat');
    const real = await serve(options);
    real.app.ws('/chat', join);
    await (await connect(real.url)).next();
    expect(told).toHaveLength(4);
    expect(told.slice(0, 2)).toEqual(told.slice(2));
  });

  test('shows the server pings and pongs when the test says so', async () => {
    const { app, connect } = bound(plugin());
    app.ws('/chat', () => {});
    const client = await connect('/chat');
    client.socket.ping();
    expect(client.pings).toBe(1);
    client.socket.isAlive = false;
    expect(client.socket.isAlive).toBe(false);
    client.pong();
    expect(client.socket.isAlive).toBe(true);
  });

  test('runs the HTTP middleware of the application that it is installed on', async () => {
    const app = createApp();
    onTestFinished(() => app.eventSystem.shutdown());
    const made = plugin();
    made.install(app);
    app.use(async (ctx, next) => {
      if (ctx.headers['x-banned']) ctx.res.status(418).json({ error: 'no' });
      else await next();
    });
    withWebSocket(app).ws('/chat', (socket) => socket.send('welcome'));
    const client = await made.connect('/chat');
    expect(client.received).toEqual(['welcome']);
  });

  test('counts and shows the addresses that proxies tell of', async () => {
    const made = plugin({ path: '/chat', trustProxy: 'loopback', maxConnectionsPerIp: 1 });
    const from = (address: string) =>
      made.connect('/chat', { headers: { 'X-Forwarded-For': address } });
    const ada = await from('192.0.2.1');
    expect(ada.socket.remoteAddress).toBe('192.0.2.1');
    await expect(from('192.0.2.1')).rejects.toMatchObject({ status: 429 });
    expect((await from('192.0.2.2')).socket.remoteAddress).toBe('192.0.2.2');
    ada.close();
    await from('192.0.2.1');
  });

  test('asks no broker', async () => {
    const cluster = { url: 'redis://127.0.0.1:1' };
    const made = plugin({ path: '/chat', cluster });
    const events: unknown[] = [];
    made.on('cluster:down', (reason) => events.push(reason));
    const client = await made.connect('/chat');
    made.broadcast('to all here');
    expect(client.received).toEqual(['to all here']);
    await made.cleanup();
    expect(events).toEqual([]);
    expect(made.getStats()).not.toHaveProperty('cluster');
  });

  test('stands in for all of the native half that knows connections', () => {
    const names = Object.getOwnPropertyNames(native.WebSocketPlugin.prototype);
    // Whatever is added there has to be added to the loopback, or to one of these.
    const decide = [
      ...['asksForAddress', 'clientAddress', 'closeTimeoutMs', 'debug', 'handshakeTimeoutMs'],
      ...[
        'normalised',
        'params',
        'protocolChoices',
        'regexpsForJavascript',
        'reject',
        'rejections',
      ],
      ...['routeOf', 'serves', 'setShuttingDown', 'shapeOf', 'shapes', 'trustsProxies'],
    ];
    const needNetwork = [
      ...['countRefusedHeader', 'expectsProxyHeader', 'joinCluster', 'leaveCluster', 'metrics'],
      ...['nodeLeaves', 'secure', 'secured', 'speaksProxyProtocol'],
    ];
    const known = new Set([...decide, ...needNetwork]);
    const left = names.filter((name) => !(name in Loopback.prototype || known.has(name)));
    expect(left).toEqual([]);
  });

  test('closes everyone when it is cleaned up', async () => {
    const made = plugin();
    const { app, connect } = bound(made);
    app.ws('/chat', () => {});
    const client = await connect('/chat');
    await made.cleanup();
    expect(client.closed).toEqual({ code: 1001, reason: 'server is shutting down' });
  });

  describe('with fake timers', () => {
    beforeEach(() => {
      vi.useFakeTimers();
    });
    afterEach(() => {
      vi.useRealTimers();
    });

    test('lets the test decide what time it is', async () => {
      const { app, connect } = bound(plugin());
      app.ws('/chat', (socket) => {
        const timer = setInterval(() => socket.send(`${new Date().toISOString()}`), 60_000);
        socket.onClose(() => clearInterval(timer));
      });
      vi.setSystemTime('2030-01-01T00:00:00Z');
      const client = await connect('/chat');
      vi.advanceTimersByTime(120_000);
      expect(client.received).toEqual(['2030-01-01T00:01:00.000Z', '2030-01-01T00:02:00.000Z']);
      client.close();
      expect(vi.getTimerCount()).toBe(0);
    });

    test('ends middleware that takes too long when the clock says so', async () => {
      const { app, connect } = bound(plugin({ path: '/chat', handshakeTimeoutMs: 1000 }));
      app.wsUse(() => {});
      app.ws('/chat', () => {});
      const client = await connect('/chat');
      await vi.advanceTimersByTimeAsync(999);
      expect(client.closed).toBe(null);
      await vi.advanceTimersByTimeAsync(1);
      expect(client.closed?.code).toBe(1008);
    });
  });

  function bound(made: TestWebSocketPlugin) {
    return { app: made.app, connect: made.connect.bind(made) };
  }
});

describe('a client over a network', () => {
  test('has messages to be awaited one by one, also those that came before', async () => {
    const { app, url } = await serve();
    app.ws('/chat', (socket) => {
      socket.send('one');
      socket.send(Buffer.from('two'));
      socket.send('{"three":3}');
    });
    const client = await connect(url);
    expect(await client.next()).toBe('one');
    expect(await client.next()).toEqual(Buffer.from('two'));
    expect(await client.nextJson()).toEqual({ three: 3 });
    expect(await client.close(4000, 'bye')).toEqual({ code: 4000, reason: 'bye' });
    await expect(client.next()).rejects.toThrow('the connection was closed with 4000: bye');
  });

  test('is told with status, headers and body why it is not let in', async () => {
    const { url } = await serve({ path: '/chat', verifyClient: () => false });
    const refusal = await connect(url).catch((error) => error);
    expect(refusal).toBeInstanceOf(ConnectionRefused);
    expect(refusal.status).toBe(401);
    expect(refusal.headers['content-type']).toMatch('text/plain');
    expect(refusal.body).not.toBe('');
  });
});
