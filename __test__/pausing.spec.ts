/** `pause` and `resume`: whoever is not ready for messages is not sent any, and TCP slows the peer. */
import { describe, expect, test } from 'vitest';
import type { WSConnection, WSSocket } from '../index.js';
import { connect } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { pair, rawPair, serveRecorded } from './support/pair.js';
import { CLOSE, closePayload, frame, PONG, rawUpgrade, TEXT } from './support/raw.js';
import { serve } from './support/server.js';
import { until } from './support/until.js';

const rich = (socket: WSConnection) => socket as WSSocket;

const texts = (count: number) => Array.from({ length: count }, (_, index) => `${index}`);

test('no listener hears of a message while the connection is paused, and all are told in order then', async () => {
  const { socket, client, messages, plugin } = await pair();
  rich(socket).pause();
  for (const text of texts(100)) client.send(text);
  await until(() => plugin.getStats().messagesReceived === 100);
  await new Promise(setImmediate);
  expect(messages.waiting).toEqual([]);
  rich(socket).resume();
  for (const text of texts(100)) expect(await messages.next()).toBe(text);
  client.send('after');
  expect(await messages.next()).toBe('after');
});

test('from inside of a listener it holds the next message, of those that came together', async () => {
  const { client, socket, messages } = await rawPair({}, (each) =>
    each.onMessage(() => rich(each).pause()),
  );
  client.write(Buffer.concat(texts(5).map((text) => frame(TEXT, text))));
  for (const text of texts(5)) {
    expect(await messages.next()).toBe(text);
    await new Promise(setImmediate);
    expect(messages.waiting).toEqual([]);
    rich(socket).resume();
  }
});

test('the other listeners of the message that pauses hear of it', async () => {
  const { client, messages } = await rawPair({}, (each) => {
    each.onMessage(() => rich(each).pause());
    each.onMessage((data) => each.send(`second ${data}`));
  });
  client.write(Buffer.concat([frame(TEXT, 'a'), frame(TEXT, 'b')]));
  expect((await client.frame()).payload.toString()).toBe('second a');
  expect(await messages.next()).toBe('a');
  expect(messages.waiting).toEqual([]);
});

test('pausing and resuming in each message loses none, repeats none and keeps the order', async () => {
  const { client, socket, messages } = await pair({}, (each) =>
    each.onMessage((data) => {
      rich(each).pause();
      const number = Number(data.toString());
      if (number % 3 === 0) rich(each).resume();
      else if (number % 3 === 1) setImmediate(() => rich(each).resume());
      else process.nextTick(() => rich(each).resume());
    }),
  );
  for (const text of texts(2000)) client.send(text);
  for (const text of texts(2000)) expect(await messages.next()).toBe(text);
  expect(socket.isAlive).toBe(true);
});

test('a peer that goes on sending is slowed down, and everything arrives', async () => {
  const { client, socket, messages, plugin } = await rawPair();
  rich(socket).pause();
  await new Promise(setImmediate);
  const message = frame(TEXT, Buffer.alloc(16 << 10, 'x'));
  const count = 1000;
  for (let index = 0; index < count; index++) client.write(message);
  // What it is kept for counts, and is a small part of what was sent.
  await until(() => plugin.getStats().messagesReceived >= 3);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(client.socket.writableLength).toBeGreaterThan(0);
  expect(plugin.getStats().memory.used).toBeGreaterThan(0);
  expect(plugin.getStats().memory.used).toBeLessThan(2 << 20);
  rich(socket).resume();
  for (let index = 0; index < count; index++) expect((await messages.next()).length).toBe(16 << 10);
  expect(messages.waiting).toEqual([]);
});

test('what waits for a paused connection counts for maxBufferedBytes', async () => {
  const { client, socket, ends, plugin } = await rawPair({ maxBufferedBytes: 64 << 10 });
  rich(socket).pause();
  client.write(frame(TEXT, Buffer.alloc(40 << 10, 'x')));
  client.write(frame(TEXT, Buffer.alloc(40 << 10, 'x')));
  await until(() => plugin.getStats().memory.shed === 1);
  rich(socket).resume();
  expect((await ends.next()).code).toBe(1013);
});

