/** RFC 6455 over raw sockets: what no well-behaved client sends, and what every client relies on. */
import { describe, expect, test } from 'vitest';
import { queue } from './support/events.js';
import { type End, echo, rawPair } from './support/pair.js';
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  closePayload,
  frame,
  PING,
  PONG,
  type RawClient,
  rawUpgrade,
  TEXT,
} from './support/raw.js';
import { serve } from './support/server.js';

/** Header of a masked frame with a length field of so many bits, and nothing behind it. */
function header(opcode: number, length: number | bigint, bits: 16 | 64, fin = true): Buffer {
  const bytes = Buffer.alloc(bits === 16 ? 8 : 14);
  bytes[0] = (fin ? 0x80 : 0) | opcode;
  bytes[1] = 0x80 | (bits === 16 ? 126 : 127);
  if (bits === 16) bytes.writeUInt16BE(Number(length), 2);
  else bytes.writeBigUInt64BE(BigInt(length), 2);
  return bytes;
}

/** A frame that has only begun to arrive: its header and `length` bytes of its payload. */
function begun(whole: Buffer, length: number): Buffer {
  const short = (whole[1] as number) & 0x7f;
  return whole.subarray(0, (short < 126 ? 6 : short === 126 ? 8 : 14) + length);
}

/** Reads the close frame that comes next, then waits until the server has ended the connection. */
async function closeFrameAndEnd(client: RawClient): Promise<End> {
  const { opcode, fin, rsv, masked, payload } = await client.frame();
  expect({ opcode, fin, rsv, masked }).toEqual({ opcode: CLOSE, fin: true, rsv: 0, masked: false });
  // Nothing may follow a close frame.
  expect(await client.end()).toEqual(Buffer.alloc(0));
  if (payload.length === 0) return { code: 1005, reason: '' };
  const reason = new TextDecoder('utf-8', { fatal: true }).decode(payload.subarray(2));
  return { code: payload.readUInt16BE(0), reason };
}

/** Sends `bytes` on a fresh connection and expects both sides to end with `code`. */
async function expectFailure(code: number, bytes: Buffer, options = {}): Promise<void> {
  const { client, ends, messages } = await rawPair(options);
  client.write(Buffer.concat([frame(TEXT, 'before'), bytes]));
  expect((await closeFrameAndEnd(client)).code).toBe(code);
  expect((await ends.next()).code).toBe(code);
  expect([await messages.next(), ...messages.waiting]).toEqual(['before']);
}

