import { once } from 'node:events';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import {
  WebSocketPlugin,
  type WebSocketPluginOptions,
  type WSConnection,
  type WSSocket,
} from '../index.js';
import { connect } from './support/client.js';
import { answerTo } from './support/http.js';
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  frame,
  PING,
  PONG,
  type RawClient,
  rawConnect,
  rawUpgrade,
  TEXT,
  upgradeRequest,
} from './support/raw.js';
import { serve } from './support/server.js';

const TAIL = Buffer.from([0, 0, 0xff, 0xff]);

const inflate = (payload: Buffer) =>
  inflateRawSync(Buffer.concat([payload, TAIL]), { finishFlush: 2 });

/** A message as permessage-deflate sends it: without the end of the flush. */
function deflate(data: string | Buffer): Buffer {
  const whole = deflateRawSync(data, { finishFlush: 2 });
  return whole.subarray(0, whole.length - 4);
}

function echo(options: WebSocketPluginOptions = {}) {
  return serve({ perMessageDeflate: true, ...options }, ({ wsApp }) => {
    wsApp.ws('/ws', (socket) => socket.onMessage((data) => socket.send(data)));
    wsApp.ws('/room', (socket) => {
      socket.join('room');
      socket.onMessage((data) => wsApp.wsBroadcast(data.toString(), 'room'));
    });
  });
}

/** A raw connection with an offer, and what the server answered to it. */
async function offer(port: number, extensions: string, path = '/ws') {
  const client = await rawConnect(port);
  client.write(upgradeRequest(path, { 'Sec-WebSocket-Extensions': extensions }));
  const head = await client.head();
  const answer = /^sec-websocket-extensions: (.*)$/im.exec(head)?.[1] ?? null;
  return { client, head, answer };
}

/** Text that compresses well. */
const prose = (length: number) =>
  'the quick brown fox '.repeat(Math.ceil(length / 20)).slice(0, length);

describe('negotiation', () => {
  test.each<[WebSocketPluginOptions['perMessageDeflate'], string, string | null]>([
    [false, 'permessage-deflate', null],
    [true, 'permessage-deflate; client_max_window_bits', 'permessage-deflate'],
    [true, 'x-other, permessage-deflate', 'permessage-deflate'],
    [
      true,
      'permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits=9',
      'permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits=9',
    ],
    [
      { serverNoContextTakeover: true, clientNoContextTakeover: true, serverMaxWindowBits: 11 },
      'permessage-deflate',
      'permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11',
    ],
    [{ clientMaxWindowBits: 10 }, 'permessage-deflate', null],
    [
      { clientMaxWindowBits: 10 },
      'permessage-deflate; client_max_window_bits',
      'permessage-deflate; client_max_window_bits=10',
    ],
    [true, 'permessage-deflate; unknown=1', null],
    [true, 'permessage-deflate; server_max_window_bits=8', null],
  ])('%j answers %j with %j', async (perMessageDeflate, extensions, expected) => {
    const { port } = await echo({ perMessageDeflate });
    expect((await offer(port, extensions)).answer).toBe(expected);
  });

  test('a malformed header is a 400', async () => {
    const { port } = await echo();
    expect((await offer(port, 'permessage-deflate; =')).head).toMatch(/^HTTP\/1\.1 400 /);
  });
});

