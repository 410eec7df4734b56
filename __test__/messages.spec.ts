import { once } from 'node:events';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import type { WSSocket } from '../index.js';
import { connect } from './support/client.js';
import { queue } from './support/events.js';
import { fetchFrom } from './support/http.js';
import { echo, pair, rawPair, serveRecorded } from './support/pair.js';
import { BINARY, CONTINUATION, frame, PING, PONG, TEXT } from './support/raw.js';
import { serve } from './support/server.js';
import { until } from './support/until.js';

/** Text of so many bytes, in which no two neighbourhoods look alike. */
function textOf(length: number): string {
  let text = '';
  for (let index = 0; text.length < length; index++) text += `${index},`;
  return text.slice(0, length);
}

/** Bytes of every value, in which no two neighbourhoods look alike. */
function bytesOf(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + (index >> 8)) & 255;
  return bytes;
}

/** Numbers in the order of the messages that carry them. */
function inOrder(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

test('text comes as a string and binary as a Buffer, and both go back as they came', async () => {
  const kinds: string[] = [];
  const { url } = await serve({}, ({ wsApp }) => {
    wsApp.ws('/echo', (socket) => {
      socket.onMessage((data) => {
        kinds.push(Buffer.isBuffer(data) ? 'Buffer' : typeof data);
        socket.send(data);
      });
    });
  });
  const client = await connect(url('/echo'));
  client.send('héllo €');
  expect(await client.next()).toBe('héllo €');
  client.send(Buffer.from([0, 255, 1]));
  expect(await client.next()).toEqual(Buffer.from([0, 255, 1]));
  expect(kinds).toEqual(['string', 'Buffer']);
});

describe('lengths', () => {
  const lengths = [0, 1, 125, 126, 127, 4095, 4096, 16_384, 65_535, 65_536, 65_537, 1_048_576];

  test.each(lengths)('a text of %i bytes arrives whole in both directions', async (length) => {
    const { client, socket, messages } = await pair();
    const text = textOf(length);
    client.send(text);
    expect((await messages.next()) === text).toBe(true);
    socket.send(text);
    expect((await client.next()) === text).toBe(true);
  });

  test.each(lengths)('%i bytes of binary arrive whole in both directions', async (length) => {
    const { client, socket, messages } = await pair();
    const bytes = bytesOf(length);
    client.send(bytes);
    const received = await messages.next();
    expect(Buffer.isBuffer(received) && received.equals(bytes)).toBe(true);
    socket.send(bytes);
    const sent = await client.next();
    expect(Buffer.isBuffer(sent) && sent.equals(bytes)).toBe(true);
  });

  test('an empty text is an empty string, not an empty Buffer', async () => {
    const { client, messages } = await pair({}, echo);
    client.send('');
    expect(await messages.next()).toBe('');
    expect(await client.next()).toBe('');
  });

  test('an empty binary message is an empty Buffer, alone and between others', async () => {
    const { client, messages } = await rawPair({}, echo);
    client.write(frame(BINARY));
    expect(await messages.next()).toEqual(Buffer.alloc(0));
    expect(await client.frame()).toMatchObject({ opcode: BINARY, payload: Buffer.alloc(0) });
    client.write(
      Buffer.concat([frame(BINARY), frame(BINARY, 'a'), frame(BINARY), frame(TEXT, 'b')]),
    );
    for (const expected of [Buffer.alloc(0), Buffer.from('a'), Buffer.alloc(0), 'b']) {
      expect(await messages.next()).toEqual(expected);
      expect((await client.frame()).payload).toEqual(Buffer.from(expected));
    }
  });

  test('a client that sends an empty binary message harms no other client', async () => {
    const { url } = await serveRecorded({}, echo);
    const one = await connect(url());
    const other = await connect(url());
    one.send(Buffer.alloc(0));
    other.send('still there?');
    expect(await other.next()).toBe('still there?');
    expect(await one.next()).toEqual(Buffer.alloc(0));
  });

  test.each([
    ['one', 'x'],
    ['two', 'é'],
    ['three', '€'],
    ['four', '😀'],
  ])('texts of characters of %s bytes are not cut at any length', async (_, character) => {
    const { client } = await pair({}, echo);
    const texts: string[] = [];
    const size = Buffer.byteLength(character);
    for (const limit of [125, 4096, 8192, 8192 * size, 65_536]) {
      const about = Math.round(limit / size);
      for (let count = about - 8; count <= about + 8; count++) {
        texts.push(character.repeat(Math.max(count, 0)), `a${character.repeat(count)}`);
      }
    }
    for (const text of texts) client.send(text);
    for (const text of texts) expect((await client.next()) === text).toBe(true);
  });
});

describe('text', () => {
  test('characters of every script and emoji survive both directions', async () => {
    const { client, messages } = await pair({}, echo);
    const text = 'a\u0000\u007f\u0080ß§Ωж漢字\uffff\u{10000}👩‍👩‍👧‍👦🇪🇺\u{10ffff}\u2028\r\n';
    client.send(text);
    expect(await messages.next()).toBe(text);
    expect(await client.next()).toBe(text);
  });

  test('a byte order mark is part of the message', async () => {
    const { client, messages } = await pair();
    client.send('\ufeffx');
    expect(await messages.next()).toBe('\ufeffx');
  });

  test.each([
    ['a high one alone', '\ud83d', '\ufffd'],
    ['a low one alone', '\ude00', '\ufffd'],
    ['one at the end', 'abc\ud83d', 'abc\ufffd'],
    ['one in the middle', 'a\udc00b', 'a\ufffdb'],
    ['two in the wrong order', '\ude00\ud83d', '\ufffd\ufffd'],
    ['a high one before a pair', '\ud83d\ud83d\ude00', '\ufffd😀'],
    ['one in a long text', `${'x'.repeat(9000)}\ud83dy`, `${'x'.repeat(9000)}\ufffdy`],
  ])('a surrogate without its other half is sent as U+FFFD: %s', async (_, sent, received) => {
    const { client, socket, wsApp } = await pair();
    socket.send(sent);
    expect(await client.next()).toBe(received);
    wsApp.wsBroadcast(sent);
    expect(await client.next()).toBe(received);
  });

  test('an emoji is whole although its halves were put together from two strings', async () => {
    const { client, socket } = await pair();
    const halves = [`${'left '.repeat(10)}\ud83d`, `\ude00${' right'.repeat(10)}`];
    socket.send(`${halves[0]}${halves[1]}`);
    expect(await client.next()).toBe(halves.join(''));
  });
});

describe('binary', () => {
  const { buffer } = Uint8Array.from([9, 9, 1, 2, 3, 4, 9, 9]);
  const forms: [string, unknown][] = [
    ['a Buffer', Buffer.from([1, 2, 3, 4])],
    ['a Buffer that is a slice', Buffer.from(buffer, 2, 4)],
    ['a Uint8Array', Uint8Array.from([1, 2, 3, 4])],
    ['a Uint8Array with an offset', new Uint8Array(buffer, 2, 4)],
    ['an ArrayBuffer', Uint8Array.from([1, 2, 3, 4]).buffer],
    ['a DataView with an offset', new DataView(buffer, 2, 4)],
    ['a Uint16Array with an offset', new Uint16Array(buffer, 2, 2)],
  ];

  test.each(forms)('%s is sent as the bytes that it shows', async (_, data) => {
    const { client, socket } = await pair();
    socket.send(data as Buffer);
    expect(await client.next()).toEqual(Buffer.from([1, 2, 3, 4]));
  });

  test.each([
    ['Buffer', Buffer.alloc(0)],
    ['ArrayBuffer', new ArrayBuffer(0)],
    ['view at the end of its memory', new Uint8Array(buffer, 8, 0)],
  ])('an empty %s is an empty binary message', async (_, data) => {
    const { client, socket } = await pair();
    socket.send(data);
    expect(await client.next()).toEqual(Buffer.alloc(0));
  });

  test.each([10, 5000, 20_000, 200_000])(
    'send copies: %i bytes changed right after it arrive as they were',
    async (length) => {
      const { client, socket, url, sockets } = await pair();
      await connect(url());
      const other = await sockets.next();
      socket.join('room');
      const bytes = Buffer.alloc(length, 1);
      socket.send(bytes);
      bytes.fill(2);
      other.broadcast('room', bytes);
      bytes.fill(3);
      expect(((await client.next()) as Buffer).equals(Buffer.alloc(length, 1))).toBe(true);
      expect(((await client.next()) as Buffer).equals(Buffer.alloc(length, 2))).toBe(true);
    },
  );

  test('received messages share no bytes, however small they are', async () => {
    const { client, messages } = await rawPair();
    const frames = inOrder(100).map((index) => frame(BINARY, Buffer.alloc(8, index)));
    client.write(Buffer.concat(frames));
    const received: Buffer[] = [];
    for (const _ of frames) received.push((await messages.next()) as Buffer);
    for (const message of received.filter((_, index) => index % 2 === 0)) message.fill(255);
    received.forEach((message, index) => {
      expect(message).toEqual(Buffer.alloc(8, index % 2 === 0 ? 255 : index));
    });
  });

  test('a received message keeps its bytes while thousands of others come', async () => {
    const { client, messages } = await pair();
    client.send(Buffer.from('keep me'));
    client.send(bytesOf(10_000));
    const small = await messages.next();
    const large = await messages.next();
    for (let index = 0; index < 5000; index++) client.send(Buffer.alloc(50, index));
    for (let index = 0; index < 5000; index++) {
      expect(await messages.next()).toEqual(Buffer.alloc(50, index));
    }
    expect(small).toEqual(Buffer.from('keep me'));
    expect(large).toEqual(bytesOf(10_000));
  });
});

describe('order', () => {
  test('thousands of messages of one client arrive in the order in which it sent them', async () => {
    const { client, messages } = await pair({}, echo);
    for (let index = 0; index < 5000; index++) client.send(`${index}`);
    for (let index = 0; index < 5000; index++) {
      expect(await messages.next()).toBe(`${index}`);
      expect(await client.next()).toBe(`${index}`);
    }
  });

  test('text and binary, short and long, keep their order among each other', async () => {
    const { client } = await pair({}, echo);
    const lengths = [3, 200, 5000, 9000, 20_000, 70_000];
    const sent = inOrder(600).map((index) => {
      const text = `${index}:${'x'.repeat(lengths[index % lengths.length] as number)}`;
      return index % 4 < 2 ? text : Buffer.from(text);
    });
    for (const message of sent) client.send(message);
    for (const message of sent) {
      const received = await client.next();
      expect(typeof received).toBe(typeof message);
      expect(received.toString() === message.toString()).toBe(true);
    }
  });

  test('sends from ticks, promises, timers and listeners leave in the order of the calls', async () => {
    const calls: string[] = [];
    const { client } = await pair({}, (socket) => {
      const send = (text: string) => {
        calls.push(text);
        socket.send(text);
      };
      socket.onMessage(() => {
        send('listener');
        process.nextTick(() => send('tick'));
        queueMicrotask(() => send('microtask'));
        setImmediate(() => send('immediate'));
        setTimeout(() => {
          send('timer');
          Promise.resolve().then(() => send('promise of the timer'));
          process.nextTick(() => {
            send('tick of the timer');
            setImmediate(() => send('last'));
          });
        });
        send('listener again');
      });
    });
    client.send('go');
    const received: unknown[] = [];
    do received.push(await client.next());
    while (received.at(-1) !== 'last' || received.length < 9);
    expect(received).toHaveLength(9);
    expect(received).toEqual(calls);
  });

  test('direct sends and broadcasts of all kinds reach a connection in the order of the calls', async () => {
    const { client, socket, wsApp, url, sockets } = await pair();
    await connect(url());
    const other = await sockets.next();
    for (const member of [socket, other]) member.join('room');
    const sent: string[] = [];
    for (let index = 0; index < 2000; index++) {
      const text = `${index}:${'x'.repeat(index % 7 === 0 ? 9000 : 10)}`;
      sent.push(text);
      if (index % 5 === 0) socket.send(text);
      else if (index % 5 === 1) wsApp.wsBroadcast(text, 'room');
      else if (index % 5 === 2) wsApp.wsBroadcast(text);
      else if (index % 5 === 3) other.broadcast('room', text);
      else socket.send(Buffer.from(text));
    }
    for (const text of sent) expect((await client.next()).toString() === text).toBe(true);
    socket.send('marker');
    expect(await client.next()).toBe('marker');
  });

  test('a hundred clients at once get their own answers only, each in order', async () => {
    const { url } = await serveRecorded({}, echo);
    const clients = await Promise.all(inOrder(100).map(() => connect(url())));
    for (let index = 0; index < 50; index++) {
      clients.forEach((client, number) => {
        client.send(`${number}/${index}`);
      });
    }
    await Promise.all(
      clients.map(async (client, number) => {
        for (let index = 0; index < 50; index++) {
          expect(await client.next()).toBe(`${number}/${index}`);
        }
      }),
    );
    expect(clients.flatMap(({ waiting }) => waiting)).toEqual([]);
  });
});

describe('fragments', () => {
  test('a message in fragments is one message, and pings between them are answered at once', async () => {
    const { client, messages } = await rawPair({}, echo);
    client.write(frame(TEXT, 'one ', { fin: false }));
    client.write(frame(PING, 'first'));
    expect(await client.frame()).toMatchObject({ opcode: PONG, payload: Buffer.from('first') });
    client.write(frame(CONTINUATION, 'two ', { fin: false }));
    client.write(frame(PONG, 'unasked'));
    client.write(frame(PING, 'second'));
    expect(await client.frame()).toMatchObject({ opcode: PONG, payload: Buffer.from('second') });
    client.write(frame(CONTINUATION, 'three'));
    expect(await messages.next()).toBe('one two three');
    expect(await client.frame()).toMatchObject({
      opcode: TEXT,
      payload: Buffer.from('one two three'),
    });
    client.write(frame(TEXT, 'next'));
    expect(await messages.next()).toBe('next');
  });

  test('the same holds for binary, and for fragments that are empty', async () => {
    const { client, messages } = await rawPair();
    client.write(
      Buffer.concat([
        frame(BINARY, '', { fin: false }),
        frame(CONTINUATION, Buffer.from([1, 2]), { fin: false }),
        frame(PING),
        frame(CONTINUATION, '', { fin: false }),
        frame(CONTINUATION, Buffer.from([3])),
        frame(TEXT, '', { fin: false }),
        frame(CONTINUATION),
      ]),
    );
    expect(await messages.next()).toEqual(Buffer.from([1, 2, 3]));
    expect(await messages.next()).toBe('');
  });

  test('a message of thousands of fragments is put together', async () => {
    const { client, messages } = await rawPair();
    const bytes = bytesOf(5000);
    client.write(
      Buffer.concat(
        [...bytes].map((byte, index) =>
          frame(index === 0 ? BINARY : CONTINUATION, Buffer.from([byte]), { fin: index === 4999 }),
        ),
      ),
    );
    expect(await messages.next()).toEqual(bytes);
  });

  test('a character may be split over fragments at any of its bytes', async () => {
    const { client, messages } = await rawPair();
    const bytes = Buffer.from('é€😀');
    for (let cut = 0; cut <= bytes.length; cut++) {
      client.write(frame(TEXT, bytes.subarray(0, cut), { fin: false }));
      client.write(frame(CONTINUATION, bytes.subarray(cut)));
      expect(await messages.next()).toBe('é€😀');
    }
  });

  test('frames that come byte by byte are as good as any', async () => {
    const { client, messages } = await rawPair({}, echo);
    client.socket.setNoDelay(true);
    const bytes = Buffer.concat([
      frame(TEXT, 'sl', { fin: false }),
      frame(PING, '!'),
      frame(CONTINUATION, 'ow €'),
      frame(BINARY, bytesOf(300)),
    ]);
    for (const byte of bytes) {
      await new Promise((resolve) => client.socket.write(Buffer.from([byte]), resolve));
    }
    expect(await messages.next()).toBe('slow €');
    expect(await messages.next()).toEqual(bytesOf(300));
  });
});

describe('listeners', () => {
  test('several listeners are each called for every message, in the order of their adding', async () => {
    // Without a recorder, which would be the first listener of them all.
    const calls = queue<string>();
    const { url } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => {
        for (const name of ['first', 'second', 'third']) {
          socket.onMessage((data) => calls.push(`${name} ${data}`));
        }
      });
    });
    const client = await connect(url());
    client.send('a');
    client.send('b');
    for (const data of ['a', 'b']) {
      for (const name of ['first', 'second', 'third']) {
        expect(await calls.next()).toBe(`${name} ${data}`);
      }
    }
    expect(calls.waiting).toEqual([]);
  });

  test('a listener added later gets what comes later', async () => {
    const { client, messages, socket } = await pair();
    const late: unknown[] = [];
    client.send('before');
    await messages.next();
    socket.onMessage((data) => late.push(data));
    client.send('after');
    await messages.next();
    expect(late).toEqual(['after']);
  });

  test('an async listener sends after what it awaited', async () => {
    const { client } = await pair({}, (socket) => {
      socket.onMessage((async (data: string) => {
        await new Promise((resolve) => setImmediate(resolve));
        socket.send(`${data} later`);
        await Promise.resolve();
        socket.send(`${data} at last`);
      }) as (data: string | Buffer) => void);
    });
    client.send('a');
    expect([await client.next(), await client.next()]).toEqual(['a later', 'a at last']);
  });

  test.each([[undefined], [null], ['text'], [{}]])(
    'onMessage(%j) is a TypeError that says what is accepted',
    async (listener) => {
      const { socket } = await pair();
      expect(() => socket.onMessage(listener as never)).toThrow(TypeError);
      expect(() => socket.onMessage(listener as never)).toThrow(/onMessage.*listener.*function/);
    },
  );
});

