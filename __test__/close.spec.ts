import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { WSConnection } from '../index.js';
import { connect } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { type End, echo, pair, rawPair, serveRecorded } from './support/pair.js';
import {
  CLOSE,
  CONTINUATION,
  closePayload,
  frame,
  PING,
  type RawFrame,
  rawUpgrade,
  TEXT,
} from './support/raw.js';
import { serve } from './support/server.js';
import { until } from './support/until.js';

/** What a close frame says. */
function read({ opcode, payload }: RawFrame): End {
  expect(opcode).toBe(CLOSE);
  if (payload.length === 0) return { code: 1005, reason: '' };
  return { code: payload.readUInt16BE(0), reason: payload.toString('utf8', 2) };
}

describe('the closing handshake', () => {
  test('begun by the client brings its code and reason to the server, and back', async () => {
    const { client, ends } = await pair();
    client.close(4001, 'über €');
    expect(await ends.next()).toEqual({ code: 4001, reason: 'über €' });
    expect(await client.closed).toEqual({ code: 4001, reason: 'über €' });
  });

  test('begun by the server brings its code and reason to the client and its own listener', async () => {
    const { client, socket, ends } = await pair();
    socket.close(4002, 'ende €');
    expect(await client.closed).toEqual({ code: 4002, reason: 'ende €' });
    expect(await ends.next()).toEqual({ code: 4002, reason: 'ende €' });
  });

  test('begun by the server is 1000 without a reason where nothing is said', async () => {
    const { client, socket, ends } = await pair();
    socket.close();
    expect(await client.closed).toEqual({ code: 1000, reason: '' });
    expect(await ends.next()).toEqual({ code: 1000, reason: '' });
  });

  test('a code needs no reason', async () => {
    const { client, socket, ends } = await pair();
    socket.close(1008);
    expect(await client.closed).toEqual({ code: 1008, reason: '' });
    expect(await ends.next()).toEqual({ code: 1008, reason: '' });
  });

  test('begun by the client without a code is 1005 on both sides', async () => {
    const { client, ends } = await pair();
    client.close();
    expect(await ends.next()).toEqual({ code: 1005, reason: '' });
    expect(await client.closed).toEqual({ code: 1005, reason: '' });
  });

  test('begun by the server is reported with its code, whatever the peer answers', async () => {
    for (const answer of ['', closePayload(1000), closePayload(3000, 'as you like')]) {
      const { client, socket, ends } = await rawPair();
      socket.close(4003, 'kicked');
      expect(read(await client.frame())).toEqual({ code: 4003, reason: 'kicked' });
      client.write(frame(CLOSE, answer));
      expect(await ends.next()).toEqual({ code: 4003, reason: 'kicked' });
    }
  });

  test.each([
    ['the server', true],
    ['the client', false],
  ])('begun by %s ends the TCP connection', async (_, byServer) => {
    const { client, socket, ends } = await rawPair();
    if (byServer) {
      socket.close(4000);
      await client.frame();
    }
    client.write(frame(CLOSE, closePayload(4000)));
    if (!byServer) await client.frame();
    expect(await client.end()).toEqual(Buffer.alloc(0));
    expect(await ends.next()).toEqual({ code: 4000, reason: '' });
    if (!client.socket.closed) await once(client.socket, 'close');
  });

  test('begun by both at once is one close frame of each and one end', async () => {
    const ended = queue<End>();
    const { client, socket, ends, plugin, url } = await rawPair();
    plugin.on('close', (_, code, reason) => ended.push({ code, reason }));
    client.write(frame(CLOSE, closePayload(4010, 'client')));
    socket.close(4020, 'server');
    const first = read(await client.frame());
    expect([4010, 4020]).toContain(first.code);
    expect(await client.end()).toEqual(Buffer.alloc(0));
    const end = await ends.next();
    expect([4010, 4020]).toContain(end.code);
    // Another connection's end comes after anything that might still be told of this one.
    const marker = await connect(url());
    marker.close(4030);
    expect((await ends.next()).code).toBe(4030);
    expect(ends.waiting).toEqual([]);
    expect(ended.waiting).toEqual([end, { code: 4030, reason: '' }]);
  });

  test('goes through in the middle of a message that the client has begun', async () => {
    const { client, socket, ends, messages } = await rawPair();
    const [half, rest] = [frame(TEXT, 'half', { fin: false }), frame(CONTINUATION, ' rest')];
    client.write(Buffer.concat([frame(TEXT, 'marker'), half]));
    await messages.next();
    socket.close(4000);
    await client.frame();
    client.write(Buffer.concat([rest, frame(PING, 'x'), frame(CLOSE, closePayload(4000))]));
    expect(await client.end()).toEqual(Buffer.alloc(0));
    expect((await ends.next()).code).toBe(4000);
    expect(messages.waiting).toEqual([]);
  });

  test('a second close is ignored: there is one close frame, the first', async () => {
    const { client, socket, ends } = await rawPair();
    socket.close(4001, 'first');
    socket.close(4002, 'second');
    socket.close();
    expect(read(await client.frame())).toEqual({ code: 4001, reason: 'first' });
    client.write(frame(CLOSE, closePayload(4001, 'first')));
    expect(await client.end()).toEqual(Buffer.alloc(0));
    expect(await ends.next()).toEqual({ code: 4001, reason: 'first' });
  });

  test('a close from within onClose is ignored', async () => {
    const { client, ends } = await pair({}, (socket) => {
      socket.onClose(() => socket.close(4002, 'too late'));
    });
    client.close(4001, 'bye');
    expect(await client.closed).toEqual({ code: 4001, reason: 'bye' });
    expect(await ends.next()).toEqual({ code: 4001, reason: 'bye' });
  });

  test('the plugin and the application hear of the end as the connection does', async () => {
    const heard = queue<unknown[]>();
    const { client, socket, plugin, app } = await pair();
    plugin.on('close', (...args) => heard.push(args));
    app.on('plugin:WebSocketPlugin:close', (...args) => heard.push(args));
    client.close(4001, 'bye');
    for (let index = 0; index < 2; index++) {
      const [whose, code, reason] = await heard.next();
      expect([whose === socket, code, reason]).toEqual([true, 4001, 'bye']);
    }
  });
});

