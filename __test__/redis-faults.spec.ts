/** Redis that is absent, ends, freezes or refuses; nodes that end, lag or are cut off. */
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { WSClusterGap } from '../index.js';
import { gateTo } from './support/gate.js';
import {
  acquainted,
  type ClusterNode,
  channelOf,
  clusterNode,
  heartbeats,
  messagesUntil,
  nodeProcess,
  probe,
  subscribed,
  twoNodes,
  upNode,
} from './support/nodes.js';
import { hasRedis, type Redis, redisServer, startRedis } from './support/redis.js';
import { until } from './support/until.js';

/** Resolves with the next gap for which something holds. */
async function gapWhere(node: ClusterNode, holds: (gap: WSClusterGap) => boolean) {
  for (;;) {
    const gap = await node.gaps.next();
    if (holds(gap)) return gap;
  }
}

/** How many messages a node has said that it missed from another, and whether maybe more. */
function told(gaps: WSClusterGap[], node: string) {
  const own = gaps.filter((gap) => gap.node === node);
  return {
    missed: own.reduce((sum, { missed }) => sum + (missed ?? 0), 0),
    maybe: own.some(({ missed }) => missed === null),
  };
}

/** A node says numbers to a room, one each few milliseconds, until it is told to end. */
function stream(node: ClusterNode, room = 'room') {
  let said = 0;
  const timer = setInterval(() => {
    for (let count = 0; count < 5; count++) node.wsApp.wsBroadcast(`${said++}`, room);
  }, 2);
  onTestFinished(() => clearInterval(timer));
  return {
    get said() {
      return said;
    },
    end() {
      clearInterval(timer);
      return said;
    },
  };
}

/** Resolves once a broker refuses whatever it is asked. */
async function untilBusy(redis: Redis) {
  for (;;) {
    try {
      await redis.command('PING');
    } catch {
      return;
    }
  }
}

/** What came in order, none twice; returns how many of `said` did not come. */
function expectOrder(texts: string[], said: number): number {
  const numbers = texts.map(Number).filter((number) => !Number.isNaN(number));
  for (const [n, number] of numbers.entries()) {
    if (n > 0) expect(number).toBeGreaterThan(numbers[n - 1] as number);
  }
  return said - numbers.length;
}

