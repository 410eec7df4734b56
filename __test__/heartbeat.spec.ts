import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, onTestFinished, test } from 'vitest';
import { block } from './support/block.js';
import { type Client, connect } from './support/client.js';
import { echo, pair, rawPair } from './support/pair.js';
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  closePayload,
  frame,
  PING,
  PONG,
  type RawClient,
  TEXT,
} from './support/raw.js';
import { serve } from './support/server.js';
import { clientSource } from './support/transport.js';
import { until } from './support/until.js';

/** Resolves once `count` pings have come, each of which `ws` answers by itself. */
async function pings({ ws }: Client, count: number): Promise<void> {
  for (let seen = 0; seen < count; seen++) await once(ws, 'ping');
}

/** Answers so many pings in the way of `answer`, and expects nothing but pings meanwhile. */
async function answerPings(
  client: RawClient,
  count: number,
  answer: (payload: Buffer) => void,
): Promise<void> {
  for (let seen = 0; seen < count; seen++) {
    const { opcode, payload } = await client.frame();
    expect(opcode).toBe(PING);
    answer(payload);
  }
}

/** Reads pings until the close frame, and returns its code. */
async function closeCode(client: RawClient): Promise<number> {
  for (;;) {
    const { opcode, payload } = await client.frame();
    if (opcode === CLOSE) return payload.readUInt16BE(0);
    expect(opcode).toBe(PING);
  }
}

