/** Connections over streams that have no descriptor: whatever a server is given as one. */
import type { Socket } from 'node:net';
import { type Duplex, type DuplexOptions, duplexPair } from 'node:stream';
import { describe, expect, test, vi } from 'vitest';
import type { WSSocket } from '../index.js';
import { type Client, connect } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { echo, type Recorded, serveRecorded } from './support/pair.js';
import {
  BINARY,
  CLOSE,
  closePayload,
  frame,
  RawClient,
  rawConnect,
  TEXT,
  upgradeRequest,
} from './support/raw.js';
import { type ServeOptions, serve } from './support/server.js';
import { adopts } from './support/transport.js';
import { until } from './support/until.js';

const KILOBYTE = 1 << 10;
const MEGABYTE = 1 << 20;

/** More than a window, its last chunk and the buffers of both streams have room for. */
const BOUND = 400 * KILOBYTE;

interface Streamed {
  client: RawClient;
  /** The server's stream. */
  stream: Duplex;
}

/** Gives a server a stream in place of a connection. */
function connectStream(server: Recorded['server'], options?: DuplexOptions): Streamed {
  const [near, far] = duplexPair(options);
  // As with a connection, either side notices when the other is gone.
  near.once('close', () => far.destroy());
  far.once('close', () => near.destroy());
  server.emit('connection', far);
  return { client: new RawClient(near as Socket), stream: far };
}

async function upgradeStream(
  server: Recorded['server'],
  options?: DuplexOptions,
): Promise<Streamed> {
  const streamed = connectStream(server, options);
  streamed.client.write(upgradeRequest('/ws'));
  expect(await streamed.client.head()).toContain(' 101 ');
  return streamed;
}

async function streamPair(options?: ServeOptions, handler?: (socket: WSSocket) => void) {
  const recorded = await serveRecorded(options, handler);
  const streamed = await upgradeStream(recorded.server);
  return { ...recorded, ...streamed, socket: await recorded.sockets.next() };
}

/** Waits until nothing moves any more, while another connection of the same engine is served. */
async function settled(other: Client, measure: () => number): Promise<number> {
  for (let last = -1; ; ) {
    for (let turn = 0; turn < 20; turn++) {
      other.send('turn');
      await other.next();
    }
    if (measure() === last) return last;
    last = measure();
  }
}