describe.skipIf(!hasRedis('redis-faults.spec.ts'))('a broker', () => {
  test('that is absent at the start is found when it comes', async () => {
    const redis = await redisServer();
    const [a, b] = [await clusterNode({ url: redis.url }), await clusterNode({ url: redis.url })];
    const { client } = await b.member('room');
    expect(a.stats().state).not.toBe('up');
    a.wsApp.wsBroadcast('early', 'room');
    await until(() => a.stats().waitingBytes > 0);
    await redis.start();
    await a.ups.next();
    await b.ups.next();
    await subscribed(redis, 'room', 1);
    a.wsApp.wsBroadcast('after', 'room');
    await messagesUntil(client, 'after');
    await until(() => a.stats().waitingBytes === 0);
    expect(a.stats()).toMatchObject({ state: 'up', reconnects: 0, dropped: 0, oldestWaitingMs: 0 });
  });

  test('that is absent is told of, with a reason', async () => {
    const redis = await redisServer();
    const a = await clusterNode({ url: redis.url });
    expect(await a.downs.next()).toMatch(/refused/i);
    expect(a.stats().state).not.toBe('up');
  });

  test('that is killed and started again: what waited goes out, and loss is told of', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    const numbers = stream(a);
    await client.next();
    await redis.kill();
    await a.downs.next();
    await b.downs.next();
    expect(a.stats().state).toBe('down');
    await redis.start();
    await a.ups.next();
    await b.ups.next();
    await subscribed(redis, 'room', 1);
    const said = numbers.end();
    a.wsApp.wsBroadcast('end', 'room');
    const got = ['0', ...(await messagesUntil(client, 'end'))];
    const missing = expectOrder(got, said);
    expect(missing).toBeGreaterThanOrEqual(0);
    const own = () => told([...a.everyGap, ...b.everyGap], a.id);
    if (missing > 0) await until(() => own().missed >= missing || own().maybe);
    // What was told as a number is missing.
    expect(told(b.everyGap, a.id).missed).toBeLessThanOrEqual(missing);
    expect(a.stats()).toMatchObject({ state: 'up', reconnects: 1 });
  });

  test('that is killed again and again is found each time, with all rooms', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url });
    const members = await Promise.all(Array.from({ length: 20 }, (_, n) => b.member(`room-${n}`)));
    for (let round = 0; round < 3; round++) {
      await redis.kill();
      await a.downs.next();
      await b.downs.next();
      await redis.start();
      await a.ups.next();
      await b.ups.next();
      for (const [n, { client }] of members.entries()) {
        await subscribed(redis, `room-${n}`, 1);
        a.wsApp.wsBroadcast(`round ${round}`, `room-${n}`);
        expect(await client.next()).toBe(`round ${round}`);
      }
    }
    expect(a.downs.waiting.length + a.ups.waiting.length).toBe(0);
    expect(b.stats().reconnects).toBe(3);
  });

  test('that freezes for less than the ping deadline loses nothing', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url });
    const { client } = await b.member('room');
    const near = await a.member('room');
    await subscribed(redis, 'room', 2);
    redis.freeze();
    for (let n = 0; n < 100; n++) {
      a.wsApp.wsBroadcast(`${n}`, 'room');
      // Local members do not wait for it.
      expect(await near.client.next()).toBe(`${n}`);
    }
    await until(() => a.stats().oldestWaitingMs > 1500);
    redis.thaw();
    for (let n = 0; n < 100; n++) expect(await client.next()).toBe(`${n}`);
    expect([...a.everyGap, ...b.everyGap]).toEqual([]);
    expect([...a.downs.waiting, ...b.downs.waiting]).toEqual([]);
    await until(() => a.stats().oldestWaitingMs === 0);
  });

  test('that freezes for longer is left, and found again', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url, pingTimeoutMs: 300 });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    redis.freeze();
    await a.downs.next();
    await b.downs.next();
    a.wsApp.wsBroadcast('while it is frozen', 'room');
    redis.thaw();
    await a.ups.next();
    await b.ups.next();
    await subscribed(redis, 'room', 1);
    await probe(a, client, 'room');
  });

  test('that kills connections again and again: each hole is told of', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    const numbers = stream(a);
    const admin = await redis.admin();
    const got: string[] = [];
    for (let round = 0; round < 8; round++) {
      const type = round % 2 ? 'pubsub' : 'normal';
      await admin.command('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
      // Now at once, then when something of what is said since has come.
      if (round % 4 > 1) got.push(...(await probe(a, client)));
    }
    await until(() => a.stats().state === 'up' && b.stats().state === 'up');
    await subscribed(redis, 'room', 1);
    const said = numbers.end();
    a.wsApp.wsBroadcast('end', 'room');
    got.push(...(await messagesUntil(client, 'end')));
    const missing = expectOrder(got, said);
    // Some of the probes, which are for everyone, may be missing as well.
    const ofRoom = (gaps: WSClusterGap[]) =>
      gaps.filter((gap) => gap.room === 'room' || !gap.missed);
    const own = () => told(ofRoom([...a.everyGap, ...b.everyGap]), a.id);
    if (missing > 0) await until(() => own().missed >= missing || own().maybe);
    expect(told(ofRoom(b.everyGap), a.id).missed).toBeLessThanOrEqual(missing);
  });

  test('that kills connections while thousands of rooms are subscribed to again forgets none', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url });
    const { socket, client } = await b.member();
    for (let n = 0; n < 5000; n++) socket.join(`room-${n}`);
    while ((await redis.channels(channelOf('room-*'))).length < 5000);
    const admin = await redis.admin();
    for (let round = 0; round < 3; round++) {
      await admin.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
      // In the middle of it.
      for (;;) {
        const channels = await admin.texts('PUBSUB', 'CHANNELS', channelOf('room-*'));
        if (channels.length > 0) break;
      }
    }
    while ((await redis.channels(channelOf('room-*'))).length < 5000);
    await until(() => a.stats().state === 'up');
    for (let n = 0; n < 5000; n++) a.wsApp.wsBroadcast(`${n}`, `room-${n}`);
    const got = new Set<string>();
    while (got.size < 5000) got.add((await client.next()).toString());
  });

  test('with 10,000 rooms that starts again has all of them soon', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url });
    const { client, socket } = await b.member();
    for (let n = 0; n < 10_000; n++) socket.join(`room-${n}`);
    while ((await redis.channels(channelOf('room-*'))).length < 10_000);
    await redis.kill();
    await b.downs.next();
    await redis.start();
    const started = performance.now();
    await b.ups.next();
    while ((await redis.channels(channelOf('room-*'))).length < 10_000);
    console.log(
      `10,000 rooms subscribed to again after ${Math.round(performance.now() - started)} ms`,
    );
    await until(() => a.stats().state === 'up');
    for (let n = 0; n < 10_000; n++) a.wsApp.wsBroadcast(`${n}`, `room-${n}`);
    const got = new Set<string>();
    while (got.size < 10_000) got.add((await client.next()).toString());
  });

  test('that cuts off by its output-buffer limit is found again, and the loss is told of', async () => {
    const redis = await startRedis({
      config: { 'client-output-buffer-limit': 'pubsub 262144 0 0' },
    });
    const [a, b] = await twoNodes({ url: redis.url });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    a.wsApp.wsBroadcast('first', 'room');
    expect(await client.next()).toBe('first');
    a.wsApp.wsBroadcast('x'.repeat(1_000_000), 'room');
    await b.downs.next();
    await b.ups.next();
    await subscribed(redis, 'room', 1);
    a.wsApp.wsBroadcast('after', 'room');
    expect(await client.next()).toBe('after');
    await until(() => {
      const { missed, maybe } = told(b.everyGap, a.id);
      return missed === 1 || maybe;
    });
  });

  test('that cuts off a slow node is found again, and the loss is told of', {
    timeout: 60_000,
  }, async () => {
    const redis = await startRedis({
      config: { 'client-output-buffer-limit': 'pubsub 1mb 0 0' },
    });
    const a = await upNode({ url: redis.url });
    const b = await nodeProcess({ url: redis.url });
    const client = await b.member('room');
    await subscribed(redis, 'room', 1);
    a.wsApp.wsBroadcast('first', 'room');
    expect(await client.next()).toBe('first');
    process.kill(b.pid, 'SIGSTOP');
    let said = 0;
    while ((await redis.subscribers(channelOf('room'))) > 0) {
      for (let n = 0; n < 10; n++) {
        a.wsApp.wsBroadcast(`${said++} ${'x'.repeat(20_000)}`, 'room');
      }
      await wait(5);
    }
    process.kill(b.pid, 'SIGCONT');
    await b.event('down');
    await subscribed(redis, 'room', 1);
    a.wsApp.wsBroadcast('end', 'room');
    const got = await messagesUntil(client, 'end');
    const missing = said - (got.length - 1);
    expect(missing).toBeGreaterThan(0);
    let known = 0;
    for (;;) {
      const gap = (await b.event('gap')) as WSClusterGap;
      expect(gap.node).toBe(a.id);
      known += gap.missed ?? 0;
      if (known === missing) break;
      expect(known).toBeLessThan(missing);
    }
  });

  test('that is busy with a script refuses; it is told of, and passes', async () => {
    const redis = await startRedis({ config: { 'busy-reply-threshold': 50 } });
    const [a, b] = await twoNodes({ url: redis.url });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    const admin = await redis.admin();
    const script = admin.command('EVAL', 'while true do end', '0').catch(() => {});
    await untilBusy(redis);
    for (let n = 0; n < 10; n++) a.wsApp.wsBroadcast(`${n}`, 'room');
    await until(() => a.stats().dropped + a.downs.waiting.length > 0);
    await redis.command('SCRIPT', 'KILL');
    await script;
    const seen = await probe(a, client, 'room');
    const missing = expectOrder(seen, 10);
    const own = () => told([...a.everyGap, ...b.everyGap], a.id);
    await until(() => missing === 0 || own().missed >= missing || own().maybe);
  });

  test('that has no room for more clients is asked again', async () => {
    const redis = await startRedis({ config: { maxclients: 3 } });
    const full = [await redis.admin(), await redis.admin(), await redis.admin()];
    const a = await clusterNode({ url: redis.url });
    await a.downs.next();
    for (const client of full) client.close();
    await a.ups.next();
  });

  test('whose publishing connection only is killed: what waits goes out on the next one', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    for (let round = 0; round < 5; round++) {
      await redis.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      await probe(a, client, 'room');
    }
  });

  test.each(['localhost', '[::1]', '127.0.0.1'])('may be found by %s', async (host) => {
    const redis = await startRedis({ config: { bind: '127.0.0.1 -::1' } });
    const a = await clusterNode({ url: `redis://${host}:${redis.port}` });
    const result = await Promise.race([a.ups.next(), a.downs.next()]);
    if (host === '[::1]' && typeof result === 'string') return; // No IPv6 on this machine.
    expect(result).toBe(true);
  });

  test('may be found by a Unix socket', async () => {
    const redis = await startRedis({ unix: true });
    const [a, b] = await twoNodes({ url: redis.url });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    a.wsApp.wsBroadcast('text', 'room');
    expect(await client.next()).toBe('text');
    await redis.kill();
    await a.downs.next();
    await redis.start();
    await a.ups.next();
  });
});