describe('the heartbeat', () => {
  test('pings again and again', async () => {
    const { client } = await pair({ heartbeatMs: 20 });
    await pings(client, 5);
  });

  test('pings each of several connections', async () => {
    const { client, url } = await pair({ heartbeatMs: 20 });
    const others = [await connect(url()), await connect(url())];
    await Promise.all([client, ...others].map((one) => pings(one, 3)));
  });

  test('moves lastPong with each answer', async () => {
    const { client, socket } = await pair({ heartbeatMs: 20 });
    const start = socket.lastPong;
    expect(Math.abs(Date.now() - start)).toBeLessThan(60_000);
    await until(() => socket.lastPong > start);
    const next = socket.lastPong;
    await until(() => socket.lastPong > next);
    expect(client.ws.readyState).toBe(client.ws.OPEN);
  });

  test('keeps who answers', async () => {
    const { client, messages, ends } = await pair({ heartbeatMs: 30, pongTimeoutMs: 1000 }, echo);
    await pings(client, 25);
    client.send('still here');
    expect(await messages.next()).toBe('still here');
    expect(ends.waiting).toEqual([]);
  });

  test('ends who never answers with 1001, told to both sides', async () => {
    const { client, ends, plugin } = await rawPair({ heartbeatMs: 30, pongTimeoutMs: 90 });
    expect((await client.frame()).opcode).toBe(PING);
    expect(await closeCode(client)).toBe(1001);
    expect((await ends.next()).code).toBe(1001);
    expect(await client.end()).toEqual(Buffer.alloc(0));
    expect(plugin.getStats().totalConnections).toBe(0);
    expect(ends.waiting).toEqual([]);
  });

  test('ends who has answered for a while and then falls silent', async () => {
    const { client, ends } = await rawPair({ heartbeatMs: 30, pongTimeoutMs: 1000 });
    await answerPings(client, 10, (payload) => client.write(frame(PONG, payload)));
    expect(await closeCode(client)).toBe(1001);
    expect((await ends.next()).code).toBe(1001);
  });

  test('ends the silent one only', async () => {
    const { client, url, ends, messages } = await rawPair({ heartbeatMs: 30, pongTimeoutMs: 300 });
    const other = await connect(url());
    expect(await closeCode(client)).toBe(1001);
    await ends.next();
    other.send('still here');
    expect(await messages.next()).toBe('still here');
    expect(ends.waiting).toEqual([]);
  });

  test('ends with 1006 where the client does not read, so that 1001 cannot be sent', async () => {
    // Time enough for a busy machine to get so far that nothing more can be written.
    const { client, socket, ends } = await pair({
      heartbeatMs: 300,
      pongTimeoutMs: 600,
      maxBackpressure: Number.POSITIVE_INFINITY,
    });
    // At once and ready-made: a pause after the first megabyte could end it while 1001 still fits.
    const large = Buffer.alloc(40 << 20);
    client.ws.pause();
    socket.send(large);
    expect(await ends.next()).toEqual({ code: 1006, reason: '' });
  });

  test.each([
    ['a message', (client: RawClient) => client.write(frame(TEXT, 'here'))],
    ['a ping of its own', (client: RawClient) => client.write(frame(PING, 'you?'))],
    ['a pong with other words', (client: RawClient) => client.write(frame(PONG, 'me'))],
    ['a fragment', (client: RawClient) => client.write(frame(BINARY, 'x', { fin: false }))],
  ])('takes %s for a sign of life', async (name, sign) => {
    const { client, socket, ends } = await rawPair({ heartbeatMs: 50, pongTimeoutMs: 1000 });
    const before = socket.lastPong;
    for (let seen = 0; seen < 10; ) {
      const { opcode } = await client.frame();
      expect([PING, PONG]).toContain(opcode);
      if (opcode === PONG) continue;
      seen += 1;
      // A second first fragment would be a breach of the protocol.
      if (name === 'a fragment' && seen > 1) client.write(frame(CONTINUATION, 'x', { fin: false }));
      else sign(client);
    }
    expect(ends.waiting).toEqual([]);
    expect(socket.isAlive).toBe(true);
    if (!name.includes('pong')) expect(socket.lastPong).toBe(before);
    expect(await closeCodeAfterPongs(client)).toBe(1001);
    expect((await ends.next()).code).toBe(1001);
  });

  /** As `closeCode`, where pongs may come before. */
  async function closeCodeAfterPongs(client: RawClient): Promise<number> {
    for (;;) {
      const { opcode, payload } = await client.frame();
      if (opcode === CLOSE) return payload.readUInt16BE(0);
    }
  }

  test('of 0 sends no ping', async () => {
    const quiet = await pair({ heartbeatMs: 0 });
    const lively = await pair({ heartbeatMs: 20 });
    let seen = 0;
    quiet.client.ws.on('ping', () => {
      seen += 1;
    });
    await pings(lively.client, 10);
    quiet.socket.send('marker');
    await quiet.client.next();
    expect(seen).toBe(0);
    expect(quiet.socket.isAlive).toBe(true);
  });

  test('of 0 ends nobody for his silence', async () => {
    const quiet = await rawPair({ heartbeatMs: 0, pongTimeoutMs: 20 });
    const lively = await pair({ heartbeatMs: 20 });
    quiet.socket.ping();
    await pings(lively.client, 10);
    quiet.socket.send('marker');
    expect((await quiet.client.frame()).opcode).toBe(PING);
    expect((await quiet.client.frame()).payload.toString()).toBe('marker');
    expect(quiet.ends.waiting).toEqual([]);
  });

  test('with pongTimeoutMs of 0 pings and waits for ever', async () => {
    const { client, ends, socket } = await rawPair({ heartbeatMs: 20, pongTimeoutMs: 0 });
    await answerPings(client, 15, () => {});
    expect(socket.isAlive).toBe(true);
    expect(ends.waiting).toEqual([]);
  });

  test('does not ping a connection that is being closed', async () => {
    const { client, socket, url } = await rawPair({ heartbeatMs: 20, pongTimeoutMs: 1000 });
    const other = await connect(url());
    socket.close(4000);
    let received = await client.frame();
    // Those that were sent before.
    while (received.opcode === PING) received = await client.frame();
    expect(received.opcode).toBe(CLOSE);
    await pings(other, 5);
    client.write(frame(CLOSE, closePayload(4000)));
    expect(await client.end()).toEqual(Buffer.alloc(0));
  });

  // The client has a thread of its own, so that it answers pings meanwhile.
  test('does not end a peer whose pongs wait for a busy JavaScript thread', async () => {
    const { plugin, port, wsApp } = await serve({ heartbeatMs: 100, pongTimeoutMs: 600 });
    const ends: number[] = [];
    plugin.on('close', (_socket, code) => ends.push(code));
    const blocked = new Promise<void>((resolve) => {
      wsApp.ws('/ws', (socket) => {
        socket.onMessage((data) => {
          if (data !== 'block') return resolve();
          block(1500);
        });
      });
    });
    const client = new Worker(
      `const { createRequire } = require('node:module');
       const require_ = createRequire(${JSON.stringify(import.meta.url)});
       const connect = (${clientSource.replace("require('ws')", "require_('ws')")});
       const client = connect(${port}, '/ws');
       let pings = 0;
       client.on('open', () => client.send('block'));
       // Some after the block: by then whatever was overdue has been decided.
       client.on('ping', () => { if (++pings === 20) client.send('alive'); });`,
      { eval: true },
    );
    onTestFinished(async () => {
      await client.terminate();
    });
    await blocked;
    expect(ends).toEqual([]);
  });

  test('goes on while the JavaScript thread of the server is busy', async () => {
    const { client, socket } = await rawPair({ heartbeatMs: 20, pongTimeoutMs: 0 });
    block(400);
    // Whatever stands before this on the wire was sent while nothing could run on this thread.
    socket.send('marker');
    let seen = 0;
    while ((await client.frame()).opcode === PING) seen += 1;
    expect(seen).toBeGreaterThanOrEqual(3);
  });
});

