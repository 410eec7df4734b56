/** What others write into the channels of a broker, and what is taken for a broker and is none. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Client } from './support/client.js';
import {
  type ClusterNode,
  channelOf,
  channelOfAll,
  clusterNode,
  isHeartbeat,
  messagesUntil,
  nameInEnvelopes,
  probe,
  subscribed,
  twoNodes,
  upNode,
} from './support/nodes.js';
import { hasRedis, type Redis, startRedis } from './support/redis.js';
import { until } from './support/until.js';

describe.skipIf(!hasRedis('redis-strangers.spec.ts'))('what somebody else publishes', () => {
  /** What two nodes say to each other on the wire. */
  async function overheard() {
    const redis = await startRedis();
    const admin = await redis.admin();
    const heard = await admin.listen('*');
    const [a, b] = await twoNodes({ url: redis.url });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    a.wsApp.wsBroadcast('real one', 'room');
    a.wsApp.wsBroadcast('for everyone');
    expect(new Set([await client.next(), await client.next()])).toEqual(
      new Set(['real one', 'for everyone']),
    );
    const envelopes: { channel: Buffer; payload: Buffer }[] = [];
    // One of each kind: a message in the room, one for everyone, a heartbeat of either node.
    const kinds = new Set<string>();
    while (kinds.size < 4) {
      const envelope = await heard.next();
      const { channel, payload } = envelope;
      const of = isHeartbeat(payload) ? payload.includes(nameInEnvelopes(a)) : 'message';
      const kind = `${channel} ${of}`;
      if (!kinds.has(kind)) envelopes.push(envelope);
      kinds.add(kind);
    }
    return { redis, a, b, client, envelopes, publisher: await redis.admin() };
  }

  /** Two nodes still work, within a few heartbeats where somebody has spoken for one of them. */
  async function expectAlive(a: ClusterNode, b: ClusterNode, client: Client) {
    client.waiting.splice(0);
    await probe(a, client, 'room');
    await probe(a, client);
    expect([a.stats().state, b.stats().state]).toEqual(['up', 'up']);
    expect(await b.plugin.healthCheck()).toBe(true);
  }

  const garbage: Record<string, () => Buffer[]> = {
    'random bytes': () => Array.from({ length: 2000 }, (_, n) => randomBytes(n % 300)),
    'long runs of one byte': () =>
      Array.from({ length: 256 }, (_, n) => Buffer.alloc(1 + ((n * 37) % 5000), n)),
    megabytes: () => [randomBytes(8_000_000), Buffer.alloc(8_000_000)],
    text: () => [Buffer.from('{"type":"broadcast"}'), Buffer.from('hello'), Buffer.alloc(0)],
  };

  test.each(Object.entries(garbage))('of %s is ignored, and counted', async (_name, make) => {
    const { a, b, client, publisher } = await overheard();
    const all = make();
    for (const payload of all) {
      await publisher.command('PUBLISH', channelOf('room'), payload);
      await publisher.command('PUBLISH', channelOfAll(), payload);
    }
    await until(() => b.stats().ignored === 2 * all.length);
    expect(client.waiting).toEqual([]);
    await expectAlive(a, b, client);
    expect(b.everyGap).toEqual([]);
  });

  test('of envelopes that are cut short or have something behind them', async () => {
    const { a, b, client, envelopes, publisher } = await overheard();
    let count = 0;
    for (const { channel, payload } of envelopes) {
      for (let end = 0; end < payload.length; end++) {
        void publisher.command('PUBLISH', channel, payload.subarray(0, end));
        count += 1;
      }
    }
    await publisher.command('PING');
    await expectAlive(a, b, client);
    console.log(`${count} cut envelopes, ${b.stats().ignored} ignored`);
  });

  test('of envelopes in which bytes have been changed', async () => {
    const { a, b, client, envelopes, publisher } = await overheard();
    for (const { channel, payload } of envelopes) {
      for (let at = 0; at < payload.length; at++) {
        for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
          const changed = Buffer.from(payload);
          changed[at] = value;
          void publisher.command('PUBLISH', channel, changed);
        }
        const large = Buffer.from(payload);
        large.fill(0xff, at, Math.min(at + 8, large.length));
        void publisher.command('PUBLISH', channel, large);
      }
    }
    await publisher.command('PING');
    await expectAlive(a, b, client);
    // Whatever was in there: the node's own messages still count from where they were.
    const before = b.everyGap.length;
    for (let n = 0; n < 100; n++) a.wsApp.wsBroadcast(`${n}`, 'room');
    await messagesUntil(client, '99');
    expect(b.everyGap.length - before).toBeLessThanOrEqual(1);
  });

  test('of envelopes a second time is not delivered a second time', async () => {
    const { a, b, client, envelopes, publisher } = await overheard();
    for (let round = 0; round < 3; round++) {
      for (const { channel, payload } of envelopes) {
        await publisher.command('PUBLISH', channel, payload);
      }
    }
    a.wsApp.wsBroadcast('end', 'room');
    const seen = await messagesUntil(client, 'end');
    a.wsApp.wsBroadcast('end of all');
    seen.push(...(await messagesUntil(client, 'end of all')));
    expect(seen).toEqual(['end', 'end of all']);
    expect(b.everyGap).toEqual([]);
  });

  test('of envelopes in the channel of another room is not delivered there', async () => {
    const { a, b, client, envelopes, publisher, redis } = await overheard();
    const other = await b.member('other');
    await subscribed(redis, 'other', 1);
    for (const { channel, payload } of envelopes) {
      if (channel.toString() !== channelOf('room')) continue;
      await publisher.command('PUBLISH', channelOf('other'), payload);
      await publisher.command('PUBLISH', channelOfAll(), payload);
    }
    await expectAlive(a, b, client);
    void other;
  });

  test('of heartbeats of ever new nodes is believed of a thousand of them', async () => {
    const { a, b, client, envelopes, publisher } = await overheard();
    const { channel, payload } = envelopes.find(({ payload }) =>
      isHeartbeat(payload),
    ) as (typeof envelopes)[number];
    const name = nameInEnvelopes(payload.includes(nameInEnvelopes(a)) ? a : b);
    for (let n = 0; n < 10_000; n++) {
      const changed = Buffer.from(payload);
      randomBytes(name.length).copy(changed, payload.indexOf(name));
      const sent = publisher.command('PUBLISH', channel, changed);
      if (n % 1000 === 0) await sent;
    }
    await publisher.command('PING');
    await expectAlive(a, b, client);
    expect(b.stats().nodes).toBe(1024);
  });
});