describe('send', () => {
  test.each([
    ['nothing', undefined, 'undefined'],
    ['null', null, 'null'],
    ['a number', 42, '42'],
    ['a boolean', true, 'true'],
    ['a bigint', 1n, 'bigint'],
    ['a symbol', Symbol('s'), 'symbol'],
    ['a function', () => {}, 'function'],
    ['a plain object', { a: 1 }, 'an object'],
    ['an array', [1, 2], 'an array'],
    ['a promise', Promise.resolve('x'), 'Promise'],
    ['a String object', new String('x'), 'String'],
    ['an object without a prototype', Object.create(null), 'an object'],
  ])(
    'of %s is a TypeError that names the method, the types and the value',
    async (_, data, got) => {
      const { client, socket } = await pair();
      const send = () => socket.send(data as string);
      expect(send).toThrow(TypeError);
      expect(send).toThrow(/^send: data must be a string, Buffer, Uint8Array or ArrayBuffer, got /);
      expect(send).toThrow(got);
      socket.send('alive');
      expect(await client.next()).toBe('alive');
    },
  );

  test.each<[string, () => unknown]>([
    ['a Proxy of a Buffer, which has no bytes of its own', () => new Proxy(Buffer.from('x'), {})],
    [
      'an object that calls itself an ArrayBuffer',
      () => ({ [Symbol.toStringTag]: 'ArrayBuffer', byteLength: 4 }),
    ],
    ['an object with the prototype of a Buffer', () => Object.create(Buffer.prototype)],
    ['memory that is shared with other threads', () => new SharedArrayBuffer(4)],
    ['a view of shared memory', () => new Uint8Array(new SharedArrayBuffer(4))],
    ['a Buffer of shared memory', () => Buffer.from(new SharedArrayBuffer(4))],
    ['a DataView of shared memory', () => new DataView(new SharedArrayBuffer(4))],
  ])('of %s is a TypeError, as is a broadcast of it', async (_name, make) => {
    const { client, socket, wsApp } = await pair();
    const data = make() as Buffer;
    expect(() => socket.send(data)).toThrow(TypeError);
    expect(() => socket.broadcast('room', data)).toThrow(TypeError);
    expect(() => wsApp.wsBroadcast(data as unknown as string)).toThrow(TypeError);
    socket.send('alive');
    expect([await client.next(), ...client.waiting]).toEqual(['alive']);
  });

  test.each<[string, () => unknown]>([
    ['an ArrayBuffer', () => new Uint8Array([1, 2, 3, 4]).buffer],
    ['a DataView', () => new DataView(new Uint8Array([0, 1, 2, 3, 4]).buffer, 1)],
    ['a typed array of wider elements', () => new Uint16Array([0x201, 0x403])],
    ['a subclass of Buffer', () => new (class extends Uint8Array {})([1, 2, 3, 4])],
    ['a Uint8Array of another realm', () => runInNewContext('new Uint8Array([1, 2, 3, 4])')],
    [
      'an ArrayBuffer of another realm',
      () => runInNewContext('new Uint8Array([1, 2, 3, 4]).buffer'),
    ],
  ])('of %s sends a copy of its bytes', async (_name, make) => {
    const { client, socket, wsApp } = await pair();
    const data = make() as Uint8Array;
    socket.send(data);
    wsApp.wsBroadcast(data as unknown as string);
    new Uint8Array(ArrayBuffer.isView(data) ? data.buffer : data).fill(0);
    for (let count = 0; count < 2; count++) {
      expect(await client.next()).toEqual(Buffer.from([1, 2, 3, 4]));
    }
  });

  test('after close does nothing, and the client gets what was sent before', async () => {
    const { client, socket, ends } = await pair();
    socket.send('before');
    socket.close();
    socket.send('after');
    socket.send(Buffer.from('after'));
    expect(await client.closed).toEqual({ code: 1000, reason: '' });
    await ends.next();
    socket.send('long after');
    expect([await client.next(), ...client.waiting]).toEqual(['before']);
  });

  test('a handle that was kept never reaches the connection that came after it', async () => {
    const { client, socket, ends, url, sockets, wsApp } = await pair();
    client.close();
    await ends.next();
    const later = await connect(url());
    const fresh = await sockets.next();
    fresh.join('room');
    socket.send('for somebody else');
    socket.send(Buffer.from('for somebody else'));
    socket.leave('room');
    socket.ping();
    socket.close(4000, 'not you');
    wsApp.wsBroadcast('hello', 'room');
    expect(await later.next()).toBe('hello');
    fresh.send('marker');
    expect([await later.next(), ...later.waiting]).toEqual(['marker']);
  });

  test('works from anywhere in the process, long after the handler', async () => {
    const { client, socket, server, app, port } = await pair();
    app.get('/tell', (ctx) => {
      socket.send('from HTTP');
      ctx.res.json({ listening: server.listening });
    });
    await fetchFrom(port, '/tell');
    expect(await client.next()).toBe('from HTTP');
  });
});

