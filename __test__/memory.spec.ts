/** What all connections together may have the server keep, and that it is all of it. */
import type { Duplex } from 'node:stream';
import { constants, deflateRawSync } from 'node:zlib';
import { expect, test } from 'vitest';
import type { WSSocket } from '../index.js';
import { connect, expectEchoOn } from './support/client.js';
import { queue } from './support/events.js';
import { upgradeStatus } from './support/http.js';
import { echo, serveRecorded } from './support/pair.js';
import {
  BINARY,
  CLOSE,
  closePayload,
  frame,
  type RawClient,
  rawConnect,
  rawUpgrade,
  rawUpgradeDeflating,
  TEXT,
  upgradeRequest,
} from './support/raw.js';
import { serve } from './support/server.js';
import { adopts } from './support/transport.js';
import { until } from './support/until.js';

const MEGABYTE = 1 << 20;

/** A kilobyte that inflates to nearly a megabyte, and is not the end of its message. */
const UNFINISHED = frame(
  BINARY,
  deflateRawSync(Buffer.alloc(MEGABYTE - 1000), { finishFlush: constants.Z_SYNC_FLUSH }),
  { fin: false, rsv: 4 },
);

test('messages that never end cost no more than maxBufferedBytes, and those who send them', async () => {
  const limit = 8 * MEGABYTE;
  const { port, url, plugin, ends } = await serveRecorded(
    { perMessageDeflate: true, maxBufferedBytes: limit },
    echo,
  );
  const idle = await connect(url());
  const talker = await connect(url());
  const slowWriter = await rawUpgrade(port);
  slowWriter.write(frame(TEXT, 'beginning', { fin: false }));
  const hoarders: RawClient[] = [];
  for (let index = 0; index < 40; index++) {
    const hoarder = await rawUpgradeDeflating(port);
    hoarder.write(UNFINISHED);
    hoarders.push(hoarder);
    await expectEchoOn(talker, `turn ${index}`);
    expect(plugin.getStats().memory.used).toBeLessThan(limit + 2 * MEGABYTE);
  }
  await until(() => plugin.getStats().memory.used <= limit);
  const { shed } = plugin.getStats().memory;
  expect(shed).toBeGreaterThan(30);
  for (let index = 0; index < shed; index++) {
    expect(await ends.next()).toMatchObject({ code: 1013 });
  }
  expect(ends.waiting).toEqual([]);
  // Most of them are told; which of them stays is of no account, as they all keep the same.
  const { opcode, payload } = await Promise.race(hoarders.map((hoarder) => hoarder.frame()));
  expect([opcode, payload.readUInt16BE()]).toEqual([CLOSE, 1013]);
  expect(payload.toString()).toContain('maxBufferedBytes');
  await expectEchoOn(idle, 'still here');
  slowWriter.write(frame(0, ' and end'));
  expect((await slowWriter.frame()).payload.toString()).toBe('beginning and end');
});

test('queues together cost no more than maxBufferedBytes, and those who do not read', async () => {
  const limit = 24 * MEGABYTE;
  const { port, url, plugin, sockets, ends } = await serveRecorded(
    { maxBufferedBytes: limit },
    echo,
  );
  const reader = await connect(url());
  await sockets.next();
  const slow: WSSocket[] = [];
  for (let index = 0; index < 8; index++) {
    const client = await rawUpgrade(port);
    client.socket.pause();
    slow.push(await sockets.next());
  }
  for (let round = 0; round < 15; round++) {
    for (const socket of slow) socket.send(Buffer.alloc(MEGABYTE - 100));
    await expectEchoOn(reader, `round ${round}`);
    // What was sent in this round and the one before may be on its way to the queues.
    expect(plugin.getStats().memory.used).toBeLessThan(limit + 2 * slow.length * MEGABYTE);
  }
  expect(plugin.getStats().memory.shed).toBeGreaterThan(2);
  expect(plugin.getStats().memory.shed).toBeLessThanOrEqual(slow.length);
  expect(await ends.next()).toMatchObject({ code: 1013 });
  await expectEchoOn(reader, 'still here');
});

test('what many wait for is kept once, and ends nobody', async () => {
  const { port, plugin, sockets, ends, wsApp } = await serveRecorded(
    { maxBufferedBytes: 12 * MEGABYTE },
    (socket) => socket.join('room'),
  );
  const clients: RawClient[] = [];
  for (let index = 0; index < 8; index++) {
    const client = await rawUpgrade(port);
    client.socket.pause();
    clients.push(client);
    await sockets.next();
  }
  const count = 8;
  for (let index = 0; index < count; index++) {
    wsApp.wsBroadcast(Buffer.alloc(MEGABYTE, index), 'room');
    await until(() => plugin.getStats().messagesSent === (index + 1) * clients.length);
  }
  const { bufferedAmount, memory } = plugin.getStats();
  // Each of them has a queue of its own, and they are counted one by one there.
  expect(bufferedAmount).toBeGreaterThan(2 * memory.used);
  expect(memory.shed).toBe(0);
  for (const client of clients) client.socket.resume();
  for (const client of clients) {
    for (let index = 0; index < count; index++) {
      expect((await client.frame()).payload.equals(Buffer.alloc(MEGABYTE, index))).toBe(true);
    }
  }
  await until(() => plugin.getStats().memory.used < 100_000);
  expect(ends.waiting).toEqual([]);
});