/** Something that nodes take for a broker, with those who are connected, until the test is over. */
async function listener(connected: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    connected(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets };
}

/** Something that is no Redis: answers what comes with what it likes. */
async function impostor(answer: (socket: Socket, received: string, turn: number) => void) {
  let connections = 0;
  const { url } = await listener((socket) => {
    connections += 1;
    let turn = 0;
    socket.on('error', () => {});
    socket.on('data', (data) => answer(socket, data.toString('latin1'), turn++));
  });
  return {
    url,
    get connections() {
      return connections;
    },
  };
}

/**
 * Answers that promise more than ever comes. Alone they are given up at the ping deadline; on a good
 * connection all that follows is taken for a part of them, until there are 512 MiB of it.
 */
const ENDLESS = /^(a string of (2|8)|an array of 2|a push of 2|a map of 2|.* in a|an attribute)/;

describe('what is no broker', () => {
  const answers: Record<string, Buffer | string> = {
    'a page of HTML': 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n',
    'random bytes': randomBytes(10_000),
    zeros: Buffer.alloc(10_000),
    'an array in an array in an array …': '*1\r\n'.repeat(1_000_000),
    'a push in a push in a push …': '>1\r\n'.repeat(1_000_000),
    'a map in a map in a map …': '%1\r\n'.repeat(1_000_000),
    'an attribute before an attribute …': '|1\r\n+a\r\n+b\r\n'.repeat(300_000),
    'a string of 2^63 bytes': '$9223372036854775807\r\nabc',
    'a string of 2^64 bytes and more': '$99999999999999999999999\r\nabc',
    'a string of 8 GiB': `$8589934592\r\n${'x'.repeat(100_000)}`,
    'an array of 2^31 items': '*2147483647\r\n',
    'a push of 2^63 items': '>9223372036854775807\r\n',
    'a map of 2^63 items': '%9223372036854775807\r\n',
    'a string of -5 bytes': '$-5\r\n\r\n',
    'an array of -9 items': '*-9\r\n',
    'an empty push': '>0\r\n'.repeat(1000),
    'pushes of other things': '>3\r\n:1\r\n:2\r\n:3\r\n>3\r\n+message\r\n*0\r\n_\r\n',
    'a line without an end': 'x'.repeat(4_000_000),
    'an error': '-ERR go away\r\n',
    'an error with control characters': '-ERR \u001b[31m red \u0000\r\n',
    'an error of a megabyte': `-ERR ${'x'.repeat(1_000_000)}\r\n`,
    numbers: ':9223372036854775808\r\n,inf\r\n(34928903284092384092384\r\n#t\r\n_\r\n',
    'a moved slot': '-MOVED 1 127.0.0.1:1\r\n',
    'a streamed string': '$?\r\n;4\r\nabcd\r\n;0\r\n',
    'only OK': '+OK\r\n'.repeat(100),
  };

  test('may answer with anything: it is told of in one line, and asked again', async () => {
    const all = Object.entries(answers).map(async ([name, answer]) => {
      const fake = await impostor((socket) => void socket.write(answer));
      const a = await clusterNode({ url: fake.url, pingTimeoutMs: 200 });
      const reason = await a.downs.next();
      expect(reason.length, name).toBeLessThanOrEqual(300);
      expect(reason, name).toMatch(/^[^\p{Cc}]+$/u);
      // Two connections at a time.
      await until(() => fake.connections >= 3);
      expect(a.stats().state, name).toBe('down');
      expect(a.ups.waiting, name).toEqual([]);
    });
    await Promise.all(all);
  });

  test('may hang up at once, or say nothing', async () => {
    const hangs = await impostor((socket) => void socket.destroy());
    const silent = await impostor(() => {});
    const a = await clusterNode({ url: hangs.url });
    const b = await clusterNode({ url: silent.url, pingTimeoutMs: 200 });
    await until(() => hangs.connections > 4 && silent.connections > 2);
    expect([a.stats().state, b.stats().state]).not.toContain('up');
  });

  test('may speak without an end', async () => {
    const fake = await impostor((socket) => {
      const more = () => {
        while (!socket.destroyed && socket.write('$100000000\r\n'.padEnd(65_536, 'x')));
      };
      socket.on('drain', more);
      more();
    });
    const a = await clusterNode({ url: fake.url, pingTimeoutMs: 500 });
    // However much it promises, no more than 512 MiB of it are waited for.
    await until(() => fake.connections > 2);
    expect(a.stats().state).not.toBe('up');
    await a.plugin.cleanup();
  });

  describe.skipIf(!hasRedis('redis-strangers.spec.ts'))('may stand between, and', () => {
    /** Passes everything on, and says something itself when told to. */
    async function meddler(redis: Redis) {
      const { url, sockets } = await listener((client) => {
        const broker = net.connect(redis.port, '127.0.0.1');
        client.on('error', () => broker.destroy());
        broker.on('error', () => client.destroy());
        client.pipe(broker).pipe(client);
      });
      return {
        url,
        say: (bytes: Buffer | string) => {
          for (const socket of sockets) socket.write(bytes);
        },
      };
    }

    test('add anything to a good connection, which is made anew unless it goes on', async () => {
      const redis = await startRedis();
      const a = await upNode({ url: redis.url });
      const added = Object.entries(answers).filter(([name]) => !ENDLESS.test(name));
      const all = added.map(async ([name, answer]) => {
        const between = await meddler(redis);
        const b = await upNode({ url: between.url, pingTimeoutMs: 1000 });
        const { client } = await b.member(name);
        await subscribed(redis, name, 1);
        between.say(answer);
        await probe(a, client, name);
        // What it says is heard as well.
        const own = `said with ${name}`;
        await a.member(own).then(({ client: other }) => probe(b, other, own));
      });
      await Promise.all(all);
    });
  });
});