describe('a breach of the framing rules ends with 1002 on both sides', () => {
  const breaches: [string, Buffer][] = [
    ['a text frame without a mask', frame(TEXT, 'hello', { mask: false })],
    ['an empty frame without a mask', frame(BINARY, '', { mask: false })],
    ['a ping without a mask', frame(PING, 'hello', { mask: false })],
    ['a close frame without a mask', frame(CLOSE, closePayload(1000), { mask: false })],
    ['reserved bit 1', frame(TEXT, 'hello', { rsv: 4 })],
    ['reserved bit 2', frame(TEXT, 'hello', { rsv: 2 })],
    ['reserved bit 3', frame(TEXT, 'hello', { rsv: 1 })],
    ['a reserved bit in a ping', frame(PING, '', { rsv: 4 })],
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode): [string, Buffer] => [
      `reserved opcode ${opcode}`,
      frame(opcode, 'hello'),
    ]),
    ['a fragmented ping', frame(PING, 'hello', { fin: false })],
    ['a fragmented pong', frame(PONG, 'hello', { fin: false })],
    ['a fragmented close frame', frame(CLOSE, closePayload(1000), { fin: false })],
    ['a ping of 126 bytes', frame(PING, Buffer.alloc(126))],
    ['a pong of 126 bytes', frame(PONG, Buffer.alloc(126))],
    ['a close frame of 126 bytes', frame(CLOSE, closePayload(1000, 'x'.repeat(124)))],
    ['a ping of 65536 bytes', frame(PING, Buffer.alloc(65_536))],
    ['a continuation of nothing', frame(CONTINUATION, 'hello')],
    ['a first continuation of nothing', frame(CONTINUATION, 'hello', { fin: false })],
    [
      'a text frame inside of a fragmented message',
      Buffer.concat([frame(TEXT, 'a', { fin: false }), frame(TEXT, 'b')]),
    ],
    [
      'a binary frame inside of a fragmented message',
      Buffer.concat([frame(TEXT, 'a', { fin: false }), frame(BINARY, 'b', { fin: false })]),
    ],
    ['a length of 5 in 16 bits', Buffer.concat([header(TEXT, 5, 16), Buffer.alloc(5)])],
    ['a length of 125 in 16 bits', Buffer.concat([header(BINARY, 125, 16), Buffer.alloc(125)])],
    ['a length of 0 in 64 bits', header(TEXT, 0, 64)],
    ['a length of 126 in 64 bits', Buffer.concat([header(BINARY, 126, 64), Buffer.alloc(126)])],
    ['a length of 65535 in 64 bits', header(BINARY, 65_535, 64)],
    ['a length with its top bit set', header(BINARY, 1n << 63n, 64)],
  ];

  test.each(breaches)('%s', async (_, bytes) => {
    await expectFailure(1002, bytes);
  });

  test('a continuation behind a message that was complete', async () => {
    const { client, ends, messages } = await rawPair();
    client.write(frame(TEXT, 'a', { fin: false }));
    client.write(frame(CONTINUATION, 'b'));
    client.write(frame(CONTINUATION, 'c'));
    expect((await closeFrameAndEnd(client)).code).toBe(1002);
    expect((await ends.next()).code).toBe(1002);
    expect([await messages.next(), ...messages.waiting]).toEqual(['ab']);
  });

  test('also when it comes in one packet with the upgrade request', async () => {
    const ends = queue<End>();
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => socket.onClose((code, reason) => ends.push({ code, reason })));
    });
    const client = await rawUpgrade(port, '/ws', frame(TEXT, 'hello', { mask: false }));
    expect((await closeFrameAndEnd(client)).code).toBe(1002);
    expect((await ends.next()).code).toBe(1002);
  });

  test('the server says why, and its listener hears the same', async () => {
    const { client, ends } = await rawPair();
    client.write(frame(TEXT, 'hello', { mask: false }));
    const told = await closeFrameAndEnd(client);
    expect(told.reason).toMatch(/mask/);
    expect(await ends.next()).toEqual(told);
  });

  test('nothing that follows it is delivered', async () => {
    const { client, ends, messages } = await rawPair();
    client.write(Buffer.concat([frame(3), frame(TEXT, 'after'), frame(PING, 'after')]));
    expect((await closeFrameAndEnd(client)).code).toBe(1002);
    await ends.next();
    expect(messages.waiting).toEqual([]);
  });

  test('it harms no other connection', async () => {
    const { client, ends, port, messages } = await rawPair({}, echo);
    const other = await rawUpgrade(port);
    client.write(frame(3));
    await closeFrameAndEnd(client);
    await ends.next();
    other.write(frame(TEXT, 'hello'));
    expect(await messages.next()).toBe('hello');
    expect((await other.frame()).payload.toString()).toBe('hello');
  });
});

