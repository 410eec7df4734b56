import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { WSStats } from '../index.js';
import { type Client, connect, refused } from './support/client.js';
import { deferred } from './support/events.js';
import { echo, pair, rawPair, serveRecorded } from './support/pair.js';
import {
  CLOSE,
  CONTINUATION,
  frame,
  PING,
  PONG,
  rawConnect,
  rawUpgrade,
  TEXT,
  upgradeRequest,
} from './support/raw.js';
import { serve } from './support/server.js';
import { until } from './support/until.js';

const MEGABYTE = 1 << 20;

/** A message of so many bytes that begins with its number. */
function numbered(index: number, length: number): string {
  return `${index}:`.padEnd(length, 'x');
}

/** The number of a message that `numbered` made. */
function numberOf(message: string | Buffer): number {
  return Number.parseInt(message.toString(), 10);
}

test('a plugin that nothing has happened to has nothing to count', async () => {
  const { plugin } = await serve();
  expect(plugin.getStats()).toEqual({
    totalConnections: 0,
    roomCount: 0,
    rooms: [],
    handlers: 0,
    messagesReceived: 0,
    messagesSent: 0,
    bytesReceived: 0,
    bytesSent: 0,
    droppedMessages: 0,
    rateLimited: { closed: 0, dropped: 0, paused: 0 },
    refusedProxyHeaders: 0,
    bufferedAmount: 0,
    backpressuredConnections: 0,
    closingConnections: 0,
    memory: { used: 0, limit: expect.any(Number), shed: 0 },
    transports: { adopted: 0, bridged: 0 },
    rejected: {
      method: 0,
      badRequest: 0,
      version: 0,
      path: 0,
      origin: 0,
      limit: 0,
      address: 0,
      unauthorized: 0,
      verifyError: 0,
      shuttingDown: 0,
      timeout: 0,
      application: 0,
    },
  });
});

describe('present numbers', () => {
  test('totalConnections is the number of open connections, on all paths', async () => {
    const { plugin, url } = await serve({ path: ['/a', '/b'] });
    const total = () => plugin.getStats().totalConnections;
    const clients = [await connect(url('/a')), await connect(url('/b'))];
    expect(total()).toBe(2);
    clients.push(await connect(url('/a')));
    expect(total()).toBe(3);
    for (const [index, client] of clients.entries()) {
      const over = once(plugin, 'close');
      if (index === 1) client.ws.terminate();
      else client.close();
      await over;
      expect(total()).toBe(2 - index);
    }
  });

  test('a connection that is being closed counts until it has ended', async () => {
    const { client, socket, plugin, ends } = await rawPair();
    socket.close(4000);
    await client.frame();
    expect(plugin.getStats().totalConnections).toBe(1);
    client.write(frame(CLOSE));
    await ends.next();
    expect(plugin.getStats().totalConnections).toBe(0);
  });

  test('a request that is still being verified is not a connection yet', async () => {
    const gate = deferred<boolean>();
    const asked = deferred();
    const { plugin, url } = await serve({
      verifyClient: () => {
        asked.resolve();
        return gate.promise;
      },
    });
    const connecting = connect(url());
    await asked.promise;
    expect(plugin.getStats().totalConnections).toBe(0);
    gate.resolve(true);
    await connecting;
    expect(plugin.getStats().totalConnections).toBe(1);
  });

  test('rooms is an array of the names of those that have members', async () => {
    const { plugin, socket } = await pair();
    socket.join('b');
    socket.join('a');
    expect(Array.isArray(plugin.getStats().rooms)).toBe(true);
    expect(plugin.getStats().rooms).toEqual(['b', 'a']);
    socket.leave('b');
    expect(plugin.getStats().rooms).toEqual(['a']);
  });

  test('roomCount is how many those are, and their names can be left out', async () => {
    const { plugin, socket } = await pair();
    socket.join('b');
    socket.join('a');
    expect(plugin.getStats()).toMatchObject({ roomCount: 2, rooms: ['b', 'a'] });
    const numbers = plugin.getStats({ rooms: false });
    expect(numbers.roomCount).toBe(2);
    expect(numbers).not.toHaveProperty('rooms');
    for (const options of [undefined, {}, { rooms: undefined }, { rooms: true }]) {
      expect(plugin.getStats(options).rooms).toEqual(['b', 'a']);
    }
    expect({ ...numbers, rooms: ['b', 'a'] }).toEqual(plugin.getStats());
  });

  test.each([
    [null, /options must be an object .*, got null/],
    [{ rooms: 'no' }, /option "rooms" must be a boolean, got "no"/],
    [{ room: false }, /unknown option "room"; accepted is "rooms"/],
  ])('take no %j as options: a TypeError says what is accepted', async (options, message) => {
    const { plugin } = await serve();
    expect(() => plugin.getStats(options as never)).toThrow(TypeError);
    expect(() => plugin.getStats(options as never)).toThrow(message);
  });

  test('handlers is the number of routes', async () => {
    const { plugin, wsApp } = await serve({ path: ['/without', '/any'] });
    expect(plugin.getStats().handlers).toBe(0);
    wsApp.ws('/one', () => {});
    wsApp.ws('/two/:id', () => {});
    wsApp.ws('/three/*', () => {});
    expect(plugin.getStats().handlers).toBe(3);
  });

  test('are a reading of their moment, not a live object', async () => {
    const { plugin, socket } = await pair();
    const before = plugin.getStats();
    socket.join('room');
    expect(before.rooms).toEqual([]);
    before.rooms.push('mine');
    before.rejected.path = 99;
    expect(plugin.getStats()).toMatchObject({ rooms: ['room'], rejected: { path: 0 } });
  });
});