describe('messages', () => {
  test('come compressed and go compressed: RSV1 is set and the bytes on the wire shrink', async () => {
    const { port } = await echo();
    const { client } = await offer(port, 'permessage-deflate');
    const text = prose(20_000);
    const compressed = deflate(text);
    client.write(frame(TEXT, compressed, { rsv: 4 }));
    const answer = await client.frame();
    expect(answer).toMatchObject({ fin: true, rsv: 4, opcode: TEXT, masked: false });
    expect(answer.payload.length).toBeLessThan(text.length / 20);
    expect(inflate(answer.payload).toString()).toBe(text);
  });

  test('under the threshold go as they are', async () => {
    const { port } = await echo({ perMessageDeflate: { threshold: 100 } });
    const { client } = await offer(port, 'permessage-deflate');
    client.write(frame(TEXT, prose(99)));
    expect(await client.frame()).toMatchObject({ rsv: 0, payload: Buffer.from(prose(99)) });
    client.write(frame(TEXT, prose(100)));
    const answer = await client.frame();
    expect(answer.rsv).toBe(4);
    expect(inflate(answer.payload).toString()).toBe(prose(100));
    client.write(frame(BINARY, ''));
    expect(await client.frame()).toMatchObject({ rsv: 0, payload: Buffer.alloc(0) });
  });

  test('share a context with earlier ones, unless it was agreed that they do not', async () => {
    const { port } = await echo({ perMessageDeflate: { threshold: 0 } });
    const text = Array.from({ length: 500 }, (_, index) => (index * 7919) % 1000).join();
    const lengths = async (client: RawClient) => {
      const found: number[] = [];
      for (let round = 0; round < 2; round++) {
        client.write(frame(TEXT, text));
        found.push((await client.frame()).payload.length);
      }
      return found as [number, number];
    };
    const keeping = await lengths((await offer(port, 'permessage-deflate')).client);
    expect(keeping[1]).toBeLessThan(keeping[0] / 10);
    const extensions = 'permessage-deflate; server_no_context_takeover';
    const forgetting = await lengths((await offer(port, extensions)).client);
    expect(forgetting[1]).toBe(forgetting[0]);
  });

  test('of every size and kind survive, with an independent client on the other side', async () => {
    const { url } = await echo();
    const client = await connect(url(), { perMessageDeflate: { threshold: 0 } });
    for (const size of [0, 1, 125, 126, 1023, 1024, 65_535, 65_536, 500_000]) {
      client.send(prose(size));
      expect(await client.next()).toBe(prose(size));
      const binary = Buffer.from(Array.from({ length: size }, (_, index) => (index * index) >> 3));
      client.send(binary);
      expect((await client.next()).equals(binary)).toBe(true);
    }
  });

  test('of no bytes at all are delivered without waiting for more', async () => {
    const { port } = await echo();
    const { client } = await offer(port, 'permessage-deflate');
    client.write(frame(TEXT, '', { rsv: 4 }));
    expect(await client.frame()).toMatchObject({ opcode: TEXT, payload: Buffer.alloc(0) });
    client.write(frame(TEXT, '', { rsv: 4, fin: false }));
    client.write(frame(CONTINUATION, ''));
    expect(await client.frame()).toMatchObject({ opcode: TEXT, payload: Buffer.alloc(0) });
    client.write(frame(TEXT, deflate('hello'), { rsv: 4 }));
    expect((await client.frame()).payload.toString()).toBe('hello');
  });

  test('may end with a final block and nothing behind it, before others of any kind', async () => {
    const { port } = await echo();
    const { client } = await offer(port, 'permessage-deflate');
    const final = deflateRawSync('final');
    for (const payload of [final, deflate('flushed'), final, final, deflate('flushed')]) {
      client.write(frame(TEXT, payload, { rsv: 4 }));
      const { payload: answer } = await client.frame();
      expect(answer.toString()).toBe(payload === final ? 'final' : 'flushed');
    }
    client.write(frame(TEXT, final.subarray(0, 3), { rsv: 4, fin: false }));
    client.write(frame(CONTINUATION, final.subarray(3), { fin: false }));
    client.write(frame(CONTINUATION, ''));
    expect((await client.frame()).payload.toString()).toBe('final');
  });

  test('may be fragmented, with control frames in between', async () => {
    const { port } = await echo({ perMessageDeflate: { threshold: 1_000_000 } });
    const { client } = await offer(port, 'permessage-deflate');
    const compressed = deflate(prose(3000));
    client.write(frame(TEXT, compressed.subarray(0, 5), { fin: false, rsv: 4 }));
    client.write(frame(PING, 'p'));
    client.write(frame(CONTINUATION, compressed.subarray(5)));
    expect(await client.frame()).toMatchObject({ opcode: PONG });
    expect((await client.frame()).payload.toString()).toBe(prose(3000));
  });
});