describe('the end', () => {
  test('is told behind the messages that are held', async () => {
    const { client, socket, messages, ends, plugin } = await rawPair();
    rich(socket).pause();
    const bytes = [frame(TEXT, 'a'), frame(TEXT, 'b'), frame(CLOSE, closePayload(4001, 'bye'))];
    client.write(Buffer.concat(bytes));
    await until(() => plugin.getStats().totalConnections === 0);
    expect([messages.waiting, ends.waiting]).toEqual([[], []]);
    rich(socket).resume();
    expect(await ends.next()).toEqual({ code: 4001, reason: 'bye' });
    expect(messages.waiting).toEqual(['a', 'b']);
  });

  test('pausing again goes on holding it', async () => {
    const { client, socket, messages, ends, plugin } = await rawPair({}, (each) =>
      each.onMessage(() => rich(each).pause()),
    );
    client.write(
      Buffer.concat([frame(TEXT, 'a'), frame(TEXT, 'b'), frame(CLOSE, closePayload(4001))]),
    );
    await until(() => plugin.getStats().totalConnections === 0);
    expect([messages.waiting, ends.waiting]).toEqual([['a'], []]);
    rich(socket).resume();
    await until(() => messages.waiting.length === 2);
    rich(socket).resume();
    expect((await ends.next()).code).toBe(4001);
  });

  test('of many that are held by paused connections drops what is beyond 16 MiB, and is told then', async () => {
    const { port, sockets, messages, ends, plugin } = await serveRecorded({}, (each) =>
      rich(each).pause(),
    );
    const end = async () => {
      const client = await rawUpgrade(port);
      const socket = await sockets.next();
      const message = frame(TEXT, Buffer.alloc(65_000, 'x'));
      client.write(Buffer.concat([message, frame(CLOSE, closePayload(4001))]));
      await until(() => plugin.getStats().totalConnections === 0);
      return rich(socket);
    };
    const kept: WSSocket[] = [];
    // Each message counts 64 bytes beside its content.
    while ((kept.length + 1) * 65_064 <= 16 << 20) kept.push(await end());
    expect(ends.waiting).toEqual([]);
    await end();
    expect((await ends.next()).code).toBe(4001);
    expect(messages.waiting).toEqual([]);
    // What is taken makes room.
    kept[0]?.resume();
    expect((await messages.next()).length).toBe(65_000);
    expect((await ends.next()).code).toBe(4001);
    const last = await end();
    expect(ends.waiting).toEqual([]);
    last.resume();
    expect((await messages.next()).length).toBe(65_000);
  });

  test.each([
    ['close', (socket: WSSocket) => socket.close(4002), 4002],
    ['terminate', (socket: WSSocket) => socket.terminate(), 1006],
  ])('by %s of a paused connection drops what is held', async (_, end, code) => {
    const { client, socket, messages, ends, plugin } = await pair();
    rich(socket).pause();
    client.send('held');
    await until(() => plugin.getStats().messagesReceived === 1);
    end(rich(socket));
    rich(socket).resume();
    expect((await ends.next()).code).toBe(code);
    expect(messages.waiting).toEqual([]);
  });

  test.each([
    ['close', (socket: WSSocket) => socket.close()],
    ['terminate', (socket: WSSocket) => socket.terminate()],
  ])('by %s, where the peer was first, is told with the code of the peer', async (_, end) => {
    const { client, socket, messages, ends, plugin } = await rawPair();
    rich(socket).pause();
    client.write(Buffer.concat([frame(TEXT, 'a'), frame(CLOSE, closePayload(4001))]));
    await until(() => plugin.getStats().totalConnections === 0);
    end(rich(socket));
    expect((await ends.next()).code).toBe(4001);
    expect(messages.waiting).toEqual([]);
  });

  test('by a clean-up does not wait for who is paused', async () => {
    const { client, socket, ends, plugin, messages } = await pair();
    rich(socket).pause();
    for (const text of texts(10)) client.send(text);
    await until(() => plugin.getStats().messagesReceived === 10);
    await plugin.cleanup();
    expect((await ends.next()).code).toBe(1001);
    expect(messages.waiting).toEqual([]);
  });

  test('by the peer is told when the plugin cleans up, although it is not resumed', async () => {
    const { client, socket, ends, plugin, messages } = await rawPair();
    rich(socket).pause();
    client.write(Buffer.concat([frame(TEXT, 'a'), frame(CLOSE, closePayload(4001))]));
    await until(() => plugin.getStats().totalConnections === 0);
    await plugin.cleanup();
    expect((await ends.next()).code).toBe(4001);
    expect(messages.waiting).toEqual([]);
  });

  test('a connection that has ended can be paused and resumed, and nothing comes of it', async () => {
    const { client, socket, ends } = await pair();
    client.close();
    await ends.next();
    rich(socket).pause();
    rich(socket).resume();
    await new Promise(setImmediate);
    expect(ends.waiting).toEqual([]);
  });
});