describe('ping', () => {
  test('sends a ping, and the answer moves lastPong', async () => {
    const { client, socket } = await pair({ heartbeatMs: 0 });
    const before = socket.lastPong;
    await until(() => Date.now() > before);
    const pinged = once(client.ws, 'ping');
    socket.ping();
    await pinged;
    await until(() => socket.lastPong > before);
  });

  test('keeps its place among what is sent', async () => {
    const { client, socket } = await rawPair({ heartbeatMs: 0 });
    socket.send('before');
    socket.ping();
    socket.send('after');
    const opcodes = [];
    for (let index = 0; index < 3; index++) opcodes.push((await client.frame()).opcode);
    expect(opcodes).toEqual([TEXT, PING, TEXT]);
  });

  test('does nothing once the connection is closing', async () => {
    const { client, socket } = await rawPair({ heartbeatMs: 0 });
    socket.close(4000);
    socket.ping();
    expect((await client.frame()).opcode).toBe(CLOSE);
    client.write(frame(CLOSE, closePayload(4000)));
    expect(await client.end()).toEqual(Buffer.alloc(0));
  });
});

describe('lastPong', () => {
  test('is the beginning of the connection until the first pong', async () => {
    const before = Date.now();
    const { socket } = await rawPair({ heartbeatMs: 0 });
    expect(socket.lastPong).toBeGreaterThanOrEqual(before);
    expect(socket.lastPong).toBeLessThanOrEqual(Date.now());
  });

  test('moves with a pong that nobody asked for, and not with a message', async () => {
    const { client, socket, messages } = await rawPair({ heartbeatMs: 0 });
    const before = socket.lastPong;
    await until(() => Date.now() > before);
    client.write(frame(TEXT, 'marker'));
    await messages.next();
    expect(socket.lastPong).toBe(before);
    client.write(Buffer.concat([frame(PONG), frame(TEXT, 'marker')]));
    await messages.next();
    expect(socket.lastPong).toBeGreaterThan(before);
  });

  test('moves with markAlive', async () => {
    const { socket } = await rawPair({ heartbeatMs: 0 });
    const before = socket.lastPong;
    await until(() => Date.now() > before);
    socket.markAlive();
    expect(socket.lastPong).toBeGreaterThan(before);
    expect(socket.lastPong).toBeLessThanOrEqual(Date.now());
  });

  test('stays what it was when the connection ended', async () => {
    const { client, socket, ends } = await pair({ heartbeatMs: 0 });
    const before = socket.lastPong;
    client.close();
    await ends.next();
    expect(socket.lastPong).toBe(before);
    socket.markAlive();
    expect(socket.lastPong).toBe(before);
  });

  test('may be assigned, as its type says, without harm', async () => {
    const { socket } = await pair({ heartbeatMs: 0 });
    expect(() => {
      socket.lastPong = Date.now();
    }).not.toThrow();
  });
});