describe('what is wrong', () => {
  test.each(['', ',', ' , ', ';', 'permessage-deflate;', 'a b'])(
    'the malformed offer %j is a 400 that names the header, also where nothing is compressed',
    async (extensions) => {
      for (const perMessageDeflate of [true, false]) {
        const { port } = await echo({ perMessageDeflate });
        const request = upgradeRequest('/ws', { 'Sec-WebSocket-Extensions': extensions });
        const answer = await answerTo(port, request);
        expect(answer.status).toBe(400);
        expect(answer.body).toContain('Sec-WebSocket-Extensions');
      }
    },
  );

  async function closeCode(bytes: Buffer, options: WebSocketPluginOptions = {}) {
    const { port } = await echo(options);
    const { client } = await offer(port, 'permessage-deflate');
    client.write(bytes);
    const answer = await client.frame();
    expect(answer.opcode).toBe(CLOSE);
    return answer.payload.readUInt16BE();
  }

  test('data that is not DEFLATE ends with 1007', async () => {
    expect(await closeCode(frame(TEXT, Buffer.alloc(20, 0xff), { rsv: 4 }))).toBe(1007);
  });

  test('text that is not UTF-8 once inflated ends with 1007', async () => {
    expect(await closeCode(frame(TEXT, deflate(Buffer.from([0xc3, 0x28])), { rsv: 4 }))).toBe(1007);
  });

  test('RSV1 on a control frame or a continuation ends with 1002', async () => {
    expect(await closeCode(frame(PING, '', { rsv: 4 }))).toBe(1002);
    const fragments = [frame(TEXT, 'a', { fin: false }), frame(CONTINUATION, 'b', { rsv: 4 })];
    expect(await closeCode(Buffer.concat(fragments))).toBe(1002);
  });

  test('RSV1 without an agreement ends with 1002', async () => {
    const bytes = frame(TEXT, deflate('x'), { rsv: 4 });
    expect(await closeCode(bytes, { perMessageDeflate: false })).toBe(1002);
  });

  test('a bomb ends with 1009 at the limit and costs no more memory than that', async () => {
    const { port, url } = await echo({ maxMessageSize: 1 << 20 });
    const bomb = deflate(Buffer.alloc(200 << 20));
    expect(bomb.length).toBeLessThan(300_000);
    const before = process.memoryUsage().rss;
    for (let round = 0; round < 5; round++) {
      const { client } = await offer(port, 'permessage-deflate');
      client.write(frame(BINARY, bomb, { rsv: 4 }));
      const answer = await client.frame();
      expect(answer.payload.readUInt16BE()).toBe(1009);
    }
    // Five bombs would be a gigabyte.
    expect(process.memoryUsage().rss - before).toBeLessThan(100 << 20);
    const client = await connect(url());
    client.send('alive');
    expect(await client.next()).toBe('alive');
  });

  test('exactly the limit passes', async () => {
    const { url } = await echo({ maxMessageSize: 100_000 });
    const client = await connect(url(), { perMessageDeflate: { threshold: 0 } });
    client.send(prose(100_000));
    expect(await client.next()).toBe(prose(100_000));
    client.send(prose(100_001));
    expect(await client.closed).toMatchObject({ code: 1009 });
  });
});

test.each(['permessage-deflate,', ',permessage-deflate', 'x-unknown,, permessage-deflate ,'])(
  'empty elements of the offer %j are ignored',
  async (extensions) => {
    const { port } = await echo();
    expect((await offer(port, extensions)).answer).toBe('permessage-deflate');
  },
);

