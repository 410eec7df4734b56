/** What `send` says becomes of a message, how it may be sent, and when there is room again. */
import { describe, expect, test } from 'vitest';
import type { WSSendResult, WSSocket } from '../index.js';
import { deferred, queue } from './support/events.js';
import { pair, rawPair, type ServerEnd } from './support/pair.js';
import { type RawClient, TEXT } from './support/raw.js';
import type { ServeOptions } from './support/server.js';
import { until } from './support/until.js';

/** More than a socket and a stream take of a peer that does not read. */
const MUCH = 32 << 20;

const CHUNK = Buffer.alloc(128 << 10, 'x');

/** A peer that does not read, whose connection has just said that a message waits. */
async function stuck(options: ServeOptions = {}): Promise<ServerEnd & { client: RawClient }> {
  const served = await rawPair({ maxBackpressure: MUCH, maxBufferedBytes: 4 * MUCH, ...options });
  served.client.socket.pause();
  const socket = served.socket as WSSocket;
  // It has to be stuck, not only busy.
  await until(() => socket.send(CHUNK) === 'queued' && socket.bufferedAmount > 1 << 20);
  return served;
}

describe('what becomes of a message', () => {
  test('it is sent while the peer reads', async () => {
    const { socket, client } = await pair();
    for (const data of ['text', Buffer.from('binary'), 'x'.repeat(70_000)]) {
      expect((socket as WSSocket).send(data)).toBe('sent');
      await client.next();
      await until(() => socket.bufferedAmount === 0);
    }
  });

  test('it is queued where the peer does not read, and arrives when it does', async () => {
    const { socket, client } = await stuck();
    expect((socket as WSSocket).send('last')).toBe('queued');
    client.socket.resume();
    for (;;) {
      const { opcode, payload } = await client.frame();
      if (opcode === TEXT) return expect(payload.toString()).toBe('last');
    }
  });

  test('it is queued behind more than a few others', async () => {
    const { socket } = await pair({ maxBackpressure: MUCH });
    const results = new Set<WSSendResult>();
    for (let index = 0; index < 40; index++) {
      results.add((socket as WSSocket).send('x'.repeat(10_000)));
    }
    expect(results).toEqual(new Set(['sent', 'queued']));
  });

  test('it is dropped beyond maxBackpressure under the policy drop', async () => {
    const { socket, plugin } = await stuck({
      maxBackpressure: 3 << 20,
      backpressurePolicy: 'drop',
    });
    await until(() => (socket as WSSocket).send(CHUNK) === 'dropped');
    expect(plugin.getStats().droppedMessages).toBeGreaterThan(0);
    expect(socket.isAlive).toBe(true);
  });

  test('it is dropped beyond maxBackpressure under the policy close, which ends the connection', async () => {
    const { socket, ends } = await stuck({ maxBackpressure: 3 << 20 });
    await until(() => (socket as WSSocket).send(CHUNK) === 'dropped');
    expect((await ends.next()).code).toBe(1008);
  });

  test('it is dropped on a connection that closes, or has ended', async () => {
    const { socket, client, ends } = await pair();
    socket.close();
    for (const data of ['text', Buffer.from('binary')]) {
      expect((socket as WSSocket).send(data)).toBe('dropped');
      expect((socket as WSSocket).send(data, { volatile: true })).toBe('dropped');
    }
    await client.closed;
    await ends.next();
    expect((socket as WSSocket).json({})).toBe('dropped');
  });
});