describe('messages around the end', () => {
  test('everything sent before close arrives before the close frame', async () => {
    const { client, socket } = await rawPair();
    for (let index = 0; index < 1000; index++) socket.send(`${index}`);
    socket.close(4000, 'that was all');
    for (let index = 0; index < 1000; index++) {
      expect((await client.frame()).payload.toString()).toBe(`${index}`);
    }
    expect(read(await client.frame())).toEqual({ code: 4000, reason: 'that was all' });
  });

  test('so do megabytes to a client that reads late', async () => {
    const { client, socket } = await pair();
    client.ws.pause();
    const megabyte = Buffer.alloc(1 << 20, 7);
    for (let index = 0; index < 10; index++) socket.send(megabyte);
    socket.close(4000);
    client.ws.resume();
    for (let index = 0; index < 10; index++) {
      expect(((await client.next()) as Buffer).equals(megabyte)).toBe(true);
    }
    expect((await client.closed).code).toBe(4000);
  });

  test('everything that the client sent before it closed is delivered before onClose', async () => {
    const heard = queue<string>();
    const { client } = await pair({}, (socket) => {
      socket.onMessage((data) => heard.push(`${data}`));
      socket.onClose(() => heard.push('end'));
    });
    for (let index = 0; index < 1000; index++) client.send(`${index}`);
    client.close();
    for (let index = 0; index < 1000; index++) expect(await heard.next()).toBe(`${index}`);
    expect(await heard.next()).toBe('end');
  });

  test('nothing is delivered once the server has closed', async () => {
    const { client, ends, messages } = await rawPair({}, (socket) => {
      socket.onMessage(() => socket.close(4000));
    });
    const go = ['go', 'in the same packet', 'as well'].map((text) => frame(TEXT, text));
    client.write(Buffer.concat(go));
    expect(read(await client.frame()).code).toBe(4000);
    client.write(Buffer.concat([frame(TEXT, 'later'), frame(CLOSE, closePayload(4000))]));
    expect((await ends.next()).code).toBe(4000);
    expect([await messages.next(), ...messages.waiting]).toEqual(['go']);
  });

  test('a broadcast no longer reaches a connection that is being closed', async () => {
    const { client, socket, wsApp } = await rawPair();
    socket.join('room');
    socket.close(4000);
    wsApp.wsBroadcast('late', 'room');
    wsApp.wsBroadcast('late');
    expect(read(await client.frame()).code).toBe(4000);
    client.write(frame(CLOSE, closePayload(4000)));
    expect(await client.end()).toEqual(Buffer.alloc(0));
  });

  test('after the end every method does nothing', async () => {
    const { client, socket, ends, plugin } = await pair();
    client.close();
    await ends.next();
    socket.send('x');
    socket.close(4000);
    socket.join('room');
    socket.leave('room');
    socket.ping();
    socket.markAlive();
    socket.broadcast('room', 'x');
    expect(plugin.getStats()).toMatchObject({ totalConnections: 0, rooms: [] });
    expect(ends.waiting).toEqual([]);
  });
});