describe('markAlive', () => {
  test('counts as an answer to a ping', async () => {
    const { client, socket, ends } = await rawPair({ heartbeatMs: 50, pongTimeoutMs: 1000 });
    await answerPings(client, 10, () => socket.markAlive());
    expect(ends.waiting).toEqual([]);
    expect(await closeCode(client)).toBe(1001);
    expect((await ends.next()).code).toBe(1001);
  });
});

describe('isAlive', () => {
  test('is true from the first to the last moment of a connection', async () => {
    const seen: boolean[] = [];
    const { url, plugin } = await serve({}, ({ wsApp, plugin }) => {
      plugin.on('connection', (socket) => seen.push(socket.isAlive));
      wsApp.wsUse((socket, _, next) => {
        seen.push(socket.isAlive);
        next();
      });
      wsApp.ws('/ws', (socket) => {
        seen.push(socket.isAlive);
        socket.onMessage(() => seen.push(socket.isAlive));
        socket.onClose(() => seen.push(socket.isAlive));
      });
    });
    const client = await connect(url());
    client.send('x');
    await until(() => seen.length === 4);
    client.close();
    await once(plugin, 'close');
    expect(seen).toEqual([true, true, true, true, false]);
  });

  test.each([
    ['its client closed', (client: Client) => client.close()],
    ['its client is gone', (client: Client) => client.ws.terminate()],
  ])('is false once %s', async (_, leave) => {
    const { client, socket, ends } = await pair();
    leave(client);
    await ends.next();
    expect(socket.isAlive).toBe(false);
    socket.markAlive();
    expect(socket.isAlive).toBe(false);
    socket.isAlive = true;
    expect(socket.isAlive).toBe(false);
  });

  test('is false after close', async () => {
    const { client, socket, ends } = await pair();
    socket.close();
    expect(socket.isAlive).toBe(false);
    await client.closed;
    await ends.next();
    expect(socket.isAlive).toBe(false);
  });

  test('may be set to false before a ping, and is true again once the pong is there', async () => {
    const { client, socket, messages } = await rawPair({ heartbeatMs: 0 });
    for (let round = 0; round < 3; round++) {
      socket.isAlive = false;
      expect(socket.isAlive).toBe(false);
      socket.ping();
      expect((await client.frame()).opcode).toBe(PING);
      // A message is no pong.
      client.write(frame(TEXT, 'marker'));
      await messages.next();
      expect(socket.isAlive).toBe(false);
      client.write(Buffer.concat([frame(PONG), frame(TEXT, 'marker')]));
      await messages.next();
      expect(socket.isAlive).toBe(true);
    }
  });

  test('is true after a pong, however quickly that came', async () => {
    const { client, socket, messages } = await rawPair({ heartbeatMs: 0 });
    client.socket.setNoDelay(true);
    const pongAndMarker = Buffer.concat([frame(PONG), frame(TEXT, 'marker')]);
    for (let round = 0; round < 500; round++) {
      socket.isAlive = false;
      client.write(pongAndMarker);
      await messages.next();
      expect(socket.isAlive).toBe(true);
    }
  });

  test('may be set to true, which is what markAlive does', async () => {
    const { socket } = await rawPair({ heartbeatMs: 0 });
    const before = socket.lastPong;
    await until(() => Date.now() > before);
    socket.isAlive = false;
    socket.isAlive = true;
    expect(socket.isAlive).toBe(true);
    expect(socket.lastPong).toBeGreaterThan(before);
    socket.isAlive = false;
    socket.markAlive();
    expect(socket.isAlive).toBe(true);
  });
});