describe('counters of messages and bytes', () => {
  test('count what comes in by its payload', async () => {
    const { client, messages, plugin } = await pair();
    for (const message of ['', 'abc', 'é€😀', Buffer.alloc(1000), 'x'.repeat(70_000)]) {
      client.send(message);
      await messages.next();
    }
    expect(plugin.getStats()).toMatchObject({
      messagesReceived: 5,
      bytesReceived: 0 + 3 + 9 + 1000 + 70_000,
      messagesSent: 0,
      bytesSent: 0,
    });
  });

  test('count what goes out by its frames', async () => {
    const { client, socket, plugin } = await pair();
    for (const message of ['', 'abc', 'é€😀', Buffer.alloc(1000), 'x'.repeat(70_000)]) {
      socket.send(message);
      await client.next();
    }
    expect(plugin.getStats()).toMatchObject({
      messagesSent: 5,
      bytesSent: 2 + (2 + 3) + (2 + 9) + (4 + 1000) + (10 + 70_000),
      messagesReceived: 0,
      bytesReceived: 0,
    });
  });

  test('count a broadcast once for each that it goes to', async () => {
    const { client, url, wsApp, plugin, sockets, socket } = await pair();
    const others = [await connect(url()), await connect(url())];
    socket.join('room');
    (await sockets.next()).join('room');
    wsApp.wsBroadcast('12345678');
    wsApp.wsBroadcast('1234', 'room');
    wsApp.wsBroadcast('to nobody', 'nowhere');
    socket.broadcast('room', '12');
    wsApp.wsBroadcast('marker');
    for (const one of [client, ...others]) while ((await one.next()) !== 'marker');
    expect(plugin.getStats()).toMatchObject({
      messagesSent: 3 + 2 + 1 + 3,
      bytesSent: 3 * 10 + 2 * 6 + 4 + 3 * 8,
    });
  });

  test('count a message in fragments once, and no control frame', async () => {
    const { client, socket, messages, plugin } = await rawPair();
    client.write(
      Buffer.concat([
        frame(TEXT, '123', { fin: false }),
        frame(PING, 'ping'),
        frame(PONG, 'pong'),
        frame(CONTINUATION, '4567'),
      ]),
    );
    await messages.next();
    socket.ping();
    await client.frame();
    await client.frame();
    socket.close(4000, 'reason');
    await client.frame();
    expect(plugin.getStats()).toMatchObject({
      messagesReceived: 1,
      bytesReceived: 7,
      messagesSent: 0,
      bytesSent: 0,
    });
  });

  test('count on after a connection has ended', async () => {
    const { url, messages, ends, plugin } = await serveRecorded({}, echo);
    for (let round = 1; round <= 3; round++) {
      const client = await connect(url());
      client.send('12345');
      await client.next();
      client.close();
      await messages.next();
      await ends.next();
      expect(plugin.getStats()).toMatchObject({
        messagesReceived: round,
        bytesReceived: round * 5,
        messagesSent: round,
        bytesSent: round * 7,
      });
    }
  });
});