describe('behind its close frame', () => {
  test('a client that sends nothing is sent ours, and then the end', async () => {
    const { client, ends, plugin } = await rawPair();
    client.write(frame(CLOSE, closePayload(4000, 'done')));
    expect(read(await client.frame())).toEqual({ code: 4000, reason: 'done' });
    expect(await client.end()).toHaveLength(0);
    expect(await ends.next()).toEqual({ code: 4000, reason: 'done' });
    await until(() => plugin.getStats().closingConnections === 0);
  });

  test('a client may send anything, and reads what it is owed all the same', async () => {
    const { client, ends } = await rawPair();
    const rest = frame(TEXT, 'x'.repeat(60_000));
    client.write(Buffer.concat([frame(CLOSE, closePayload(4000)), ...Array(40).fill(rest)]));
    expect(read(await client.frame())).toEqual({ code: 4000, reason: '' });
    expect(await client.end()).toHaveLength(0);
    expect(await ends.next()).toEqual({ code: 4000, reason: '' });
  });
});

describe('an end without a handshake is 1006', () => {
  test('where the client is gone', async () => {
    const { client, ends } = await pair();
    client.ws.terminate();
    expect(await ends.next()).toEqual({ code: 1006, reason: '' });
  });

  test('where the client resets the connection', async () => {
    const { client, ends } = await rawPair();
    client.reset();
    expect(await ends.next()).toEqual({ code: 1006, reason: '' });
  });

  test('where the client ends its half, and what it said before is delivered', async () => {
    const { client, ends, messages } = await rawPair();
    client.write(frame(TEXT, 'last words'));
    client.socket.end();
    expect(await ends.next()).toEqual({ code: 1006, reason: '' });
    expect([await messages.next(), ...messages.waiting]).toEqual(['last words']);
    await client.end();
  });

  test('where the client ends its half in the middle of a message', async () => {
    const { client, ends, messages } = await rawPair();
    client.write(frame(TEXT, 'all of this').subarray(0, 9));
    client.socket.end();
    expect(await ends.next()).toEqual({ code: 1006, reason: '' });
    expect(messages.waiting).toEqual([]);
  });

  test('where the client goes away instead of answering a close frame', async () => {
    const { client, socket, ends } = await rawPair();
    socket.close(4000, 'bye');
    await client.frame();
    client.socket.end();
    expect(await ends.next()).toEqual({ code: 1006, reason: '' });
  });

  test('where the client never answers a close frame, after closeTimeoutMs', async () => {
    const { client, socket, ends, plugin } = await rawPair({ closeTimeoutMs: 100 });
    socket.close(4000, 'bye');
    expect(read(await client.frame())).toEqual({ code: 4000, reason: 'bye' });
    expect(await ends.next()).toEqual({ code: 1006, reason: '' });
    await client.end();
    expect(plugin.getStats().totalConnections).toBe(0);
  });

  test('where a client goes on talking instead of answering a close frame', async () => {
    const { client, socket, ends, messages } = await rawPair({ closeTimeoutMs: 100 });
    socket.close(4000);
    const talk = setInterval(() => client.write(frame(TEXT, 'but')), 10);
    try {
      expect(await ends.next()).toEqual({ code: 1006, reason: '' });
    } finally {
      clearInterval(talk);
    }
    expect(messages.waiting).toEqual([]);
  });

  test('where a client that does not read cannot get the close frame', async () => {
    const { client, socket, ends } = await pair({
      closeTimeoutMs: 100,
      maxBackpressure: Number.POSITIVE_INFINITY,
    });
    client.ws.pause();
    for (let index = 0; index < 40; index++) socket.send(Buffer.alloc(1 << 20));
    socket.close(4000);
    expect(await ends.next()).toEqual({ code: 1006, reason: '' });
  });
});