describe('bufferedAmount', () => {
  test('is 0 at rest, grows for a client that does not read, and returns to 0', async () => {
    const { client, socket } = await pair({ maxBackpressure: Number.POSITIVE_INFINITY });
    await until(() => socket.bufferedAmount === 0);
    client.ws.pause();
    const megabyte = bytesOf(1 << 20);
    let sent = 0;
    // The kernel takes some of it; more than that stays.
    for (; sent < 40; sent++) socket.send(megabyte);
    await settled(socket);
    const before = socket.bufferedAmount;
    expect(before).toBeGreaterThan(megabyte.length);
    socket.send(megabyte);
    sent += 1;
    expect(socket.bufferedAmount).toBeGreaterThan(before);
    client.ws.resume();
    for (let index = 0; index < sent; index++) {
      expect(((await client.next()) as Buffer).equals(megabyte)).toBe(true);
    }
    await until(() => socket.bufferedAmount === 0);
  });

  test('counts what was sent before a word of it has left', async () => {
    const { socket } = await pair();
    await until(() => socket.bufferedAmount === 0);
    socket.send('x'.repeat(1000));
    expect(socket.bufferedAmount).toBeGreaterThanOrEqual(1000);
  });

  test('is 0 once the connection has ended', async () => {
    const { client, socket, ends } = await pair({ maxBackpressure: Number.POSITIVE_INFINITY });
    client.ws.pause();
    for (let index = 0; index < 40; index++) socket.send(bytesOf(1 << 20));
    client.ws.terminate();
    await ends.next();
    expect(socket.bufferedAmount).toBe(0);
  });

  test('counts nothing for a send that was refused', async () => {
    const { socket } = await pair();
    await until(() => socket.bufferedAmount === 0);
    expect(() => socket.send(5 as never)).toThrow(TypeError);
    expect(socket.bufferedAmount).toBe(0);
  });
});

/** Resolves once what the kernel takes of a queue has been taken. */
async function settled(socket: WSSocket): Promise<void> {
  let before: number;
  do {
    before = socket.bufferedAmount;
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve));
  } while (socket.bufferedAmount !== before);
}

test('messages in both directions at once do not get into each other', async () => {
  const { client, socket, messages } = await pair();
  const total = 2000;
  for (let index = 0; index < total; index++) {
    client.send(`up ${index}`);
    socket.send(`down ${index}`);
    if (index % 100 === 0) await once(client.ws, 'message');
  }
  for (let index = 0; index < total; index++) {
    expect(await messages.next()).toBe(`up ${index}`);
    expect(await client.next()).toBe(`down ${index}`);
  }
});
