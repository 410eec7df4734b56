/** Peers that send more than they may, stopped before JavaScript sees it. */

import { describe, expect, test } from 'vitest';
import { connect } from './support/client.js';
import { pair, rawPair, serveRecorded } from './support/pair.js';
import {
  CLOSE,
  CONTINUATION,
  frame,
  PING,
  PONG,
  type RawClient,
  rawUpgrade,
  TEXT,
} from './support/raw.js';
import { serve } from './support/server.js';
import { until } from './support/until.js';

/** So slow that a test sees nothing of what comes again, however long it takes. */
const SLOW = { perSecond: 1, burst: 3 } as const;

/** Frames until the close frame, and its code and reason. */
async function end(client: RawClient): Promise<{ code: number; reason: string }> {
  for (;;) {
    const { opcode, payload } = await client.frame();
    if (opcode === CLOSE)
      return { code: payload.readUInt16BE(0), reason: payload.subarray(2).toString() };
  }
}

const flood = (count: number) =>
  Buffer.concat(Array.from({ length: count }, (_, index) => frame(TEXT, `${index}`)));

describe('messages above messageRate', () => {
  test('close the connection with 1008, behind those that were allowed', async () => {
    const { client, messages, ends, plugin } = await rawPair({ messageRate: SLOW });
    client.write(flood(2000));
    const told = { code: 1008, reason: 'messageRate exceeded: the peer sends too fast' };
    expect(await end(client)).toEqual(told);
    expect(await ends.next()).toEqual(told);
    expect(messages.waiting.slice(0, 3)).toEqual(['0', '1', '2']);
    // A further one for each second that the flood has taken.
    expect(messages.waiting.length).toBeLessThan(100);
    expect(plugin.getStats().rateLimited).toEqual({ closed: 1, dropped: 0, paused: 0 });
  });

  test('are dropped and counted under the policy drop', async () => {
    const { client, messages, plugin, socket } = await rawPair({
      messageRate: { ...SLOW, policy: 'drop' },
    });
    client.write(Buffer.concat([flood(500), frame(PING, 'behind')]));
    const { opcode, payload } = await client.frame();
    expect([opcode, payload.toString()]).toEqual([PONG, 'behind']);
    const { dropped, ...others } = plugin.getStats().rateLimited;
    expect(others).toEqual({ closed: 0, paused: 0 });
    const { messagesReceived } = plugin.getStats();
    expect(messagesReceived + dropped).toBe(500);
    expect(messagesReceived).toBeLessThan(100);
    await until(() => messages.waiting.length === messagesReceived);
    expect(socket.isAlive).toBe(true);
  });

  test('wait under the policy pause, and none is lost', async () => {
    const { client, messages, plugin } = await rawPair({
      messageRate: { perSecond: 2000, burst: 10, policy: 'pause' },
    });
    client.write(flood(500));
    for (let index = 0; index < 500; index++) expect(await messages.next()).toBe(`${index}`);
    const { closed, dropped, paused } = plugin.getStats().rateLimited;
    expect([closed, dropped]).toEqual([0, 0]);
    expect(paused).toBeGreaterThan(0);
  });

  test('count as messages, in however many frames they come', async () => {
    const { client, plugin } = await rawPair({ messageRate: { ...SLOW, policy: 'drop' } });
    const message = Buffer.concat([
      frame(TEXT, 'a', { fin: false }),
      ...Array.from({ length: 98 }, () => frame(CONTINUATION, 'b', { fin: false })),
      frame(CONTINUATION, 'c'),
    ]);
    client.write(Buffer.concat([message, message, frame(PING)]));
    expect(await client.frame()).toMatchObject({ opcode: PONG });
    expect(plugin.getStats()).toMatchObject({
      messagesReceived: 2,
      rateLimited: { dropped: 0 },
    });
  });

  test('are those of one connection: the others are not held up', async () => {
    const { client, messages, url } = await rawPair({
      messageRate: { ...SLOW, policy: 'pause' },
    });
    for (let index = 0; index < 100; index++) client.write(flood(1000));
    await until(() => messages.waiting.length >= 3);
    const other = await connect(url());
    other.send('from another');
    await until(() => messages.waiting.includes('from another'));
  });
});