describe('onClose', () => {
  test('calls each listener once, in the order of their adding', async () => {
    // Without a recorder, which would be the first listener of them all.
    const calls: string[] = [];
    const { url, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => {
        for (const name of ['first', 'second', 'third']) {
          socket.onClose((code, reason) => calls.push(`${name} ${code} ${reason}`));
        }
      });
    });
    const client = await connect(url());
    const over = once(plugin, 'close');
    client.close(4000, 'bye');
    await over;
    await new Promise((resolve) => setImmediate(resolve));
    expect(calls).toEqual(['first 4000 bye', 'second 4000 bye', 'third 4000 bye']);
  });

  test('added after the end, by a handler that was slow, is called all the same, and once', async () => {
    const gate = deferred();
    const calls = queue<End>();
    const over = deferred();
    const { url, plugin } = await serve({}, ({ wsApp, plugin }) => {
      plugin.on('close', () => over.resolve());
      wsApp.ws('/ws', async (socket) => {
        await gate.promise;
        socket.onClose((code, reason) => calls.push({ code, reason }));
      });
    });
    const client = await connect(url());
    client.close(4001, 'no patience');
    await over.promise;
    gate.resolve();
    expect(await calls.next()).toEqual({ code: 4001, reason: 'no patience' });
    await connect(url()).then((marker) => marker.close());
    await once(plugin, 'close');
    // The other connection has a call of its own, and that is the only one that comes.
    await calls.next();
    expect(calls.waiting).toEqual([]);
  });

  test('added by a listener for the end of the room is called once', async () => {
    const calls: number[] = [];
    const late = deferred<WSConnection>();
    const { client, socket, plugin, ends } = await pair();
    socket.join('room');
    plugin.on('room:destroyed', () => {
      socket.onClose((code) => calls.push(code));
      late.resolve(socket);
    });
    client.close(4000);
    await late.promise;
    await ends.next();
    await new Promise((resolve) => setImmediate(resolve));
    expect(calls).toEqual([4000]);
  });

  test('added by another onClose listener is called once', async () => {
    const calls = queue<number>();
    const { client } = await pair({}, (socket) => {
      socket.onClose(() => socket.onClose((code) => calls.push(code)));
    });
    client.close(4000);
    expect(await calls.next()).toBe(4000);
    await new Promise((resolve) => setImmediate(resolve));
    expect(calls.waiting).toEqual([]);
  });

  test('finds the connection ended: it is not alive and does not count any more', async () => {
    const seen = queue<unknown>();
    const { client, socket, plugin } = await pair();
    socket.onClose(() => seen.push([socket.isAlive, plugin.getStats().totalConnections]));
    client.close();
    expect(await seen.next()).toEqual([false, 0]);
  });

  test.each([[undefined], [null], ['text'], [{}]])(
    'of %j is a TypeError that says what is accepted',
    async (listener) => {
      const { socket } = await pair();
      expect(() => socket.onClose(listener as never)).toThrow(TypeError);
      expect(() => socket.onClose(listener as never)).toThrow(/onClose.*listener.*function/);
    },
  );
});