test.each([1, 5])(
  'broadcasts that are made %i at a time are counted all the same',
  async (count) => {
    const limit = 8 * MEGABYTE;
    const { port, plugin, sockets, ends, wsApp } = await serveRecorded(
      { maxBufferedBytes: limit, maxBackpressure: Number.POSITIVE_INFINITY },
      (socket) => socket.join('room'),
    );
    for (let index = 0; index < 3; index++) {
      const client = await rawUpgrade(port);
      client.socket.pause();
      await sockets.next();
    }
    for (let sent = count; sent < 3000 && ends.waiting.length === 0; sent += count) {
      for (let index = 0; index < count; index++) wsApp.wsBroadcast(Buffer.alloc(13_000), 'room');
      await until(() => ends.waiting.length > 0 || plugin.getStats().messagesSent >= 3 * sent);
      expect(plugin.getStats().memory.used).toBeLessThan(1.2 * limit);
    }
    expect(await ends.next()).toMatchObject({ code: 1013 });
  },
);

test('everything that waits for a peer is in bufferedAmount, wherever it waits', async () => {
  const streams = queue<Duplex>();
  const { port, plugin, sockets } = await serveRecorded({
    maxBackpressure: Number.POSITIVE_INFINITY,
  });
  plugin.on('connection', (_socket, req) => streams.push(req.socket));
  const client = await rawUpgrade(port);
  const [socket, stream] = [await sockets.next(), await streams.next()];
  client.socket.pause();
  const count = 24;
  for (let index = 0; index < count; index++) socket.send(Buffer.alloc(MEGABYTE, index));
  // Until the system takes no more.
  for (let before = -1; before !== socket.bufferedAmount; ) {
    before = socket.bufferedAmount;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const held = stream.writableLength;
  expect(held > 0).toBe(!adopts);
  expect(socket.bufferedAmount).toBeGreaterThan(MEGABYTE + held);
  client.socket.resume();
  for (let index = 0; index < count; index++) {
    expect((await client.frame()).payload.equals(Buffer.alloc(MEGABYTE, index))).toBe(true);
  }
  await until(() => socket.bufferedAmount === 0);
});

test('who closes first and does not read has a place, but no queue', async () => {
  const { port, plugin } = await serve({ maxConnections: 2, closeTimeoutMs: 4000 }, ({ wsApp }) => {
    wsApp.ws('/ws', () => {});
    wsApp.ws('/flood', (socket) => {
      for (let index = 0; index < 12; index++) socket.send(Buffer.alloc(MEGABYTE));
    });
  });
  const ended = queue<number>();
  plugin.on('close', (_socket, code) => ended.push(code));
  const withDescriptor = () => {
    const { totalConnections, closingConnections } = plugin.getStats();
    return totalConnections + closingConnections;
  };
  for (const leave of [
    (client: RawClient) => client.write(frame(CLOSE, closePayload(1000))),
    (client: RawClient) => client.write(frame(TEXT, 'x', { mask: false })),
  ]) {
    const client = await rawConnect(port);
    client.socket.pause();
    client.write(upgradeRequest('/flood'));
    leave(client);
    await ended.next();
  }
  expect(plugin.getStats()).toMatchObject({ totalConnections: 0, closingConnections: 2 });
  await until(() => plugin.getStats().memory.used < 3 * MEGABYTE);
  // Pumped, so little is left of a queue that the system takes it all; then it only waits for the
  // peer's end, and makes room.
  const status = await upgradeStatus(port);
  if (adopts) expect(status).toBe(503);
  await until(() => withDescriptor() <= 2);
  // It has closeTimeoutMs to take the close frame, and no more.
  await until(() => plugin.getStats().closingConnections === 0);
  while ((await upgradeStatus(port)) !== 101);
});

test.each([1, 4])(
  'who has been sent everything makes room, with %i I/O threads',
  async (ioThreads) => {
    const maxConnections = 8;
    const { port, plugin } = await serve({ maxConnections, ioThreads }, ({ wsApp }) => {
      wsApp.ws('/ws', () => {});
    });
    let most = 0;
    for (let round = 0; round < 60; round++) {
      // Never ends its side.
      const client = await rawUpgrade(port);
      client.write(frame(CLOSE, closePayload(1000)));
      expect((await client.frame()).opcode).toBe(CLOSE);
      await until(() => plugin.getStats().totalConnections === 0);
      most = Math.max(most, plugin.getStats().closingConnections);
    }
    // One that has just been asked for its place may still be there.
    expect(most).toBeLessThanOrEqual(maxConnections + 2);
  },
);