describe('broadcasts', () => {
  test('reach members with and without compression alike', async () => {
    const { port, url } = await echo();
    const plain = await connect(url('/room'));
    const compressing = await connect(url('/room'), { perMessageDeflate: true });
    const { client: keeping } = await offer(port, 'permessage-deflate', '/room');
    const { client: forgetting } = await offer(
      port,
      'permessage-deflate; server_no_context_takeover; server_max_window_bits=10',
      '/room',
    );
    // Everybody is in the room once each has got a first broadcast.
    plain.send('start');
    expect(await compressing.next()).toBe('start');
    expect((await keeping.frame()).payload.toString()).toBe('start');
    expect((await forgetting.frame()).payload.toString()).toBe('start');
    expect(await plain.next()).toBe('start');

    plain.send(prose(5000));
    expect(await plain.next()).toBe(prose(5000));
    expect(await compressing.next()).toBe(prose(5000));
    for (const client of [keeping, forgetting]) {
      const { rsv, payload } = await client.frame();
      expect(rsv).toBe(4);
      expect(inflate(payload).toString()).toBe(prose(5000));
    }
  });

  test('made at once stay whole and in order, short and long ones mixed', async () => {
    const texts = ['a', prose(2000), 'b', prose(3000), prose(1024), 'c'];
    const { url } = await serve({ perMessageDeflate: true }, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => {
        socket.join('room');
        socket.onMessage(() => {
          for (const text of texts) wsApp.wsBroadcast(text, 'room');
        });
      });
    });
    for (const serverNoContextTakeover of [false, true]) {
      const client = await connect(url(), { perMessageDeflate: { serverNoContextTakeover } });
      client.send('go');
      for (const text of texts) expect(await client.next()).toBe(text);
      client.close();
      await once(client.ws, 'close');
    }
  });
});

test.each<[unknown, ErrorConstructor, string]>([
  ['yes', TypeError, 'option "perMessageDeflate" must be a boolean or an object, got "yes"'],
  [null, TypeError, 'got null'],
  [{ level: 10 }, RangeError, 'option "perMessageDeflate.level" must be a whole number'],
  [{ threshold: -1 }, RangeError, 'option "perMessageDeflate.threshold"'],
  [{ serverMaxWindowBits: 8 }, RangeError, 'option "perMessageDeflate.serverMaxWindowBits"'],
  [{ clientMaxWindowBits: 16 }, RangeError, 'option "perMessageDeflate.clientMaxWindowBits"'],
  [{ serverNoContextTakeover: 1 }, TypeError, 'must be a boolean, got 1'],
  [{ concurrency: 10 }, TypeError, 'unknown option "perMessageDeflate.concurrency"; accepted are '],
])('perMessageDeflate %j is refused by the constructor', (perMessageDeflate, kind, message) => {
  const make = () => new WebSocketPlugin({ perMessageDeflate } as WebSocketPluginOptions);
  expect(make).toThrow(kind);
  expect(make).toThrow(message);
});

describe('a message that is not to be compressed', () => {
  const text = prose(2000);
  const wishes = [true, false, undefined, false, true];
  const send = (socket: WSConnection) => {
    for (const compress of wishes) (socket as WSSocket).send(text, { compress });
    for (const compress of wishes) (socket as WSSocket).send(Buffer.from(text), { compress });
  };

  test.each([[true], [false]])(
    'is not, and is in no context (server_no_context_takeover: %s)',
    async (serverNoContextTakeover) => {
      const { port, url } = await serve(
        { perMessageDeflate: { threshold: 0, serverNoContextTakeover } },
        ({ wsApp }) => wsApp.ws('/ws', send),
      );
      const { client } = await offer(port, 'permessage-deflate');
      for (const opcode of [TEXT, BINARY]) {
        for (const compress of wishes) {
          const frame = await client.frame();
          expect([frame.opcode, frame.rsv]).toEqual([opcode, compress === false ? 0 : 4]);
          if (compress === false) expect(frame.payload.toString()).toBe(text);
        }
      }
      const other = await connect(url(), { perMessageDeflate: true });
      expect(other.ws.extensions).toContain('permessage-deflate');
      for (let index = 0; index < 10; index++) expect((await other.next()).toString()).toBe(text);
    },
  );

  test('is as any other where compression was not agreed on', async () => {
    const { port } = await serve({ perMessageDeflate: true }, ({ wsApp }) => wsApp.ws('/ws', send));
    const client = await rawUpgrade(port);
    for (const opcode of [TEXT, BINARY]) {
      for (const _ of wishes) {
        const frame = await client.frame();
        expect([frame.opcode, frame.rsv, frame.payload.toString()]).toEqual([opcode, 0, text]);
      }
    }
  });
});