describe('the arguments of close', () => {
  const bad = [
    0,
    1,
    999,
    1004,
    1005,
    1006,
    1015,
    1016,
    1999,
    2000,
    2999,
    5000,
    65_536,
    66_536,
    -1,
    -1000,
    1000.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ];

  test.each(bad)('the code %d is a RangeError, and the connection stays open', async (code) => {
    const { client, socket } = await pair({}, echo);
    expect(() => socket.close(code)).toThrow(RangeError);
    expect(() => socket.close(code, 'reason')).toThrow(/^close: code must be .*, got /);
    expect(() => socket.close(code)).toThrow(String(code));
    client.send('alive');
    expect(await client.next()).toBe('alive');
  });

  test.each([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])(
    'the code %d reaches the client',
    async (code) => {
      const { client, socket } = await pair();
      socket.close(code, 'so be it');
      expect(await client.closed).toEqual({ code, reason: 'so be it' });
    },
  );

  test.each([
    ['ASCII', 'a'.repeat(124)],
    ['characters of two bytes', 'é'.repeat(62)],
    ['characters of three bytes', '€'.repeat(42)],
    ['emoji', '😀'.repeat(31)],
  ])('a reason of over 123 bytes is a RangeError: %s', async (_, reason) => {
    const { client, socket } = await pair({}, echo);
    expect(() => socket.close(1000, reason)).toThrow(RangeError);
    expect(() => socket.close(1000, reason)).toThrow(/^close: reason must be at most 123 bytes/);
    client.send('alive');
    expect(await client.next()).toBe('alive');
  });

  test.each([
    ['ASCII', 'a'.repeat(123)],
    ['characters of two bytes', `a${'é'.repeat(61)}`],
    ['characters of three bytes', '€'.repeat(41)],
    ['emoji', `abc${'😀'.repeat(30)}`],
  ])('a reason of 123 bytes arrives whole: %s', async (_, reason) => {
    expect(Buffer.byteLength(reason)).toBe(123);
    const { client, socket, ends } = await pair();
    socket.close(1000, reason);
    expect(await client.closed).toEqual({ code: 1000, reason });
    expect(await ends.next()).toEqual({ code: 1000, reason });
  });

  test.each([
    ['a string as code', ['1000'], /^close: code must be a number, got "1000"/],
    ['null as code', [null], /^close: code must be a number, got null/],
    ['an object as code', [{}], /^close: code must be a number, got /],
    ['a bigint as code', [1000n], /^close: code must be a number, got /],
    ['a number as reason', [1000, 5], /^close: reason must be a string, got 5/],
    ['null as reason', [1000, null], /^close: reason must be a string, got null/],
    ['a Buffer as reason', [1000, Buffer.from('x')], /^close: reason must be a string, got /],
  ])('%s is a TypeError that says what is accepted', async (_, args, message) => {
    const { client, socket } = await pair({}, echo);
    const close = () => (socket.close as (...args: unknown[]) => void)(...args);
    expect(close).toThrow(TypeError);
    expect(close).toThrow(message);
    client.send('alive');
    expect(await client.next()).toBe('alive');
  });

  test('undefined is the default, for both', async () => {
    const { client, socket } = await pair();
    socket.close(undefined, undefined);
    expect(await client.closed).toEqual({ code: 1000, reason: '' });
  });

  test('a surrogate without its other half is U+FFFD to the client', async () => {
    const { client, socket } = await pair();
    socket.close(4000, 'a\ud800');
    expect(await client.closed).toEqual({ code: 4000, reason: 'a\ufffd' });
  });
});

test('a hundred connections that close in all ways at once each end once', async () => {
  const counts = new Map<WSConnection, number>();
  const over = deferred();
  let left = 100;
  const { port, sockets, plugin } = await serveRecorded({}, (socket) => {
    counts.set(socket, 0);
    socket.onClose(() => {
      counts.set(socket, (counts.get(socket) ?? 0) + 1);
      left -= 1;
      if (left === 0) over.resolve();
    });
  });
  const clients = await Promise.all(Array.from({ length: 100 }, () => rawUpgrade(port)));
  const servers: WSConnection[] = [];
  for (const _ of clients) servers.push(await sockets.next());
  clients.forEach((client, index) => {
    if (index % 2 === 0) servers[index]?.close(4000);
    if (index % 3 === 0) client.reset();
    else if (index % 3 === 1) client.socket.end();
    else client.write(frame(CLOSE, closePayload(4000)));
  });
  await over.promise;
  expect([...counts.values()]).toEqual(Array(100).fill(1));
  expect(plugin.getStats().totalConnections).toBe(0);
});