describe('rejected upgrades by reason', () => {
  /** The reasons that were counted. */
  function counted({ rejected }: WSStats): Partial<WSStats['rejected']> {
    return Object.fromEntries(Object.entries(rejected).filter(([, count]) => count > 0));
  }

  test('are counted each under its own', async () => {
    const { plugin, port, url } = await serve(
      {
        path: ['/ws', '/answered'],
        allowOrigins: ['http://good.example'],
        maxConnections: 1,
        verifyClient: (req) => {
          if (req.url?.includes('broken')) throw new Error('broken');
          return !req.url?.includes('stranger');
        },
        before: (app) => {
          app.use(async (ctx, next) => {
            if (ctx.path === '/answered') ctx.res.status(403).json({});
            else await next();
          });
        },
      },
      ({ plugin }) => {
        plugin.on('error', () => {});
      },
    );
    const good = { headers: { origin: 'http://good.example' } };
    expect((await refused(url('/nowhere'), good)).status).toBe(404);
    expect((await refused(url('/nowhere'), good)).status).toBe(404);
    expect((await refused(url('/ws'))).status).toBe(403);
    expect((await refused(url('/ws?stranger'), good)).status).toBe(401);
    expect((await refused(url('/ws?broken'), good)).status).toBe(500);
    expect((await refused(url('/answered'), good)).status).toBe(403);
    for (const headers of [{ 'Sec-WebSocket-Version': '8' }, { 'Sec-WebSocket-Key': 'short' }]) {
      const client = await rawConnect(port);
      client.write(upgradeRequest('/ws', { Origin: 'http://good.example', ...headers }));
      await client.head();
    }
    const client = await rawConnect(port);
    client.write(upgradeRequest('/ws', { Origin: 'http://good.example' }, { method: 'POST' }));
    await client.head();
    await connect(url('/ws'), good);
    expect((await refused(url('/ws'), good)).status).toBe(503);
    expect(counted(plugin.getStats())).toEqual({
      path: 2,
      origin: 1,
      unauthorized: 1,
      verifyError: 1,
      application: 1,
      version: 1,
      badRequest: 1,
      method: 1,
      limit: 1,
    });
    expect(plugin.getStats().totalConnections).toBe(1);
  });

  test('leave room for those that are accepted', async () => {
    const { plugin, url } = await serve({
      maxConnections: 2,
      verifyClient: (req) => !req.url?.includes('stranger'),
    });
    for (let index = 0; index < 5; index++) {
      expect((await refused(url('/ws?stranger'))).status).toBe(401);
    }
    await connect(url());
    await connect(url());
    expect((await refused(url())).status).toBe(503);
    expect(counted(plugin.getStats())).toEqual({ unauthorized: 5, limit: 1 });
  });
});

