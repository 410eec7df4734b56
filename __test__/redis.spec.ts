/** Rooms across servers that are joined by Redis, while all is well. */
import { existsSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { WSContext } from '../index.js';
import { connect } from './support/client.js';
import { queue } from './support/events.js';
import {
  acquainted,
  channelOf,
  channelOfAll,
  clusterNode,
  isHeartbeat,
  messagesUntil,
  nameInEnvelopes,
  nodeProcess,
  PREFIX,
  subscribed,
  twoNodes,
  upNode,
} from './support/nodes.js';
import { script } from './support/process.js';
import { hasRedis, type Redis, startRedis } from './support/redis.js';
import { serve } from './support/server.js';
import { wsUrl } from './support/transport.js';
import { until } from './support/until.js';

describe.skipIf(!hasRedis('redis.spec.ts'))('two servers', () => {
  describe('what one says', () => {
    test('to everyone reaches everyone on both, once', async () => {
      const { url } = await startRedis();
      const [a, b] = await twoNodes({ url });
      const members = [
        await a.member(),
        await a.member(),
        await b.member(),
        await b.member('room'),
      ];
      a.wsApp.wsBroadcast('one');
      a.wsApp.wsBroadcast('two');
      for (const { client } of members)
        expect(await messagesUntil(client, 'two')).toEqual(['one', 'two']);
    });

    test('to a room reaches its members on both, once, and nobody else', async () => {
      const redis = await startRedis();
      const [a, b] = await twoNodes({ url: redis.url });
      const members = [
        await a.member('room'),
        await b.member('room'),
        await b.member('room', 'other'),
      ];
      const others = [await a.member('other'), await b.member('other'), await b.member()];
      await subscribed(redis, 'room', 2);
      a.wsApp.wsBroadcast('one', 'room');
      b.wsApp.wsBroadcast('two', 'room');
      for (const { client } of members) {
        expect([await client.next(), await client.next()].sort()).toEqual(['one', 'two']);
      }
      a.wsApp.wsBroadcast('end');
      for (const { client } of [...members, ...others]) expect(await client.next()).toBe('end');
    });

    const channels = ['rooms', 'one-channel'] as const;
    test.each(channels)('to several rooms reaches who is in any, once (%s)', async (subscribe) => {
      const redis = await startRedis();
      const [a, b] = await twoNodes({ url: redis.url, subscribe });
      const admin = await redis.admin();
      const heard = await admin.listen(channelOfAll());
      const [speaker, ...members] = [
        await a.member('room', 'other'),
        await a.member('room', 'other'),
        await b.member('room'),
        await b.member('other', 'room', 'third'),
        await b.member('other'),
      ] as const;
      const others = [await a.member('third'), await b.member('third'), await b.member()];
      const rooms = ['room', 'other', 'nowhere', 'room'];
      const bytes = Buffer.from([0, 255]);
      a.plugin.rooms.broadcast(rooms, 'text', { except: [speaker.socket] });
      a.plugin.rooms.broadcast(rooms, bytes, speaker.socket);
      a.plugin.rooms.broadcast([], 'to nobody');
      for (const { client } of members) {
        expect([await client.next(), await client.next()]).toEqual(['text', bytes]);
      }
      b.plugin.rooms.broadcast(rooms, 'back');
      for (const { client } of [speaker, ...members]) expect(await client.next()).toBe('back');
      a.wsApp.wsBroadcast('end');
      for (const { client } of [speaker, ...members, ...others]) {
        expect(await client.next()).toBe('end');
      }
      // Each leaves once, however many rooms it is for.
      const kinds: number[] = [];
      while (!kinds.includes(0)) {
        const { payload } = await heard.next();
        const isOfA = payload.includes(nameInEnvelopes(a));
        if (isOfA && !isHeartbeat(payload)) kinds.push(payload[5] as number);
      }
      expect(kinds).toEqual([4, 5, 0]);
      admin.close();
      expect([a.gaps.waiting, b.gaps.waiting]).toEqual([[], []]);
    });

    test('may be said by a connection, which is left out itself, to those in its room', async () => {
      const redis = await startRedis();
      const [a, b] = await twoNodes({ url: redis.url });
      const [speaker, near, far] = [
        await a.member('room'),
        await a.member('room'),
        await b.member('room'),
      ];
      await subscribed(redis, 'room', 2);
      speaker.socket.broadcast('room', 'text');
      speaker.socket.broadcast('room', Buffer.from([0, 255, 13, 10]));
      for (const { client } of [near, far]) {
        expect(await client.next()).toBe('text');
        expect(await client.next()).toEqual(Buffer.from([0, 255, 13, 10]));
      }
      a.wsApp.wsBroadcast('end', 'room');
      expect(await speaker.client.next()).toBe('end');
    });

    test('may be said by middleware, without and with somebody left out', async () => {
      const redis = await startRedis();
      const b = await upNode({ url: redis.url });
      const a = await upNode(
        { url: redis.url },
        {
          before(app) {
            app.use(async (context, next) => {
              await next();
              const { req, wsRooms, ws } = context as unknown as WSContext;
              if (req.url !== '/ws?tell') return;
              wsRooms.broadcast('room', 'from middleware');
              wsRooms.broadcast('room', Buffer.from('binary'), ws);
              wsRooms.broadcast('room', 'end');
            });
          },
        },
      );
      const far = await b.member('room');
      const near = await a.member('room');
      await subscribed(redis, 'room', 2);
      await connect(a.url('/ws?tell'));
      for (const { client } of [near, far]) {
        expect(await client.next()).toBe('from middleware');
        expect(await client.next()).toEqual(Buffer.from('binary'));
        expect(await client.next()).toBe('end');
      }
    });

    test('may be empty, and text that is no Unicode looks as it does to local members', async () => {
      const redis = await startRedis();
      const [a, b] = await twoNodes({ url: redis.url });
      const [near, far] = [await a.member('room'), await b.member('room')];
      await subscribed(redis, 'room', 2);
      near.socket.broadcast('room', '');
      near.socket.broadcast('room', Buffer.alloc(0));
      a.wsApp.wsBroadcast('half \ud83d, whole 😀, zero \0', 'room');
      expect(await far.client.next()).toBe('');
      expect(await far.client.next()).toEqual(Buffer.alloc(0));
      const text = await far.client.next();
      expect(text).toBe('half \ufffd, whole 😀, zero \0');
      expect(await near.client.next()).toBe(text);
    });

    test('is what the buffer held at the call', async () => {
      const redis = await startRedis();
      const [a, b] = await twoNodes({ url: redis.url });
      const [near, far] = [await a.member('room'), await b.member('room')];
      await subscribed(redis, 'room', 2);
      const data = Buffer.from('before');
      near.socket.broadcast('room', data);
      data.write('behind');
      expect((await far.client.next()).toString()).toBe('before');
    });

    test.each([
      ['of maxMessageSize', undefined, 1_048_576],
      ['of 20 MiB', 64 * 1024 * 1024, 20 * 1024 * 1024],
    ])('may be a message %s', async (_name, maxMessageSize, size) => {
      const redis = await startRedis();
      const [a, b] = await twoNodes(
        { url: redis.url, publishBuffer: 64 * 1024 * 1024 },
        { maxMessageSize, maxBackpressure: 64 * 1024 * 1024 },
      );
      const [near, far] = [await a.member('room'), await b.member('room')];
      await subscribed(redis, 'room', 2);
      const data = Buffer.alloc(size, 'message ');
      near.socket.broadcast('room', data);
      const got = (await far.client.next()) as Buffer;
      expect(got.equals(data)).toBe(true);
      // Not before: behind more than 16 MiB that wait for an I/O thread it may be dropped, and told of.
      a.wsApp.wsBroadcast('end', 'room');
      expect(await far.client.next()).toBe('end');
      expect(b.everyGap).toEqual([]);
    });

    test('in a room comes in the order in which it was said, all of it', async () => {
      const redis = await startRedis();
      const [a, b] = await twoNodes({ url: redis.url });
      const far = [await b.member('room'), await b.member('room')];
      await subscribed(redis, 'room', 1);
      const texts = Array.from({ length: 20_000 }, (_, n) => `${n}`);
      for (const [n, text] of texts.entries()) {
        a.wsApp.wsBroadcast(text, 'room');
        if (n % 1000 === 999) await turn();
      }
      for (const { client } of far) expect(await messagesUntil(client, '19999')).toEqual(texts);
      expect([...a.everyGap, ...b.everyGap]).toEqual([]);
    });

    test('in the last turn before the thread is blocked goes out all the same', async () => {
      const redis = await startRedis();
      const a = await nodeProcess({ url: redis.url });
      const b = await upNode({ url: redis.url });
      const far = await b.member('room');
      await subscribed(redis, 'room', 1);
      const { release } = await a.block(`sockets.wsBroadcast('last words', 'room')`);
      expect(await far.client.next()).toBe('last words');
      await release();
    });

    test('comes to members on all I/O threads in order, compressed where that is agreed', async () => {
      const redis = await startRedis();
      const [a, b] = await twoNodes(
        { url: redis.url },
        { ioThreads: 4, perMessageDeflate: { threshold: 0 } },
      );
      const far = await Promise.all(
        Array.from({ length: 12 }, (_, n) => connect(b.url(), { perMessageDeflate: n % 2 === 0 })),
      );
      for (const _ of far) (await b.sockets.next()).join('room');
      await subscribed(redis, 'room', 1);
      const texts = Array.from({ length: 2000 }, (_, n) => `message ${n} ${'x'.repeat(n % 300)}`);
      for (const text of texts) a.wsApp.wsBroadcast(text, 'room');
      for (const client of far) {
        expect(await messagesUntil(client, texts.at(-1) as string)).toEqual(texts);
      }
    });
  });

  describe('with the JavaScript thread of the receiving one blocked', () => {
    test('members still receive what the other broadcasts', async () => {
      const redis = await startRedis();
      const receiver = await nodeProcess({ url: redis.url });
      const sender = await upNode({ url: redis.url });
      const members = [
        await receiver.member('room'),
        await receiver.member('room'),
        await receiver.member(),
      ];
      await subscribed(redis, 'room', 1);
      const { release } = await receiver.block();
      for (let n = 0; n < 1000; n++) sender.wsApp.wsBroadcast(`${n}`, 'room');
      sender.wsApp.wsBroadcast('end');
      const texts = Array.from({ length: 1000 }, (_, n) => `${n}`);
      for (const [n, client] of members.entries()) {
        const expected = n < 2 ? [...texts, 'end'] : ['end'];
        const got = await messagesUntil(client, 'end');
        // Between a room and everyone there is no order.
        while (got.length < expected.length) got.push((await client.next()).toString());
        expect(got.sort()).toEqual(expected.sort());
      }
      await release();
      expect(await receiver.run('return plugin.getStats().cluster.received')).toBe(1001);
      expect(await receiver.run('return plugin.getStats().cluster.delivered')).toBe(1001);
    });

    test('for long, nothing is lost, it stays subscribed, and the broker is still answered', async () => {
      const redis = await startRedis();
      const receiver = await nodeProcess({ url: redis.url, pingTimeoutMs: 500 });
      const sender = await upNode({ url: redis.url, pingTimeoutMs: 500 });
      const member = await receiver.member('room');
      await subscribed(redis, 'room', 1);
      const { release } = await receiver.block();
      const texts: string[] = [];
      // Several times as long as the broker may be silent.
      const end = Date.now() + 2000;
      while (Date.now() < end) {
        texts.push(`${texts.length}`);
        sender.wsApp.wsBroadcast(texts.at(-1) as string, 'room');
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      expect(await messagesUntil(member, texts.at(-1) as string)).toEqual(texts);
      await release();
      expect(await receiver.run('return plugin.getStats().cluster')).toMatchObject({
        state: 'up',
        gaps: 0,
        reconnects: 0,
        received: texts.length,
      });
    });

    test('the connection to the broker is made again, and the rooms are subscribed to', async () => {
      const redis = await startRedis();
      const receiver = await nodeProcess({ url: redis.url });
      const sender = await upNode({ url: redis.url });
      const member = await receiver.member('room');
      await subscribed(redis, 'room', 1);
      const { release } = await receiver.block();
      await redis.kill();
      await redis.start();
      await subscribed(redis, 'room', 1);
      await until(() => sender.stats().state === 'up');
      sender.wsApp.wsBroadcast('after', 'room');
      expect(await member.next()).toBe('after');
      await release();
      await receiver.event('down');
      await receiver.event('up');
    });
  });

  describe('join and leave', () => {
    test('mean the moment of the call, also where the turn is blocked right after', async () => {
      const redis = await startRedis();
      const receiver = await nodeProcess({ url: redis.url });
      const sender = await upNode({ url: redis.url });
      await receiver.run(`
        sockets.wsUse((socket, req, next) => { globalThis.last = socket; next(); })`);
      const staying = await receiver.member('room');
      const leaving = await receiver.member('room');
      await subscribed(redis, 'room', 1);
      // In one turn: leaves, is blocked while something is said, and says so itself.
      receiver.tell(
        JSON.stringify(`
          last.leave('room');
          say('left');
          const { execFileSync } = require('node:child_process');
          execFileSync('sleep', ['1']);
          last.send('end');`),
      );
      await receiver.event('left');
      sender.wsApp.wsBroadcast('too late', 'room');
      expect(await staying.next()).toBe('too late');
      expect(await leaving.next()).toBe('end');
    });

    test('in the middle of a stream: nothing comes between leaving and joining', async () => {
      const redis = await startRedis();
      const b = await upNode({ url: redis.url });
      const sender = await nodeProcess({ url: redis.url });
      const [member, other] = [await b.member('room'), await b.member('room')];
      await subscribed(redis, 'room', 1);
      await sender.run(`
        globalThis.n = 0;
        globalThis.stream = setInterval(() => {
          for (let count = 0; count < 20; count++) sockets.wsBroadcast('' + n++, 'room');
        }, 1)`);
      for (let round = 0; round < 200; round++) {
        member.socket.leave('room');
        member.socket.send('left');
        for (let turns = round % 5; turns >= 0; turns--) await turn();
        member.socket.send('joins');
        member.socket.join('room');
        for (let turns = round % 3; turns >= 0; turns--) await turn();
      }
      await sender.run('clearInterval(stream)');
      await sender.run(`sockets.wsBroadcast('end', 'room')`);
      const seen = await messagesUntil(member.client, 'end');
      let isIn = true;
      let last = -1;
      for (const text of seen) {
        if (text === 'left') isIn = false;
        else if (text === 'joins') isIn = true;
        else if (text !== 'end') {
          expect(isIn, `${text} while not in the room`).toBe(true);
          expect(Number(text)).toBeGreaterThan(last);
          last = Number(text);
        }
      }
      const whole = (await messagesUntil(other.client, 'end')).map(String);
      expect(whole.slice(0, -1)).toEqual(whole.slice(0, -1).map((_, n) => `${n}`));
    });

    test('by somebody in a room that is subscribed to already: the next message is for him as well', async () => {
      const redis = await startRedis();
      const receiver = await nodeProcess({ url: redis.url });
      const sender = await upNode({ url: redis.url });
      await receiver.run(`
        sockets.wsUse((socket, req, next) => { globalThis.last = socket; next(); })`);
      const first = await receiver.member('room');
      const second = await receiver.member();
      await subscribed(redis, 'room', 1);
      receiver.tell(
        JSON.stringify(`
          last.join('room');
          say('has joined');
          require('node:child_process').execFileSync('sleep', ['1']);
          last.send('end');`),
      );
      await receiver.event('has joined');
      sender.wsApp.wsBroadcast('welcome', 'room');
      expect(await first.next()).toBe('welcome');
      expect(new Set([await second.next(), await second.next()])).toEqual(
        new Set(['welcome', 'end']),
      );
    });

    test('by a connection that ends leave the room, which is unsubscribed from after a while', async () => {
      const redis = await startRedis();
      const [a, b] = await twoNodes({ url: redis.url });
      const { client } = await b.member('room');
      await subscribed(redis, 'room', 1);
      const subscriptions = b.stats().subscriptions;
      client.ws.terminate();
      await subscribed(redis, 'room', 0);
      await until(() => b.stats().subscriptions === subscriptions - 1);
      const { published } = a.stats();
      a.wsApp.wsBroadcast('to nobody', 'room');
      await until(() => a.stats().published === published + 1);
      const { client: next } = await b.member('room');
      await subscribed(redis, 'room', 1);
      a.wsApp.wsBroadcast('to somebody', 'room');
      expect(await next.next()).toBe('to somebody');
      expect(b.everyGap).toEqual([]);
    });

    test('in quick succession do not unsubscribe, so that nothing is missed', async () => {
      const redis = await startRedis();
      const [a, b] = await twoNodes({ url: redis.url });
      const { client, socket } = await b.member('room');
      await subscribed(redis, 'room', 1);
      for (let round = 0; round < 100; round++) {
        socket.leave('room');
        await turn();
        socket.join('room');
        a.wsApp.wsBroadcast(`${round}`, 'room');
        expect(await client.next()).toBe(`${round}`);
      }
      expect(b.everyGap).toEqual([]);
    });
  });

  test('hear of rooms with members on them, and of no others', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    for (let n = 0; n < 100; n++) a.wsApp.wsBroadcast('x', `other ${n}`);
    a.wsApp.wsBroadcast('end', 'room');
    expect(await client.next()).toBe('end');
    expect(b.stats().received).toBe(1);
    // Counted once the broker has answered.
    await until(() => a.stats().published === 101);
  });

  test('count what they hand over and hear', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url });
    expect(a.id).not.toBe(b.id);
    expect(a.stats()).toMatchObject({ state: 'up', nodes: 1, gaps: 0, reconnects: 0, dropped: 0 });
    const { client } = await b.member('room');
    const near = await a.member('room');
    await subscribed(redis, 'room', 2);
    for (let n = 0; n < 10; n++) a.wsApp.wsBroadcast('0123456789', 'room');
    a.wsApp.wsBroadcast('end');
    for (let n = 0; n < 11; n++) await client.next();
    for (let n = 0; n < 11; n++) await near.client.next();
    await until(() => a.stats().published === 11);
    expect(a.stats()).toMatchObject({ published: 11, received: 0, delivered: 0, bytesReceived: 0 });
    expect(b.stats()).toMatchObject({
      published: 0,
      received: 11,
      delivered: 11,
      bytesPublished: 0,
    });
    expect(a.stats().bytesPublished).toBeGreaterThanOrEqual(103);
    expect(b.stats().bytesReceived).toBeGreaterThanOrEqual(103);
    expect(a.stats()).toMatchObject({ waitingBytes: 0, oldestWaitingMs: 0, ignored: 0, missed: 0 });
    expect(b.plugin.getStats().messagesSent).toBe(11);
    expect(b.plugin.getStats().messagesReceived).toBe(0);
  });

  test('with different prefixes do not hear each other', async () => {
    const redis = await startRedis();
    const [a, b] = [
      await upNode({ url: redis.url, prefix: 'one' }),
      await upNode({ url: redis.url, prefix: 'two' }),
    ];
    const c = await upNode({ url: redis.url, prefix: 'two' });
    await acquainted(b, c);
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1, 'two');
    a.wsApp.wsBroadcast('from a');
    a.wsApp.wsBroadcast('from a', 'room');
    c.wsApp.wsBroadcast('from c', 'room');
    expect(await client.next()).toBe('from c');
    expect(a.stats().nodes).toBe(0);
    expect(b.stats().nodes).toBe(1);
  });

  test('by one channel hear of all rooms, with no subscription for any', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url, subscribe: 'one-channel' });
    const before = b.stats().subscriptions;
    const { client, socket } = await b.member();
    for (let n = 0; n < 500; n++) socket.join(`room ${n}`);
    for (let n = 0; n < 500; n++) a.wsApp.wsBroadcast(`${n}`, `room ${n}`);
    a.wsApp.wsBroadcast('nobody', 'another');
    a.wsApp.wsBroadcast('end', 'room 1');
    expect(await messagesUntil(client, 'end')).toEqual([
      ...Array.from({ length: 500 }, (_, n) => `${n}`),
      'end',
    ]);
    expect(b.stats().subscriptions).toBe(before);
    expect(b.stats()).toMatchObject({ received: 502, delivered: 501 });
  });

  test('are told apart where they are plugins of one process', async () => {
    const redis = await startRedis();
    const nodes = await Promise.all(Array.from({ length: 5 }, () => upNode({ url: redis.url })));
    expect(new Set(nodes.map(({ id }) => id)).size).toBe(5);
    await acquainted(...nodes);
    const members = await Promise.all(nodes.map((node) => node.member('room')));
    await subscribed(redis, 'room', 5);
    for (const node of nodes) node.wsApp.wsBroadcast(node.id, 'room');
    for (const { client } of members) {
      const got = new Set<string>();
      while (got.size < 5) got.add((await client.next()).toString());
      expect(got).toEqual(new Set(nodes.map(({ id }) => id)));
      expect(client.waiting).toEqual([]);
    }
  });

  test('may be two paths of one HTTP server', async () => {
    const redis = await startRedis();
    const { server } = await serve({ path: '/other', cluster: { url: redis.url } });
    void server;
    const b = await upNode({ url: redis.url });
    await until(() => b.stats().nodes === 1);
  });

  test('may be worker threads', async () => {
    const redis = await startRedis();
    const { line, tell, exited } = script(`
      const { Worker } = require('node:worker_threads');
      const { once } = require('node:events');
      const source = ${JSON.stringify(`
        const { parentPort } = require('node:worker_threads');
        const { WebSocketPlugin } = require('nextrush-websocket');
        const server = require('node:http').createServer();
        const plugin = new WebSocketPlugin({ cluster: { url: '${redis.url}' } });
        const sockets = plugin.attach(server);
        sockets.ws('/ws', (socket) => socket.join('room'));
        plugin.on('cluster:up', () => server.listen(0, '127.0.0.1', () =>
          parentPort.postMessage({ port: server.address().port, id: plugin.getStats().cluster.nodeId })));
        parentPort.on('message', (text) => {
          if (text === 'end') { server.close(); parentPort.close(); }
          else sockets.wsBroadcast(text, 'room');
        });`)};
      (async () => {
        const workers = [0, 1].map(() => new Worker(source, { eval: true }));
        const ready = (await Promise.all(workers.map((worker) => once(worker, 'message')))).flat();
        console.log(JSON.stringify(ready));
        process.stdin.once('data', async () => {
          workers[0].postMessage('said by one');
          process.stdin.once('data', async () => {
            for (const worker of workers) worker.postMessage('end');
            process.stdin.destroy();
            console.log(JSON.stringify((await Promise.all(workers.map((worker) => once(worker, 'exit')))).flat()));
          });
        });
      })();`);
    const ready = JSON.parse(await line()) as { port: number; id: string }[];
    expect(ready[0]?.id).not.toBe(ready[1]?.id);
    const clients = await Promise.all(ready.map(({ port }) => connect(wsUrl(port))));
    await subscribed(redis, 'room', 2);
    tell('say');
    for (const client of clients) expect(await client.next()).toBe('said by one');
    tell('end');
    expect(JSON.parse(await line())).toEqual([0, 0]);
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
  });

  describe('rooms', () => {
    const every = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join('');
    const names = [
      ...[
        '',
        ' ',
        '*',
        '?',
        '[a-z]',
        '\\',
        '\r\n',
        '\0',
        'all',
        ':',
        'room:x',
        'a:b',
        '%61',
        '__proto__',
      ],
      ...[
        'constructor',
        'é',
        'e\u0301',
        '😀',
        '\ufffd',
        '\ud83d',
        '\ude00',
        '\ud83d\ud83d',
        'a\ud83d',
        every,
      ],
      ...[
        'x'.repeat(65_536),
        `${'x'.repeat(65_535)}y`,
        'ä'.repeat(65_536),
        '\ud83d'.repeat(65_536),
      ],
      ...[
        'A',
        'a',
        'x'.repeat(199),
        'x'.repeat(200),
        'x'.repeat(201),
        'x'.repeat(255),
        'x'.repeat(256),
      ],
      ...['~', '~61', '=61', '_', '-', '.', '{a}', '{a}b', '{', '}', 'room', `${PREFIX}:all`],
    ];

    test.each(['rooms', 'one-channel'] as const)(
      'may have any name, and are told apart, with subscribe: %s',
      async (subscribe) => {
        const redis = await startRedis();
        const [a, b] = await twoNodes({ url: redis.url, subscribe });
        expect(new Set(names).size).toBe(names.length);
        const before = b.stats().subscriptions;
        const members = await Promise.all(names.map((name) => b.member(name)));
        if (subscribe === 'rooms') {
          await until(() => b.stats().subscriptions === before + names.length);
          while ((await redis.channels('*')).length < before + names.length);
        }
        for (const [n, name] of names.entries()) a.wsApp.wsBroadcast(`${n}`, name);
        for (const name of names) a.wsApp.wsBroadcast('end', name);
        const got: string[][] = [];
        for (const { client } of members) got.push(await messagesUntil(client, 'end'));
        // Members came in some order of their own.
        expect(got.map(([first, second]) => [first, second]).sort()).toEqual(
          names.map((_, n) => [`${n}`, 'end']).sort(),
        );
        expect(got.every((texts) => texts.length === 2)).toBe(true);
        expect(b.everyGap).toEqual([]);
      },
    );

    test('with simple names have channels in which an operator knows them', async () => {
      const redis = await startRedis();
      const b = await upNode({ url: redis.url, prefix: 'shop.v2' });
      await b.member('lobby', 'room-1', 'user_7');
      for (const room of ['lobby', 'room-1', 'user_7']) await subscribed(redis, room, 1, 'shop.v2');
      expect((await redis.channels('*')).every((channel) => channel.startsWith('shop.v2:'))).toBe(
        true,
      );
    });

    test('by the ten thousand are all subscribed to, each hears its own, and all are left again', {
      timeout: 60_000,
    }, async () => {
      const redis = await startRedis();
      const [a, b] = await twoNodes({ url: redis.url });
      const { client, socket } = await b.member();
      const before = b.stats().subscriptions;
      const started = performance.now();
      for (let n = 0; n < 10_000; n++) socket.join(`room-${n}`);
      await until(() => b.stats().subscriptions === before + 10_000);
      console.log(`10,000 rooms subscribed to in ${Math.round(performance.now() - started)} ms`);
      while ((await redis.channels(channelOf('*'))).length < 10_000);
      for (let n = 0; n < 10_000; n++) a.wsApp.wsBroadcast(`${n}`, `room-${n}`);
      const got = new Set<string>();
      while (got.size < 10_000) got.add((await client.next()).toString());
      expect(b.everyGap).toEqual([]);
      client.ws.terminate();
      await until(() => b.stats().subscriptions === before);
      while ((await redis.channels(channelOf('*'))).length > 0);
    });

    test('that come and go quickly do not pile up', { timeout: 60_000 }, async () => {
      const redis = await startRedis();
      const b = await upNode({ url: redis.url });
      const { socket } = await b.member();
      await turn();
      const before = b.stats().subscriptions;
      for (let n = 0; n < 100_000; n++) {
        socket.join(`room-${n}`);
        socket.leave(`room-${n}`);
        if (n % 1000 === 999) await turn();
      }
      socket.join('last');
      await subscribed(redis, 'last', 1);
      await until(() => b.stats().subscriptions === before + 1);
      while ((await redis.channels(channelOf('room-*'))).length > 0);
      expect(b.stats().state).toBe('up');
    });
  });

  test('of which a client reads slowly close it as if the other had been the same', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url }, { maxBackpressure: 262_144 });
    const [slow, quick] = [await b.member('room'), await b.member('room')];
    await subscribed(redis, 'room', 1);
    slow.client.ws.pause();
    const text = 'x'.repeat(65_536);
    let count = 0;
    while (b.ends.waiting.length === 0) {
      a.wsApp.wsBroadcast(text, 'room');
      expect(await quick.client.next()).toBe(text);
      count += 1;
    }
    expect(b.ends.waiting[0]).toMatchObject({ code: 1008 });
    expect(b.stats()).toMatchObject({ received: count, gaps: 0 });
  });

  test('keep what they hear in bounds where nobody reads', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes(
      { url: redis.url },
      { maxBackpressure: Number.POSITIVE_INFINITY, maxBufferedBytes: 8 * 1024 * 1024 },
    );
    const members = await Promise.all(Array.from({ length: 4 }, () => b.member('room')));
    for (const { client } of members) client.ws.pause();
    await subscribed(redis, 'room', 1);
    const text = 'x'.repeat(262_144);
    while (b.plugin.getStats().memory.shed < 4) {
      a.wsApp.wsBroadcast(text, 'room');
      await turn();
    }
  });

  test('and a room that nobody else is in: local members hear it without any broker', async () => {
    const a = await clusterNode({ url: 'redis://127.0.0.1:1' });
    const { client } = await a.member('room');
    a.wsApp.wsBroadcast('local', 'room');
    expect(await client.next()).toBe('local');
    await a.downs.next();
    expect(a.stats().state).toBe('down');
    a.wsApp.wsBroadcast('still', 'room');
    expect(await client.next()).toBe('still');
    expect(await a.plugin.healthCheck()).toBe(true);
  });
});