describe('before the handler has returned', () => {
  test('pausing lasts, and messages wait for resume', async () => {
    const { client, socket, messages, plugin } = await pair({}, (each) => rich(each).pause());
    client.send('a');
    await until(() => plugin.getStats().messagesReceived === 1);
    await new Promise(setImmediate);
    expect(messages.waiting).toEqual([]);
    rich(socket).resume();
    expect(await messages.next()).toBe('a');
  });

  test('resuming does not deliver before the handler is ready', async () => {
    const ready = deferred();
    const heard: unknown[] = [];
    const all = deferred();
    const { url, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.wsUse((socket, _req, next) => {
        rich(socket).pause();
        next();
      });
      wsApp.ws('/ws', async (socket) => {
        rich(socket).resume();
        await ready.promise;
        socket.onMessage((data) => {
          heard.push(data);
          if (heard.length === 2) all.resolve();
        });
      });
    });
    const client = await connect(url());
    client.send('a');
    client.send('b');
    await until(() => plugin.getStats().messagesReceived === 2);
    await new Promise(setImmediate);
    expect(heard).toEqual([]);
    ready.resolve();
    await all.promise;
    expect(heard).toEqual(['a', 'b']);
  });
});

describe('heartbeat', () => {
  test('a paused peer that is not read is not overdue', async () => {
    const pongTimeoutMs = 1000;
    const bytes = Buffer.concat(Array(40).fill(frame(TEXT, Buffer.alloc(16 << 10, 'x'))));
    const { client, socket, messages, ends } = await rawPair({ heartbeatMs: 50, pongTimeoutMs });
    rich(socket).pause();
    client.write(bytes);
    // The pong stands behind all of that.
    client.write(frame(PONG));
    await new Promise((resolve) => setTimeout(resolve, 3 * pongTimeoutMs));
    expect([ends.waiting, socket.isAlive]).toEqual([[], true]);
    rich(socket).resume();
    for (let index = 0; index < 40; index++) await messages.next();
  });

  test('a paused peer that is read and silent is', async () => {
    const { client, socket, ends } = await rawPair({ heartbeatMs: 30, pongTimeoutMs: 60 });
    client.socket.resume();
    rich(socket).pause();
    expect((await ends.next()).code).toBe(1001);
  });
});

test('a listener that throws while held messages are told ends its connection', async () => {
  const errors = queue<unknown>();
  const { client, socket, ends, plugin, messages } = await pair({}, (each) =>
    each.onMessage((data) => {
      if (data === 'b') throw new Error('mine');
    }),
  );
  plugin.on('error', (error) => errors.push(error));
  rich(socket).pause();
  for (const text of ['a', 'b', 'c']) client.send(text);
  await until(() => plugin.getStats().messagesReceived === 3);
  rich(socket).resume();
  expect((await ends.next()).code).toBe(1011);
  expect(await errors.next()).toEqual(new Error('mine'));
  expect(messages.waiting).toEqual(['a', 'b']);
});

test('messages of all sizes and kinds come through in order, paused at random', async () => {
  const { client, socket, messages } = await pair();
  let state = 1;
  const random = (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
  const count = 1500;
  let paused = true;
  const timer = setInterval(() => {
    if (paused) rich(socket).resume();
    else rich(socket).pause();
    paused = !paused;
  }, 1);
  rich(socket).pause();
  const sent = Array.from({ length: count }, (_, index) => {
    const text = `${index},${'é'.repeat(random(random(4) === 0 ? 20_000 : 50))}`;
    return random(2) === 0 ? text : Buffer.from(text);
  });
  for (const data of sent) client.send(data);
  for (const data of sent) {
    const received = await messages.next();
    expect(typeof received).toBe(typeof data);
    expect(received.toString() === data.toString()).toBe(true);
  }
  clearInterval(timer);
});