describe('a client that does not read', () => {
  const piece = 64 << 10;

  /** Everything that a client has got, once it has the message `end`. */
  async function untilEnd(client: Client): Promise<number[]> {
    const numbers: number[] = [];
    for (;;) {
      const message = await client.next();
      if (message === 'end') return numbers;
      expect(message).toHaveLength(piece);
      numbers.push(numberOf(message));
    }
  }

  test.each(['send', 'broadcast'])(
    'loses what does not fit under the policy drop, and nothing else: %s',
    async (way) => {
      const { client, socket, plugin, wsApp, ends } = await pair({
        backpressurePolicy: 'drop',
        maxBackpressure: MEGABYTE,
      });
      socket.join('room');
      client.ws.pause();
      const total = 400;
      for (let index = 0; index < total; index++) {
        if (way === 'send') socket.send(numbered(index, piece));
        else wsApp.wsBroadcast(numbered(index, piece), 'room');
        if (index % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
        expect(socket.bufferedAmount).toBeLessThanOrEqual(MEGABYTE);
      }
      await until(() => plugin.getStats().backpressuredConnections === 1);
      expect(plugin.getStats().bufferedAmount).toBeGreaterThan(0);
      client.ws.resume();
      await until(() => socket.bufferedAmount === 0);
      await until(() => plugin.getStats().backpressuredConnections === 0);
      expect(plugin.getStats().bufferedAmount).toBe(0);
      socket.send('end');
      const numbers = await untilEnd(client);
      const { droppedMessages, messagesSent, totalConnections } = plugin.getStats();
      expect(droppedMessages).toBeGreaterThan(0);
      expect(numbers.length + droppedMessages).toBe(total);
      expect(messagesSent).toBe(numbers.length + 1);
      expect(numbers).toEqual([...numbers].sort((one, other) => one - other));
      expect(new Set(numbers).size).toBe(numbers.length);
      expect(totalConnections).toBe(1);
      expect(ends.waiting).toEqual([]);
    },
  );

  test('loses of many broadcasts in one tick only those that do not fit', async () => {
    const { client, socket, plugin, wsApp } = await pair({
      backpressurePolicy: 'drop',
      maxBackpressure: 5000,
    });
    await until(() => socket.bufferedAmount === 0);
    socket.send(numbered(0, 1000));
    for (let index = 1; index <= 10; index++) wsApp.wsBroadcast(numbered(index, 1000));
    const numbers = [numberOf(await client.next())];
    await until(() => numbers.length + client.waiting.length + dropped() >= 11);
    function dropped() {
      return plugin.getStats().droppedMessages;
    }
    numbers.push(...client.waiting.map(numberOf));
    // 5000 bytes hold four of them with their headers.
    expect(numbers.slice(0, 4)).toEqual([0, 1, 2, 3]);
    expect(dropped()).toBe(11 - numbers.length);
  });

  test.each(['send', 'broadcast'])(
    'loses the same of ten messages in one tick, and the rest is counted, by %s',
    async (way) => {
      const { client, socket, plugin, wsApp } = await pair({
        backpressurePolicy: 'drop',
        maxBackpressure: 1000,
      });
      await until(() => socket.bufferedAmount === 0);
      for (let index = 0; index < 10; index++) {
        if (way === 'send') socket.send(numbered(index, 500));
        else wsApp.wsBroadcast(numbered(index, 500));
      }
      expect(numberOf(await client.next())).toBe(0);
      await until(() => plugin.getStats().droppedMessages === 9);
      expect(plugin.getStats()).toMatchObject({ messagesSent: 1, bytesSent: 504 });
      expect(client.waiting).toEqual([]);
    },
  );

  test('gets a message that is larger than the limit as long as nothing else waits', async () => {
    const { client, socket, plugin, wsApp } = await pair({ maxBackpressure: 1000 });
    for (let index = 0; index < 3; index++) {
      await until(() => socket.bufferedAmount === 0);
      socket.send(numbered(index, 100_000));
      expect(numberOf(await client.next())).toBe(index);
      await until(() => socket.bufferedAmount === 0);
      wsApp.wsBroadcast(numbered(index, 100_000));
      expect(numberOf(await client.next())).toBe(index);
    }
    expect(plugin.getStats().droppedMessages).toBe(0);
  });

  test('is closed with 1008 under the policy close, and hears so when it reads again', async () => {
    const { client, socket, ends, plugin } = await pair({
      backpressurePolicy: 'close',
      maxBackpressure: MEGABYTE,
    });
    client.ws.pause();
    for (let index = 0; ends.waiting.length === 0; index++) {
      socket.send(numbered(index, piece));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await ends.next()).toMatchObject({ code: 1008 });
    expect(plugin.getStats()).toMatchObject({ totalConnections: 0 });
    client.ws.resume();
    const { code, reason } = await client.closed;
    expect(code).toBe(1008);
    expect(reason).toContain('maxBackpressure');
    const numbers = client.waiting.map(numberOf);
    // What it did get is the beginning of what was sent, without a gap.
    expect(numbers).toEqual(numbers.map((_, index) => index));
  });

  test('is closed with 1008 while the others in the room get everything', async () => {
    const { url, port, wsApp, sockets, ends, plugin } = await serveRecorded(
      { maxBackpressure: MEGABYTE },
      (socket) => socket.join('room'),
    );
    const deaf = await rawUpgrade(port);
    deaf.socket.pause();
    await sockets.next();
    const readers = [await connect(url()), await connect(url()), await connect(url())];
    let sent = 0;
    const broadcast = async () => {
      wsApp.wsBroadcast(numbered(sent, piece), 'room');
      for (const reader of readers) expect(numberOf(await reader.next())).toBe(sent);
      sent += 1;
    };
    while (ends.waiting.length === 0) await broadcast();
    expect((await ends.next()).code).toBe(1008);
    for (let index = 0; index < 5; index++) await broadcast();
    expect(plugin.getStats().totalConnections).toBe(3);
    expect(ends.waiting).toEqual([]);
  });

  test('is closed under the policy that holds where none is named', async () => {
    const { client, socket, ends } = await pair({ maxBackpressure: MEGABYTE });
    client.ws.pause();
    while (ends.waiting.length === 0) {
      socket.send(Buffer.alloc(piece));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await ends.next()).code).toBe(1008);
  });

  test('does not have its answers to pings pile up', async () => {
    const { client, socket, plugin, port } = await rawPair({ maxBackpressure: MEGABYTE });
    client.socket.pause();
    const pings = Buffer.concat(Array.from({ length: 1000 }, () => frame(PING, Buffer.alloc(125))));
    // 20 MB of pongs, were each of them to be answered.
    for (let index = 0; index < 150; index++) {
      if (!client.socket.write(pings)) await once(client.socket, 'drain');
    }
    expect(socket.bufferedAmount).toBeLessThan(2 * MEGABYTE);
    expect(plugin.getStats().totalConnections).toBe(1);
    await rawUpgrade(port);
  });
});