/** How many connections a broker has, besides the one that asks. */
async function connectionsOf(redis: Redis): Promise<number> {
  const [list = ''] = await redis.command('CLIENT', 'LIST');
  return list.trim().split('\n').length - 1;
}

describe.skipIf(!hasRedis('redis.spec.ts'))('the life of a server', () => {
  test('is up after it is installed, and closed before and after', async () => {
    const redis = await startRedis();
    const a = await upNode({ url: redis.url });
    expect(a.stats().state).toBe('up');
    await a.plugin.cleanup();
    expect(a.stats()).toMatchObject({ state: 'closed', subscriptions: 0 });
    while ((await connectionsOf(redis)) > 0);
    expect(await redis.channels('*')).toEqual([]);
    expect(a.downs.waiting).toEqual([]);
  });

  test('says what was accepted before the end', async () => {
    const redis = await startRedis();
    const [a, b] = await twoNodes({ url: redis.url });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    const texts = Array.from({ length: 1000 }, (_, n) => `${n}`);
    for (const text of texts) a.wsApp.wsBroadcast(text, 'room');
    await a.plugin.cleanup();
    expect(await messagesUntil(client, '999')).toEqual(texts);
    await until(() => b.stats().nodes === 0);
    expect(b.everyGap).toEqual([]);
  });

  test('ends while the broker is absent, gone, frozen, or has never answered', async () => {
    const [gone, frozen, deaf] = [await startRedis(), await startRedis(), await startRedis()];
    deaf.freeze();
    const nodes = await Promise.all([
      clusterNode({ url: 'redis://127.0.0.1:1' }),
      upNode({ url: gone.url }),
      upNode({ url: frozen.url }),
      clusterNode({ url: deaf.url }),
    ]);
    await gone.kill();
    await nodes[1].downs.next();
    await nodes[2].member('room');
    frozen.freeze();
    // There is something to say, also more than the broker's socket takes.
    for (const { wsApp } of nodes) {
      for (let n = 0; n < 100; n++) wsApp.wsBroadcast('x'.repeat(100_000), 'room');
    }
    await Promise.all(nodes.map(({ plugin }) => plugin.cleanup()));
    expect(nodes.map((node) => node.stats().state)).toEqual(Array(4).fill('closed'));
    for (const redis of [frozen, deaf]) redis.thaw();
  });

  test('may begin again after its end, as often as one likes', async () => {
    const redis = await startRedis();
    const a = await upNode({ url: redis.url });
    const b = await upNode({ url: redis.url });
    a.plugin.on('connection', (socket) => socket.join('room'));
    for (let round = 0; round < 20; round++) {
      await a.plugin.cleanup();
      a.plugin.attach(a.server);
      await a.ups.next();
      const client = await connect(a.url());
      await subscribed(redis, 'room', 1);
      b.wsApp.wsBroadcast(`${round}`, 'room');
      expect(await client.next()).toBe(`${round}`);
    }
    while ((await connectionsOf(redis)) > 4);
  });

  test('may end and begin at any moment, with nothing left on the broker', async () => {
    const redis = await startRedis();
    const a = await clusterNode({ url: redis.url });
    for (let round = 0; round < 50; round++) {
      for (let turns = round % 10; turns > 0; turns--) await turn();
      await a.plugin.cleanup();
      a.plugin.attach(a.server);
    }
    await until(() => a.stats().state === 'up');
    await a.plugin.cleanup();
    while ((await connectionsOf(redis)) > 0);
  });

  test('is not hurt by listeners that throw, clean up or broadcast', async () => {
    const redis = await startRedis();
    const a = await clusterNode({ url: redis.url });
    const errors = queue<Error>();
    a.plugin.on('error', (error) => errors.push(error));
    a.plugin.once('cluster:up', () => {
      a.wsApp.wsBroadcast('from a listener');
      throw new Error('of up');
    });
    a.plugin.once('cluster:down', () => {
      a.wsApp.wsBroadcast('from a listener');
      throw new Error('of down');
    });
    expect((await errors.next()).message).toBe('of up');
    await a.ups.next();
    await redis.kill();
    expect((await errors.next()).message).toBe('of down');
    await redis.start();
    await a.ups.next();
    a.plugin.on('cluster:down', () => void a.plugin.cleanup());
    await redis.kill();
    await until(() => a.stats().state === 'closed');
  });

  test('is told to the application of a framework as well', async () => {
    const redis = await startRedis();
    const told = queue<string>();
    const { plugin } = await serve({ cluster: { url: redis.url } }, ({ app }) => {
      for (const name of ['up', 'down', 'gap']) {
        app.on(`plugin:WebSocketPlugin:cluster:${name}`, () => told.push(name));
      }
    });
    expect(await told.next()).toBe('up');
    await redis.kill();
    expect(await told.next()).toBe('down');
    await plugin.cleanup();
  });

  const scripts = {
    'that was only constructed': `new WebSocketPlugin({ cluster: { url } });`,
    'whose server has closed': `
      const server = require('node:http').createServer();
      const plugin = new WebSocketPlugin({ cluster: { url } });
      plugin.attach(server);
      plugin.on('cluster:up', () => server.listen(0, () => server.close()));
      process.stdin.destroy();`,
    'that has cleaned up': `
      const server = require('node:http').createServer();
      const plugin = new WebSocketPlugin({ cluster: { url } });
      plugin.attach(server);
      plugin.on('cluster:up', () => plugin.cleanup());
      server.listen(0, () => server.unref());`,
    'that has cleaned up while it connects': `
      const server = require('node:http').createServer();
      const plugin = new WebSocketPlugin({ cluster: { url } });
      plugin.attach(server);
      plugin.cleanup();`,
    'that calls process.exit()': `
      const server = require('node:http').createServer();
      const plugin = new WebSocketPlugin({ cluster: { url } });
      const sockets = plugin.attach(server);
      server.listen(0);
      plugin.on('cluster:up', () => {
        for (let n = 0; n < 1000; n++) sockets.wsBroadcast('x'.repeat(10000));
        process.exit();
      });`,
    'whose worker threads are terminated': `
      const { Worker } = require('node:worker_threads');
      const source = 'const { WebSocketPlugin } = require("nextrush-websocket");' +
        'const server = require("node:http").createServer();' +
        'const plugin = new WebSocketPlugin({ cluster: { url: ' + JSON.stringify(url) + ' } });' +
        'const sockets = plugin.attach(server); server.listen(0);' +
        'plugin.on("cluster:up", () => { require("node:worker_threads").parentPort.postMessage(1);' +
        ' setInterval(() => sockets.wsBroadcast("x".repeat(10000)), 0) });';
      for (let n = 0; n < 4; n++) {
        const worker = new Worker(source, { eval: true });
        worker.once('message', () => worker.terminate());
      }`,
  };

  test.each(Object.entries(scripts))('lets a process %s end', async (_name, source) => {
    const redis = await startRedis();
    const { exited } = script(`
      const { WebSocketPlugin } = require('nextrush-websocket');
      const url = ${JSON.stringify(redis.url)};
      ${source}`);
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
    while ((await connectionsOf(redis)) > 0);
  });

  test.skipIf(!existsSync('/proc/self/task'))('leaves no thread behind', async () => {
    const redis = await startRedis();
    const { line, exited } = script(`
      const { WebSocketPlugin } = require('nextrush-websocket');
      const { once } = require('node:events');
      const fs = require('node:fs');
      const threads = () => fs.readdirSync('/proc/self/task').filter((task) => {
        try {
          return fs.readFileSync('/proc/self/task/' + task + '/comm', 'latin1').startsWith('nextrush');
        } catch { return false; }
      }).length;
      (async () => {
        const server = require('node:http').createServer();
        const alive = setInterval(() => {}, 1000);
        const plugin = new WebSocketPlugin({ cluster: { url: ${JSON.stringify(redis.url)} } });
        const counts = [];
        for (let round = 0; round < 10; round++) {
          plugin.attach(server);
          await once(plugin, 'cluster:up');
          counts.push(threads());
          await plugin.cleanup();
        }
        while (threads() > 0) await new Promise((resolve) => setTimeout(resolve, 5));
        console.log(JSON.stringify(counts));
        clearInterval(alive);
      })();`);
    const counts = JSON.parse(await line()) as number[];
    expect(Math.max(...counts)).toBeLessThanOrEqual(counts[0] as number);
    expect(await exited).toMatchObject({ code: 0, stderr: '' });
  });

  test('costs a broker few connections, of which it can tell whose they are', async () => {
    const redis = await startRedis();
    await upNode({ url: redis.url });
    expect(await connectionsOf(redis)).toBeLessThanOrEqual(2);
  });
});