describe('a stream', () => {
  test('that the server is given as a connection is served as any other', async () => {
    const { client, plugin, url, ends } = await streamPair({}, echo);
    client.write(frame(TEXT, 'hello'));
    expect((await client.frame()).payload.toString()).toBe('hello');
    await connect(url());
    const other = adopts ? { adopted: 1, bridged: 0 } : { adopted: 0, bridged: 1 };
    expect(plugin.getStats().transports).toEqual({ ...other, bridged: other.bridged + 1 });
    client.write(frame(CLOSE, closePayload(4000, 'bye')));
    expect((await client.frame()).payload).toEqual(closePayload(4000, 'bye'));
    expect(await ends.next()).toEqual({ code: 4000, reason: 'bye' });
    client.socket.end();
    expect(await client.end()).toHaveLength(0);
    expect(plugin.getStats().transports).toEqual(other);
  });

  test('is in the log as what it is', async () => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => {});
    const { socket } = await streamPair({ debug: true });
    const lines = log.mock.calls.map(([line]) => line);
    log.mockRestore();
    expect(lines).toContain(`[WebSocketPlugin] /ws accepted as ${socket.id} over a bridge`);
  });

  test('carries what is sent together with the request, and messages of every size', async () => {
    const { server } = await serveRecorded({}, echo);
    const { client } = connectStream(server);
    const early = frame(TEXT, 'early');
    client.write(Buffer.concat([Buffer.from(upgradeRequest('/ws')), early]));
    await client.head();
    expect((await client.frame()).payload.toString()).toBe('early');
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 262_144, 1_000_000]) {
      const payload = Buffer.alloc(size, size % 251);
      client.write(frame(BINARY, payload));
      expect((await client.frame()).payload.equals(payload)).toBe(true);
    }
  });

  test('whose peer does not read is written a window full and no more', async () => {
    const { client, stream, socket, url } = await streamPair({}, echo);
    const other = await connect(url());
    client.socket.pause();
    const total = 8 * MEGABYTE;
    for (let index = 0; index < 128; index++) socket.send(Buffer.alloc(64 * KILOBYTE, index));
    await settled(other, () => socket.bufferedAmount);
    expect(stream.writableLength).toBeLessThan(BOUND);
    expect(socket.bufferedAmount).toBeGreaterThan(total - BOUND);
    client.socket.resume();
    for (let index = 0; index < 128; index++) {
      const { payload } = await client.frame();
      expect(payload.equals(Buffer.alloc(64 * KILOBYTE, index))).toBe(true);
    }
    expect(socket.bufferedAmount).toBe(0);
  });

  test('whose peer does not read does not pile up tiny writes either', async () => {
    const { stream, socket, url } = await streamPair({}, echo);
    const other = await connect(url());
    const write = vi.spyOn(stream, '_write').mockImplementation(() => {
      // Never says that it has written: so everything else stays in the stream's queue.
    });
    for (let index = 0; index < 1000; index++) {
      socket.send('x');
      // Each in a write of its own: by the answer to this it has been written.
      other.send('turn');
      await other.next();
    }
    expect(write).toHaveBeenCalledTimes(1);
    expect(stream.writableLength / '\x81\x01x'.length).toBeLessThan(300);
    expect(socket.bufferedAmount).toBeGreaterThan(500 * '\x81\x01x'.length);
    stream.destroy();
  });

  test('that never emits close gives its place back all the same', async () => {
    // Beyond the time limit of a test.
    const { server, plugin, sockets, ends } = await serveRecorded({ closeTimeoutMs: 600_000 });
    const { client } = await upgradeStream(server, { emitClose: false });
    await sockets.next();
    client.write(frame(CLOSE, closePayload(1000)));
    expect((await client.frame()).opcode).toBe(CLOSE);
    client.socket.end();
    expect(await ends.next()).toMatchObject({ code: 1000 });
    await until(() => plugin.getStats().closingConnections === 0);
  });

  test('has what it has not taken counted, however little that is', async () => {
    const { client, socket, url } = await streamPair({}, echo);
    client.socket.pause();
    const payload = Buffer.alloc(100 * KILOBYTE);
    socket.send(payload);
    socket.send('more');
    await settled(await connect(url()), () => socket.bufferedAmount);
    // Its own buffer, and that of the peer's half, have the first bytes at most.
    expect(socket.bufferedAmount).toBeGreaterThan(60 * KILOBYTE);
    client.socket.resume();
    expect((await client.frame()).payload.equals(payload)).toBe(true);
    expect((await client.frame()).payload.toString()).toBe('more');
    await until(() => socket.bufferedAmount === 0);
  });

  test('whose peer does not read runs into maxBackpressure, and is told once it reads', async () => {
    const { client, socket, ends, stream } = await streamPair({ maxBackpressure: MEGABYTE });
    client.socket.pause();
    for (let index = 0; index < 128; index++) socket.send(Buffer.alloc(64 * KILOBYTE, index));
    expect(await ends.next()).toMatchObject({ code: 1008 });
    expect(stream.writableLength).toBeLessThan(BOUND);
    client.socket.resume();
    let last = await client.frame();
    // Whole frames, as far as they were under way, and then the reason.
    while (last.opcode === BINARY) {
      expect(last.payload).toHaveLength(64 * KILOBYTE);
      last = await client.frame();
    }
    expect(last.opcode).toBe(CLOSE);
    expect(last.payload.readUInt16BE()).toBe(1008);
  });

  test('whose peer does not read loses single messages where the policy says so', async () => {
    const options = { maxBackpressure: MEGABYTE, backpressurePolicy: 'drop' } as const;
    const { client, socket, plugin, ends } = await streamPair(options);
    client.socket.pause();
    for (let index = 0; index < 128; index++) socket.send(Buffer.alloc(64 * KILOBYTE, index));
    const { droppedMessages } = plugin.getStats();
    expect(droppedMessages).toBeGreaterThan(100);
    client.socket.resume();
    for (let index = 0; index < 128 - droppedMessages; index++) {
      expect((await client.frame()).payload[0]).toBe(index);
    }
    socket.send('the next');
    expect((await client.frame()).payload.toString()).toBe('the next');
    expect(ends.waiting).toEqual([]);
  });

  test('is not read while its handler is not ready, and loses nothing', async () => {
    const gate = deferred();
    const messages = queue<string | Buffer>();
    const { server, url } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', async (socket) => {
        socket.onMessage((data) => messages.push(data));
        await gate.promise;
      });
      wsApp.ws('/echo', echo);
    });
    const other = await connect(url('/echo'));
    const { client, stream } = await upgradeStream(server);
    const message = (index: number) => frame(BINARY, Buffer.alloc(64 * KILOBYTE, index));
    for (let index = 0; index < 128; index++) client.write(message(index));
    const sent = 128 * message(0).length;
    await settled(other, () => client.socket.writableLength);
    const taken = sent - client.socket.writableLength;
    expect(taken).toBeGreaterThan(64 * KILOBYTE);
    // One window full is held for the handler, and another one waits behind it.
    expect(taken).toBeLessThan(2 * BOUND);
    expect(stream.isPaused()).toBe(true);
    gate.resolve();
    for (let index = 0; index < 128; index++) {
      expect((await messages.next())[0]).toBe(index);
    }
  });

  test('that fails ends its connection with 1006 and no other', async () => {
    const { client, stream, ends, url } = await streamPair({}, echo);
    const other = await connect(url());
    stream.destroy(new Error('the cable is cut'));
    expect(await ends.next()).toEqual({ code: 1006, reason: '' });
    await client.end();
    other.send('still here');
    expect(await other.next()).toBe('still here');
  });

  test('that the application destroys ends its connection with 1006', async () => {
    const { server, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (_socket, req) => void req.socket.destroy());
    });
    const ended = new Promise((resolve) => plugin.on('close', (_socket, code) => resolve(code)));
    const { client } = connectStream(server);
    client.write(upgradeRequest('/ws'));
    expect(await ended).toBe(1006);
    await client.end();
    expect(plugin.getStats()).toMatchObject({ totalConnections: 0, transports: { bridged: 0 } });
  });

  test('that the application writes to, or ends, takes neither', async () => {
    const outcome = queue<unknown>();
    const { server } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket, req) => {
        req.socket.write('between two frames', (error) => outcome.push(error));
        req.socket.end('at the end', () => outcome.push('ended'));
        socket.send('a frame');
      });
    });
    const { client } = await upgradeStream(server);
    expect(await outcome.next()).toBeInstanceOf(Error);
    expect(await outcome.next()).toBe('ended');
    expect(await client.frame()).toMatchObject({ opcode: TEXT, payload: Buffer.from('a frame') });
    client.write(frame(CLOSE, closePayload(1000)));
    expect(await client.frame()).toMatchObject({ opcode: CLOSE });
  });

  test('that throws in writing ends its own connection and costs no other a message', async () => {
    const recorded = await serveRecorded();
    const errors = queue<Error>();
    recorded.plugin.on('error', (error) => errors.push(error));
    const [faulty, sound] = [
      await upgradeStream(recorded.server),
      await upgradeStream(recorded.server),
    ];
    await recorded.sockets.next();
    await recorded.sockets.next();
    vi.spyOn(faulty.stream, '_write').mockImplementation(() => {
      throw new Error('not today');
    });
    recorded.wsApp.wsBroadcast('one');
    recorded.wsApp.wsBroadcast('two');
    expect((await sound.client.frame()).payload.toString()).toBe('one');
    expect((await sound.client.frame()).payload.toString()).toBe('two');
    expect((await errors.next()).message).toBe('not today');
    expect((await recorded.ends.next()).code).toBe(1006);
  });

  test('whose peer has ended its side is sent all that is queued, though the plugin is cleaned up', async () => {
    const { client, plugin, socket, ends } = await streamPair({ closeTimeoutMs: 20_000 });
    client.socket.pause();
    const payload = Buffer.alloc(64 * KILOBYTE, 7);
    for (let index = 0; index < 64; index++) socket.send(payload);
    client.socket.end();
    await ends.next();
    await plugin.cleanup();
    client.socket.resume();
    for (let index = 0; index < 64; index++) {
      expect((await client.frame()).payload.equals(payload)).toBe(true);
    }
  });

  test('that is closed by its peer is told the answer, however many close at once', async () => {
    // More than the engine lets linger for the end of the peer's side.
    const count = 1100;
    const { server, sockets, ends } = await serveRecorded();
    const clients: RawClient[] = [];
    for (let index = 0; index < count; index++) {
      clients.push((await upgradeStream(server)).client);
      await sockets.next();
    }
    for (const client of clients) client.write(frame(CLOSE, closePayload(4000)));
    for (const client of clients) {
      expect(await client.frame()).toMatchObject({ opcode: CLOSE, payload: closePayload(4000) });
    }
    for (let index = 0; index < count; index++) {
      expect(await ends.next()).toMatchObject({ code: 4000 });
    }
  });

  test('is cleaned up with 1001, and destroyed where the peer never answers', async () => {
    const { client, plugin, stream, ends } = await streamPair({ closeTimeoutMs: 50 });
    client.socket.pause();
    await plugin.cleanup();
    expect(await ends.next()).toMatchObject({ code: 1006 });
    await until(() => stream.destroyed);
    expect(plugin.getStats().totalConnections).toBe(0);
  });
});

describe('a connection whose socket Node is still writing to', () => {
  test('gets that first, then the 101, then its frames', async () => {
    const count = 8000;
    const progress = `HTTP/1.1 102 Processing\r\nX-Padding: ${'x'.repeat(1000)}\r\n\r\n`;
    const { port, plugin } = await serve(
      {
        verifyClient: (req) => {
          req.socket.write(progress.repeat(count));
          return true;
        },
      },
      ({ wsApp }) => wsApp.ws('/ws', (socket) => socket.send('the first frame')),
    );
    const client = await rawConnect(port);
    client.socket.pause();
    client.write(upgradeRequest('/ws'));
    await until(() => plugin.getStats().totalConnections === 1);
    expect(plugin.getStats().transports).toEqual({ adopted: 0, bridged: 1 });
    client.socket.resume();
    for (let index = 0; index < count; index++) {
      expect(`${await client.head()}\r\n\r\n`).toBe(progress);
    }
    expect(await client.head()).toMatch(/^HTTP\/1\.1 101 /);
    expect((await client.frame()).payload.toString()).toBe('the first frame');
  });
});