describe.skipIf(!hasRedis('redis-faults.spec.ts'))('a way to the broker', () => {
  test('that is cut off for a node alone: it says what it has missed, to the message', async () => {
    const redis = await startRedis();
    const gate = await gateTo(redis.port);
    const a = await upNode({ url: redis.url });
    const b = await upNode({ url: gate.url });
    await acquainted(a, b);
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    a.wsApp.wsBroadcast('before', 'room');
    expect(await client.next()).toBe('before');
    gate.shut();
    await b.downs.next();
    await subscribed(redis, 'room', 0);
    for (let n = 0; n < 7; n++) a.wsApp.wsBroadcast('missed', 'room');
    await until(() => a.stats().published >= 8);
    gate.letPass();
    await b.ups.next();
    // Nothing more is said in the room: heartbeats tell.
    await until(() => told(b.everyGap, a.id).missed === 7);
    const gap = b.everyGap.find(({ missed }) => missed === 7);
    expect(gap).toEqual({ node: a.id, room: 'room', missed: 7 });
    expect(b.stats()).toMatchObject({ missed: 7, gaps: b.everyGap.length });
    a.wsApp.wsBroadcast('after', 'room');
    expect(await client.next()).toBe('after');
    await heartbeats(redis, a, client, 2);
    expect(told(b.everyGap, a.id).missed).toBe(7);
  });

  test('that is cut off for a node alone: it says what it has missed of what was for everyone', async () => {
    const redis = await startRedis();
    const gate = await gateTo(redis.port);
    const a = await upNode({ url: redis.url });
    const b = await upNode({ url: gate.url });
    await acquainted(a, b);
    a.wsApp.wsBroadcast('before');
    await until(() => b.stats().received === 1);
    gate.shut();
    await b.downs.next();
    await subscribed(redis, null, 1);
    for (let n = 0; n < 5; n++) a.wsApp.wsBroadcast('missed');
    await until(() => a.stats().published >= 6);
    gate.letPass();
    await until(() => told(b.everyGap, a.id).missed === 5);
    expect(b.everyGap.find(({ missed }) => missed === 5)).toEqual({
      node: a.id,
      room: null,
      missed: 5,
    });
  });

  test('that is cut off while nothing is said: nothing is said to be missed', async () => {
    const redis = await startRedis();
    const gate = await gateTo(redis.port);
    const a = await upNode({ url: redis.url });
    const b = await upNode({ url: gate.url });
    await acquainted(a, b);
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    for (let round = 0; round < 3; round++) {
      gate.cut();
      await b.downs.next();
      await b.ups.next();
      await subscribed(redis, 'room', 1);
    }
    await heartbeats(redis, a, client, 3);
    // "Maybe" is allowed to be said of a new session with the broker; a number is not.
    expect(b.everyGap.filter(({ missed }) => missed !== null)).toEqual([]);
  });

  test('that lets no byte pass is given up after the ping deadline', async () => {
    const redis = await startRedis();
    const gate = await gateTo(redis.port);
    const a = await upNode({ url: redis.url });
    const b = await upNode({ url: gate.url, pingTimeoutMs: 300 });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    gate.stall();
    expect(await b.downs.next()).toMatch(/./);
    gate.cut();
    gate.letPass();
    await b.ups.next();
    await probe(a, client, 'room');
  });

  test('that lets no byte pass at the start is given up, and tried again', async () => {
    const redis = await startRedis();
    const gate = await gateTo(redis.port);
    gate.stall();
    const a = await clusterNode({ url: gate.url });
    expect(a.stats().state).toBe('connecting');
    expect(await a.downs.next()).toMatch(/./);
    expect(a.stats().state).toBe('down');
    await until(() => gate.accepted > 2);
    gate.cut();
    gate.letPass();
    await a.ups.next();
  });

  test('that is slow: what waits is bounded, the oldest is dropped, and both sides say so', async () => {
    const redis = await startRedis();
    const gate = await gateTo(redis.port);
    const a = await upNode({ url: gate.url, publishBuffer: 100_000 });
    const b = await upNode({ url: redis.url });
    await acquainted(a, b);
    const { client } = await b.member('room');
    const near = await a.member('room');
    await subscribed(redis, 'room', 2);
    // Loss is found in channels that have been heard of.
    a.wsApp.wsBroadcast('first', 'room');
    expect([await client.next(), await near.client.next()]).toEqual(['first', 'first']);
    gate.shut();
    await a.downs.next();
    for (let n = 0; n < 1000; n++) {
      a.wsApp.wsBroadcast(`${n} ${'x'.repeat(1000)}`, 'room');
      expect(await near.client.next()).toMatch(`${n} `);
    }
    await until(() => a.stats().dropped > 0);
    expect(a.stats().waitingBytes).toBeLessThanOrEqual(100_000);
    expect(a.stats().waitingBytes).toBeGreaterThan(50_000);
    expect(a.stats().oldestWaitingMs).toBeGreaterThan(0);
    gate.letPass();
    await a.ups.next();
    a.wsApp.wsBroadcast('end', 'room');
    const got = (await messagesUntil(client, 'end')).slice(0, -1).map((text) => text.split(' ')[0]);
    const { dropped } = a.stats();
    // The newest have come, and dropped is what has not.
    expect(got).toEqual(Array.from({ length: 1000 - dropped }, (_, n) => `${n + dropped}`));
    await until(() => told(a.everyGap, a.id).missed === dropped);
    await until(() => told(b.everyGap, a.id).missed === dropped);
    expect(a.everyGap.every(({ node, room }) => node === a.id && room === 'room')).toBe(true);
  });

  test('that is absent: one message may wait however large it is, and gives way to the next', async () => {
    const a = await clusterNode({ url: 'redis://127.0.0.1:1', publishBuffer: 1000 });
    a.wsApp.wsBroadcast('x'.repeat(100_000), 'room');
    expect(a.stats().waitingBytes).toBeGreaterThan(100_000);
    a.wsApp.wsBroadcast('next', 'room');
    expect(await a.gaps.next()).toEqual({ node: a.id, room: 'room', missed: 1 });
    expect(a.stats().waitingBytes).toBeLessThan(1000);
    expect(a.stats().dropped).toBe(1);
  });

  test('that is absent for ever costs bounded memory', async () => {
    const a = await clusterNode({ url: 'redis://127.0.0.1:1', publishBuffer: 1_000_000 });
    const before = process.memoryUsage().rss;
    for (let n = 0; n < 1500; n++) {
      // A room each: neither what waits nor the numbers of the channels may grow without end.
      for (let m = 0; m < 100; m++) a.wsApp.wsBroadcast('x'.repeat(100), `room ${n} ${m}`);
      await wait(0);
    }
    await until(() => a.stats().dropped > 140_000);
    expect(a.stats().waitingBytes).toBeLessThanOrEqual(1_000_000);
    console.log(`150,000 rooms: ${Math.round((process.memoryUsage().rss - before) / 2 ** 20)} MiB`);
  });
});