test('a route has a rate of its own', async () => {
  const { url, port, plugin } = await serve({ messageRate: SLOW }, ({ wsApp }) => {
    wsApp.ws('/slow', (socket) => socket.onMessage((data) => socket.send(data)));
    wsApp.ws('/fast', { messageRate: { perSecond: 1_000_000 } }, (socket) =>
      socket.onMessage((data) => socket.send(data)),
    );
  });
  const fast = await connect(url('/fast'));
  for (let index = 0; index < 100; index++) fast.send(`${index}`);
  for (let index = 0; index < 100; index++) expect(await fast.next()).toBe(`${index}`);
  const slow = await rawUpgrade(port, '/slow');
  slow.write(flood(100));
  expect((await end(slow)).code).toBe(1008);
  expect(plugin.getStats().rateLimited.closed).toBe(1);
});

describe('a peer that is made to wait', () => {
  test('is not overdue, although its pong is not read', async () => {
    const { client, messages, socket } = await rawPair({
      messageRate: { ...SLOW, policy: 'pause' },
      heartbeatMs: 20,
      pongTimeoutMs: 20,
    });
    client.write(flood(6));
    const pings = async () => {
      for (let seen = 0; seen < 10; seen++) {
        const { opcode, payload } = await client.frame();
        expect(opcode).toBe(PING);
        client.write(frame(PONG, payload));
      }
    };
    await pings();
    expect(socket.isAlive).toBe(true);
    await until(() => messages.waiting.length === 6);
  });

  test('has its answer to a close frame read', async () => {
    const { client, ends, socket } = await rawPair({
      messageRate: { ...SLOW, policy: 'pause' },
      closeTimeoutMs: 60_000,
    });
    client.write(flood(1000));
    await until(() => client.socket.writableLength === 0);
    socket.close(4000, 'enough');
    expect(await end(client)).toEqual({ code: 4000, reason: 'enough' });
    client.write(frame(CLOSE, Buffer.from([0x0f, 0xa0])));
    expect(await ends.next()).toEqual({ code: 4000, reason: 'enough' });
  });

  test('does not hold up cleanup()', async () => {
    const { client, plugin } = await rawPair({ messageRate: { ...SLOW, policy: 'pause' } });
    client.write(flood(1000));
    await until(() => plugin.getStats().rateLimited.paused > 0);
    const closed = end(client);
    const cleaned = plugin.cleanup();
    expect((await closed).code).toBe(1001);
    client.write(frame(CLOSE, Buffer.from([0x03, 0xe9])));
    await cleaned;
  });
});

describe('frames that are no message', () => {
  test.each([
    ['pings', frame(PING)],
    ['pongs', frame(PONG)],
    ['fragments', frame(CONTINUATION, '', { fin: false })],
  ])('are bounded as well: %s', async (name, one) => {
    const { client, ends, plugin } = await rawPair({ messageRate: SLOW });
    if (name === 'fragments') client.write(frame(TEXT, '', { fin: false }));
    client.write(Buffer.concat(Array.from({ length: 5000 }, () => one)));
    expect((await end(client)).code).toBe(1008);
    expect((await ends.next()).code).toBe(1008);
    expect(plugin.getStats().rateLimited.closed).toBe(1);
  });

  test('cannot be dropped, so they wait', async () => {
    const { client, plugin, messages } = await rawPair({
      messageRate: { perSecond: 1000, burst: 1, policy: 'drop' },
    });
    client.write(Buffer.concat(Array.from({ length: 3000 }, () => frame(PING))));
    client.write(frame(TEXT, 'behind them'));
    expect(await messages.next()).toBe('behind them');
    const { closed, dropped, paused } = plugin.getStats().rateLimited;
    expect([closed, dropped]).toEqual([0, 0]);
    expect(paused).toBeGreaterThan(0);
  });
});

test('whoever stays below messageRate notices nothing', async () => {
  const { client, messages, plugin } = await pair({ messageRate: { perSecond: 1_000_000 } });
  const text = 'x'.repeat(300_000);
  for (let index = 0; index < 20; index++) client.send(text);
  for (let index = 0; index < 20; index++) expect(await messages.next()).toBe(text);
  expect(plugin.getStats().rateLimited).toEqual({ closed: 0, dropped: 0, paused: 0 });
});

test('without messageRate as many come as JavaScript takes', async () => {
  const { messages, plugin, url } = await serveRecorded();
  const client = await connect(url());
  for (let index = 0; index < 5000; index++) client.send('x');
  await until(() => messages.waiting.length === 5000);
  expect(plugin.getStats().rateLimited).toEqual({ closed: 0, dropped: 0, paused: 0 });
});