describe('text that is not UTF-8 ends with 1007 on both sides', () => {
  const invalid: [string, number[]][] = [
    ['a continuation byte alone', [0x80]],
    ['a byte that never occurs', [0xff]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['an overlong NUL', [0xe0, 0x80, 0x80]],
    ['an encoded surrogate', [0xed, 0xa0, 0x80]],
    ['a code point above U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
    ['a character without its end', [0xe2, 0x82]],
    ['a character cut by the next one', [0xe2, 0x82, 0x41]],
    ['an error behind a long valid part', [...Buffer.from('é'.repeat(100)), 0xc3]],
  ];

  test.each(invalid)('%s', async (_, bytes) => {
    await expectFailure(1007, frame(TEXT, Buffer.from(bytes)));
  });

  test.each(invalid)('%s, over fragments', async (_, bytes) => {
    const fragments = bytes.map((byte, index) =>
      frame(index === 0 ? TEXT : CONTINUATION, Buffer.from([byte]), { fin: false }),
    );
    await expectFailure(1007, Buffer.concat([...fragments, frame(CONTINUATION)]));
  });

  test('the same bytes are fine as binary', async () => {
    const { client, messages } = await rawPair();
    for (const [, bytes] of invalid) {
      client.write(frame(BINARY, Buffer.from(bytes)));
      expect(await messages.next()).toEqual(Buffer.from(bytes));
    }
  });

  test('in the first fragment already, without waiting for the last one', async () => {
    await expectFailure(1007, frame(TEXT, Buffer.from([0x61, 0xff]), { fin: false }));
  });

  test('in a later fragment already, without waiting for the last one', async () => {
    await expectFailure(
      1007,
      Buffer.concat([
        frame(TEXT, Buffer.from([0xe2, 0x82]), { fin: false }),
        frame(CONTINUATION, Buffer.from([0x41]), { fin: false }),
      ]),
    );
  });

  test('in a frame whose rest has not arrived', async () => {
    const payload = Buffer.alloc(1000, 'x');
    payload[10] = 0xff;
    await expectFailure(1007, begun(frame(TEXT, payload), 20));
  });

  test('in a continuation whose rest has not arrived', async () => {
    const payload = Buffer.alloc(1000, 'x');
    payload[0] = 0xbf;
    await expectFailure(
      1007,
      Buffer.concat([frame(TEXT, 'ok', { fin: false }), begun(frame(CONTINUATION, payload), 1)]),
    );
  });
});

describe('maxMessageSize', () => {
  const options = { maxMessageSize: 1000 };
  const tooLong: [string, Buffer][] = [
    ['one frame of one byte too much', header(BINARY, 1001, 16)],
    ['one text frame of one byte too much', header(TEXT, 1001, 16)],
    ['a first fragment that is too long', header(BINARY, 1001, 16, false)],
    ['a frame of a gigabyte', header(BINARY, 1 << 30, 64)],
    ['a frame of the largest length there is', header(BINARY, (1n << 63n) - 1n, 64)],
    [
      'two fragments that are too long together',
      Buffer.concat([
        frame(BINARY, Buffer.alloc(600), { fin: false }),
        header(CONTINUATION, 401, 16),
      ]),
    ],
    [
      'a fragment of the largest length behind another',
      Buffer.concat([
        frame(TEXT, 'x'.repeat(600), { fin: false }),
        header(CONTINUATION, (1n << 63n) - 1n, 64),
      ]),
    ],
    [
      'many small fragments',
      Buffer.concat([
        frame(TEXT, 'x'.repeat(100), { fin: false }),
        ...Array.from({ length: 9 }, () => frame(CONTINUATION, 'x'.repeat(100), { fin: false })),
        frame(CONTINUATION, 'x', { fin: false }).subarray(0, 6),
      ]),
    ],
  ];

  test.each(tooLong)('%s ends with 1009 before its payload is there', async (_, bytes) => {
    await expectFailure(1009, bytes, options);
  });

  test.each([
    ['text', TEXT, Buffer.alloc(1000, 'x')],
    ['binary', BINARY, Buffer.alloc(1000, 1)],
    ['text of fewer characters than bytes', TEXT, Buffer.from('é'.repeat(500))],
  ])('%s of exactly the limit passes, in one frame and in two', async (_, opcode, payload) => {
    const { client, messages } = await rawPair(options);
    client.write(frame(opcode, payload));
    expect(Buffer.from((await messages.next()) as string)).toEqual(payload);
    client.write(frame(opcode, payload.subarray(0, 600), { fin: false }));
    client.write(frame(CONTINUATION, payload.subarray(600)));
    expect(Buffer.from((await messages.next()) as string)).toEqual(payload);
  });

  test('bytes count, not characters', async () => {
    await expectFailure(1009, frame(TEXT, 'é'.repeat(501)), options);
  });

  test('each message counts by itself, and control frames do not', async () => {
    const { client, messages } = await rawPair(options);
    for (let index = 0; index < 3; index++) {
      client.write(frame(BINARY, Buffer.alloc(500), { fin: false }));
      for (let ping = 0; ping < 10; ping++) client.write(frame(PING, Buffer.alloc(125)));
      client.write(frame(CONTINUATION, Buffer.alloc(500)));
      expect(await messages.next()).toHaveLength(1000);
    }
  });

  test('a control frame may be longer than the limit', async () => {
    const { client } = await rawPair({ maxMessageSize: 1 });
    client.write(frame(PING, 'hello'));
    expect(await client.frame()).toMatchObject({ opcode: PONG, payload: Buffer.from('hello') });
  });

  test('is 1 MiB where nothing else is said', async () => {
    const { client, messages } = await rawPair();
    client.write(frame(BINARY, Buffer.alloc(1_048_576)));
    expect(await messages.next()).toHaveLength(1_048_576);
    client.write(header(BINARY, 1_048_577, 64));
    expect((await closeFrameAndEnd(client)).code).toBe(1009);
  });

  test('the limit is for what comes in, not for what is sent', async () => {
    const { client, socket } = await rawPair(options);
    socket.send('x'.repeat(5000));
    expect((await client.frame()).payload).toHaveLength(5000);
  });

  test('the server says which limit it was', async () => {
    const { client, ends } = await rawPair(options);
    client.write(header(BINARY, 1001, 16));
    const told = await closeFrameAndEnd(client);
    expect(told).toEqual({ code: 1009, reason: expect.stringContaining('maxMessageSize') });
    expect(await ends.next()).toEqual(told);
  });
});

describe('ping and pong', () => {
  test.each([
    ['nothing', Buffer.alloc(0)],
    ['text', Buffer.from('hello')],
    ['bytes that are not text', Buffer.from([0, 255, 128, 10])],
    ['125 bytes', Buffer.alloc(125, 7)],
  ])('a ping with %s is answered by a pong with the same', async (_, payload) => {
    const { client } = await rawPair();
    client.write(frame(PING, payload));
    expect(await client.frame()).toEqual({
      fin: true,
      rsv: 0,
      opcode: PONG,
      masked: false,
      payload,
    });
  });

  test('of several pings at once, the last one is answered at any rate', async () => {
    const { client } = await rawPair();
    client.write(Buffer.concat(['1', '2', '3'].map((payload) => frame(PING, payload))));
    let pong = await client.frame();
    while (pong.payload.toString() !== '3') pong = await client.frame();
    expect(pong.opcode).toBe(PONG);
  });

  test('a ping whose payload comes in pieces is answered once it is whole', async () => {
    const { client, messages } = await rawPair();
    const whole = frame(PING, 'hello');
    client.write(Buffer.concat([frame(TEXT, 'marker'), whole.subarray(0, 8)]));
    expect(await messages.next()).toBe('marker');
    client.write(whole.subarray(8));
    expect(await client.frame()).toMatchObject({ opcode: PONG, payload: Buffer.from('hello') });
  });

  test('pongs that nobody asked for change nothing', async () => {
    const { client, messages } = await rawPair({}, echo);
    client.write(
      Buffer.concat([frame(PONG), frame(PONG, Buffer.alloc(125)), frame(TEXT, 'hello')]),
    );
    expect(await messages.next()).toBe('hello');
    expect(await client.frame()).toMatchObject({ opcode: TEXT, payload: Buffer.from('hello') });
  });

  test('neither is a message to the listeners', async () => {
    const { client, messages } = await rawPair();
    client.write(Buffer.concat([frame(PING, 'a'), frame(PONG, 'b'), frame(TEXT, 'marker')]));
    expect([await messages.next(), ...messages.waiting]).toEqual(['marker']);
  });
});

describe('what the server sends', () => {
  test('is never masked, uses no reserved bit and the shortest length there is', async () => {
    const { client, socket, wsApp } = await rawPair();
    socket.ping();
    socket.send('text');
    socket.send(Buffer.alloc(200));
    socket.send(Buffer.alloc(70_000));
    wsApp.wsBroadcast('to all');
    client.write(frame(PING, 'pong me'));
    const opcodes: number[] = [];
    for (let index = 0; index < 6; index++) {
      const { opcode, masked, rsv, fin } = await client.frame();
      expect({ masked, rsv, fin }).toEqual({ masked: false, rsv: 0, fin: true });
      opcodes.push(opcode);
    }
    socket.close(4000, 'done');
    expect(await client.frame()).toMatchObject({ opcode: CLOSE, masked: false, rsv: 0 });
    expect(opcodes.sort((one, other) => one - other)).toEqual([
      TEXT,
      TEXT,
      BINARY,
      BINARY,
      PING,
      PONG,
    ]);
  });

  test.each([
    [0, 2],
    [125, 2],
    [126, 4],
    [65_535, 4],
    [65_536, 10],
  ])('%i bytes have a header of %i', async (length, expected) => {
    const { client, socket } = await rawPair();
    let bytes = 0;
    client.socket.on('data', (chunk) => {
      bytes += chunk.length;
    });
    socket.send(Buffer.alloc(length));
    expect((await client.frame()).payload).toHaveLength(length);
    expect(bytes).toBe(expected + length);
  });

  test('any mask is undone, the one of four zeros as well', async () => {
    const { client, messages } = await rawPair();
    client.write(
      Buffer.concat([Buffer.from([0x80 | TEXT, 0x85, 0, 0, 0, 0]), Buffer.from('plain')]),
    );
    expect(await messages.next()).toBe('plain');
    client.write(Buffer.from([0x80 | BINARY, 0x83, 255, 255, 255, 255, 0, 255, 1]));
    expect(await messages.next()).toEqual(Buffer.from([255, 0, 254]));
  });
});

describe('close frames', () => {
  test.each([
    ['a payload of one byte', 1002, Buffer.from([3])],
    ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map(
      (code): [string, number, Buffer] => [`code ${code}`, 1002, closePayload(code, 'x')],
    ),
    ['a reason that is not UTF-8', 1007, Buffer.from([3, 232, 0xff])],
    ['a reason with half a character', 1007, Buffer.from([3, 232, 0x61, 0xe2, 0x82])],
  ] as [string, number, Buffer][])('with %s end with %i', async (_, code, payload) => {
    await expectFailure(code, frame(CLOSE, payload));
  });

  test.each([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])(
    'with code %i are answered by the same and reported',
    async (code) => {
      const { client, ends } = await rawPair();
      client.write(frame(CLOSE, closePayload(code, 'why not €')));
      expect((await closeFrameAndEnd(client)).code).toBe(code);
      expect(await ends.next()).toEqual({ code, reason: 'why not €' });
    },
  );

  test('without a payload are answered without one, and are 1005 to the listener', async () => {
    const { client, ends } = await rawPair();
    client.write(frame(CLOSE));
    expect(await closeFrameAndEnd(client)).toEqual({ code: 1005, reason: '' });
    expect(await ends.next()).toEqual({ code: 1005, reason: '' });
  });

  test('with a reason of 123 bytes are fine', async () => {
    const { client, ends } = await rawPair();
    const reason = '€'.repeat(41);
    client.write(frame(CLOSE, closePayload(4000, reason)));
    expect((await closeFrameAndEnd(client)).code).toBe(4000);
    expect(await ends.next()).toEqual({ code: 4000, reason });
  });

  test('what follows one is ignored, be it ever so wrong', async () => {
    const { client, ends, messages } = await rawPair({}, echo);
    client.write(
      Buffer.concat([
        frame(TEXT, 'before'),
        frame(CLOSE, closePayload(4001, 'bye')),
        frame(TEXT, 'after'),
        frame(PING, 'after'),
        frame(CLOSE, closePayload(4002)),
        frame(3, 'nonsense', { mask: false }),
      ]),
    );
    expect(await ends.next()).toEqual({ code: 4001, reason: 'bye' });
    expect([await messages.next(), ...messages.waiting]).toEqual(['before']);
    expect(ends.waiting).toEqual([]);
    const frames = [await client.frame()];
    while (frames.at(-1)?.opcode !== CLOSE) frames.push(await client.frame());
    expect(frames.at(-1)?.payload.readUInt16BE(0)).toBe(4001);
    expect(await client.end()).toEqual(Buffer.alloc(0));
  });

  test('in the middle of a fragmented message end the connection all the same', async () => {
    const { client, ends, messages } = await rawPair();
    client.write(frame(TEXT, 'begun', { fin: false }));
    client.write(frame(CLOSE, closePayload(1000)));
    expect((await closeFrameAndEnd(client)).code).toBe(1000);
    expect(await ends.next()).toEqual({ code: 1000, reason: '' });
    expect(messages.waiting).toEqual([]);
  });
});