describe.skipIf(!hasRedis('redis-faults.spec.ts'))('a node', () => {
  test('that is killed while it broadcasts is told of, and what came was in order; one that says goodbye is no gap', {
    timeout: 60_000,
  }, async () => {
    const redis = await startRedis();
    const a = await nodeProcess({ url: redis.url });
    const b = await upNode({ url: redis.url });
    const polite = await upNode({ url: redis.url });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    await until(() => b.stats().nodes === 2);
    polite.wsApp.wsBroadcast('goodbye', 'room');
    await polite.plugin.cleanup();
    expect(await client.next()).toBe('goodbye');
    await until(() => b.stats().nodes === 1);
    await a.run(`
      globalThis.n = 0;
      setInterval(() => {
        for (let count = 0; count < 50; count++) sockets.wsBroadcast('' + n++, 'room');
      }, 0)`);
    const got = [await client.next()];
    while (got.length < 500) got.push(await client.next());
    process.kill(a.pid, 'SIGKILL');
    expect(await gapWhere(b, ({ node, missed }) => node === a.id && missed === null)).toEqual({
      node: a.id,
      room: null,
      missed: null,
    });
    got.push(...client.waiting);
    expect(got).toEqual(got.map((_, n) => `${n}`));
    expect(b.stats().nodes).toBe(0);
    // The silence of the other began earlier.
    expect(b.everyGap.filter(({ node }) => node === polite.id)).toEqual([]);
  });

  test('that is stopped for a while and goes on loses nothing that the broker has kept', async () => {
    const redis = await startRedis();
    const a = await upNode({ url: redis.url });
    const b = await nodeProcess({ url: redis.url });
    const client = await b.member('room');
    await subscribed(redis, 'room', 1);
    process.kill(b.pid, 'SIGSTOP');
    for (let n = 0; n < 1000; n++) a.wsApp.wsBroadcast(`${n}`, 'room');
    await until(() => a.stats().published === 1000);
    process.kill(b.pid, 'SIGCONT');
    for (let n = 0; n < 1000; n++) expect(await client.next()).toBe(`${n}`);
    expect(await b.run('return plugin.getStats().cluster.gaps')).toBe(0);
  });

  test('that takes the place of another in the same process is another one', async () => {
    const redis = await startRedis();
    const b = await upNode({ url: redis.url });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    for (let round = 0; round < 5; round++) {
      const a = await upNode({ url: redis.url });
      for (let n = 0; n < 10; n++) a.wsApp.wsBroadcast(`${round} ${n}`, 'room');
      for (let n = 0; n < 10; n++) expect(await client.next()).toBe(`${round} ${n}`);
      await a.plugin.cleanup();
    }
    expect(b.everyGap).toEqual([]);
  });

  test('that joins a room late says nothing of what was said in it before', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url });
    const near = await a.member('room');
    for (let n = 0; n < 100; n++) a.wsApp.wsBroadcast('before', 'room');
    for (let n = 0; n < 100; n++) await near.client.next();
    const { client, socket } = await b.member();
    await heartbeats(redis, a, client, 1);
    socket.join('room');
    await subscribed(redis, 'room', 2);
    a.wsApp.wsBroadcast('after', 'room');
    expect(await client.next()).toBe('after');
    await heartbeats(redis, a, client, 3);
    expect(b.everyGap).toEqual([]);
  });

  test('that leaves a room for long and joins it again says nothing of what was said meanwhile', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url });
    const { client, socket } = await b.member('room');
    await subscribed(redis, 'room', 1);
    a.wsApp.wsBroadcast('one', 'room');
    expect(await client.next()).toBe('one');
    socket.leave('room');
    await subscribed(redis, 'room', 0);
    for (let n = 0; n < 10; n++) a.wsApp.wsBroadcast('to nobody', 'room');
    await heartbeats(redis, a, client, 1);
    socket.join('room');
    await subscribed(redis, 'room', 1);
    a.wsApp.wsBroadcast('two', 'room');
    expect(await client.next()).toBe('two');
    await heartbeats(redis, a, client, 3);
    expect(b.everyGap).toEqual([]);
  });

  test('may be one of ten, each of which hears all of the others', async () => {
    const redis = await startRedis();
    const nodes = await Promise.all(Array.from({ length: 10 }, () => upNode({ url: redis.url })));
    const members = await Promise.all(nodes.map((node) => node.member('room')));
    await subscribed(redis, 'room', 10);
    for (let n = 0; n < 50; n++)
      for (const node of nodes) node.wsApp.wsBroadcast(`${node.id} ${n}`, 'room');
    for (const { client } of members) {
      const last = new Map<string, number>();
      for (let count = 0; count < 500; count++) {
        const [id = '', n] = (await client.next()).toString().split(' ');
        expect(Number(n)).toBe((last.get(id) ?? -1) + 1);
        last.set(id, Number(n));
      }
      expect(last.size).toBe(10);
    }
    await acquainted(...nodes);
    for (const node of nodes) expect(node.everyGap).toEqual([]);
  });
});