describe('options', () => {
  test('a volatile message is sent where nothing waits, and dropped where something does', async () => {
    const { socket, client, plugin } = await stuck();
    const rich = socket as WSSocket;
    const { droppedMessages, bufferedAmount } = plugin.getStats();
    expect(rich.send('text', { volatile: true })).toBe('dropped');
    expect(rich.send(Buffer.from('binary'), { volatile: true })).toBe('dropped');
    expect(rich.json('json', { volatile: true })).toBe('dropped');
    expect(rich.send('not volatile', { volatile: false })).toBe('queued');
    expect(plugin.getStats().droppedMessages).toBe(droppedMessages + 3);
    expect(plugin.getStats().bufferedAmount).toBeLessThan(bufferedAmount + 100);
    const drained = deferred();
    rich.onDrain(() => drained.resolve());
    client.socket.resume();
    await drained.promise;
    expect(rich.send('now', { volatile: true })).toBe('sent');
    const texts: string[] = [];
    while (texts.at(-1) !== 'now') {
      const { opcode, payload } = await client.frame();
      if (opcode === TEXT) texts.push(payload.toString());
    }
    expect(texts).toEqual(['not volatile', 'now']);
  });

  test.each([
    [null, 'send: options must be an object, got null'],
    [() => {}, 'send: options must be an object, got '],
    [{ compress: 'no' }, 'send: options.compress must be a boolean, got "no"'],
    [{ volatile: 1 }, 'send: options.volatile must be a boolean, got 1'],
  ])('%s are refused', async (options, message) => {
    const { socket } = await pair();
    expect(() => (socket as WSSocket).send('x', options as never)).toThrow(message);
    expect(() => (socket as WSSocket).send('x', options as never)).toThrow(TypeError);
  });

  test('data is checked before them, and a getter that closes the connection drops the message', async () => {
    const { socket, client } = await pair();
    expect(() => (socket as WSSocket).send(1 as never, { volatile: true })).toThrow(/^send: data /);
    const options = {
      get compress() {
        socket.close(4001);
        return true;
      },
    };
    expect((socket as WSSocket).send('late', options)).toBe('dropped');
    expect((await client.closed).code).toBe(4001);
  });
});

describe('onDrain', () => {
  test('is called once the queue is empty after a message had to wait', async () => {
    const { socket, client } = await stuck();
    const drains = queue<number>();
    (socket as WSSocket).onDrain(() => drains.push(socket.bufferedAmount));
    client.socket.resume();
    expect(await drains.next()).toBe(0);
    expect(drains.waiting).toEqual([]);
  });

  test('again each time, and not after off', async () => {
    const { socket, client } = await pair({ maxBackpressure: MUCH });
    const rich = socket as WSSocket;
    const drains = queue<void>();
    const listener = () => drains.push();
    rich.onDrain(listener);
    for (let round = 0; round < 3; round++) {
      while (rich.send('x'.repeat(10_000)) === 'sent');
      await drains.next();
    }
    rich.off('drain', listener);
    while (rich.send('x'.repeat(10_000)) === 'sent');
    rich.send('end');
    while ((await client.next()) !== 'end');
    await until(() => socket.bufferedAmount === 0);
    expect(drains.waiting).toEqual([]);
  });

  test('is not called where nothing had to wait', async () => {
    const { socket, client } = await pair();
    let drains = 0;
    (socket as WSSocket).onDrain(() => drains++);
    for (let round = 0; round < 10; round++) {
      socket.send('x');
      await client.next();
    }
    expect(drains).toBe(0);
  });

  test('is called for who listens only after the queue is empty again', async () => {
    const { socket, client } = await stuck();
    client.socket.resume();
    await until(() => socket.bufferedAmount === 0);
    const drained = deferred();
    (socket as WSSocket).onDrain(() => drained.resolve());
    await drained.promise;
  });

  test('lone answers of JavaScript count as well', async () => {
    const { socket, client } = await pair({ maxBackpressure: MUCH });
    const rich = socket as WSSocket;
    const drains = queue<void>();
    rich.onDrain(() => drains.push());
    for (let round = 0; round < 50; round++) {
      while (rich.send('x'.repeat(20_000)) === 'sent');
      setImmediate(() => rich.send('alone'));
      await drains.next();
      while ((await client.next()) !== 'alone');
    }
  });

  test('a pump that waits for it delivers everything, in bounded memory', async () => {
    const { socket, client } = await pair({ maxBackpressure: 1 << 20 });
    const rich = socket as WSSocket;
    const count = 2000;
    let sent = 0;
    let most = 0;
    const pump = () => {
      while (sent < count) {
        const result = rich.send(`${sent++},${'x'.repeat(5000)}`);
        most = Math.max(most, rich.bufferedAmount);
        if (result !== 'sent') return;
      }
    };
    rich.onDrain(pump);
    pump();
    for (let index = 0; index < count; index++) {
      expect(Number.parseInt((await client.next()).toString(), 10)).toBe(index);
    }
    expect(most).toBeLessThan(100 << 10);
  });

  test('a listener that throws ends its connection, and nothing else', async () => {
    const errors = queue<unknown>();
    const { socket, ends, plugin } = await pair({ maxBackpressure: MUCH });
    plugin.on('error', (error) => errors.push(error));
    (socket as WSSocket).onDrain(() => {
      throw new Error('mine');
    });
    while ((socket as WSSocket).send('x'.repeat(10_000)) === 'sent');
    expect(await errors.next()).toEqual(new Error('mine'));
    expect((await ends.next()).code).toBe(1011);
  });
});
