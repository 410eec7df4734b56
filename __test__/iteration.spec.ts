/** `for await (const data of socket)`. */
import { describe, expect, test } from 'vitest';
import type { WSConnection, WSSocket } from '../index.js';
import { connect } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { pair, rawPair } from './support/pair.js';
import { CLOSE, closePayload, frame, rawUpgrade, TEXT } from './support/raw.js';
import { serve } from './support/server.js';
import { until } from './support/until.js';

const rich = (socket: WSConnection) => socket as WSSocket;

const texts = (count: number) => Array.from({ length: count }, (_, index) => `${index}`);

/** A server on `/ws` with this handler; its promise is not waited for. */
function served(handler: (socket: WSSocket) => Promise<void> | void, options = {}) {
  return serve(options, ({ wsApp }) => wsApp.ws('/ws', (socket) => handler(rich(socket))));
}

test('a handler may iterate for as long as its connection lives', async () => {
  const ended = queue<string>();
  const { url } = await served(
    async (socket) => {
      for await (const data of socket) socket.send(`echo ${data}`);
      ended.push('loop');
    },
    { handshakeTimeoutMs: 60_000 },
  );
  const client = await connect(url());
  for (const text of texts(300)) client.send(text);
  for (const text of texts(300)) expect(await client.next()).toBe(`echo ${text}`);
  client.close();
  expect(await ended.next()).toBe('loop');
});

test('what came before the first message was asked for is there, and the handler’s time plays no part', async () => {
  const ready = deferred();
  const { url, plugin } = await served(
    async (socket) => {
      await ready.promise;
      for await (const data of socket) socket.send(data);
    },
    { handshakeTimeoutMs: 200 },
  );
  const client = await connect(url());
  client.send('early');
  await until(() => plugin.getStats().messagesReceived === 1);
  ready.resolve();
  expect(await client.next()).toBe('early');
  await new Promise((resolve) => setTimeout(resolve, 300));
  client.send('late');
  expect(await client.next()).toBe('late');
});

test('the peer is slowed down where the loop is slower', async () => {
  const go = deferred();
  const { client, socket, plugin } = await rawPair();
  const loop = (async () => {
    let count = 0;
    for await (const data of rich(socket)) {
      await go.promise;
      if (data === 'end') return count;
      count += 1;
    }
    return -1;
  })();
  // From here on the engine knows that there is a loop.
  await new Promise(setImmediate);
  client.write(frame(TEXT, 'first'));
  await until(() => plugin.getStats().messagesReceived === 1);
  const message = frame(TEXT, Buffer.alloc(16 << 10, 'x'));
  for (let index = 0; index < 1000; index++) client.write(message);
  client.write(frame(TEXT, 'end'));
  await until(() => client.socket.writableLength > 0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(plugin.getStats().messagesReceived).toBeLessThan(500);
  expect(plugin.getStats().memory.used).toBeLessThan(2 << 20);
  go.resolve();
  expect(await loop).toBe(1001);
});

test('leaving the loop leaves the connection open, and its listeners hear of what follows', async () => {
  const { url } = await served(async (socket) => {
    for await (const data of socket) {
      socket.send(`loop ${data}`);
      break;
    }
    socket.onMessage((data) => socket.send(`listener ${data}`));
  });
  const client = await connect(url());
  for (const text of texts(200)) client.send(text);
  expect(await client.next()).toBe('loop 0');
  for (const text of texts(200).slice(1)) expect(await client.next()).toBe(`listener ${text}`);
});

test('middleware may wait for a first message, and the handler gets the others', async () => {
  const { url } = await serve({}, ({ wsApp }) => {
    wsApp.wsUse(async (socket, _req, next) => {
      for await (const token of rich(socket)) {
        rich(socket).data.token = token;
        break;
      }
      next();
    });
    wsApp.ws('/ws', async (socket) => {
      await new Promise(setImmediate);
      socket.send(`token ${rich(socket).data.token}`);
      socket.onMessage((data) => socket.send(data));
    });
  });
  const client = await connect(url());
  for (const text of ['secret', 'one', 'two']) client.send(text);
  expect(await client.next()).toBe('token secret');
  expect(await client.next()).toBe('one');
  expect(await client.next()).toBe('two');
});

test('several iterators and listeners get all messages', async () => {
  const { client, socket, messages } = await pair();
  const read = async () => {
    const seen: unknown[] = [];
    for await (const data of rich(socket)) {
      seen.push(data);
      if (seen.length % 7 === 0) await new Promise(setImmediate);
      if (data === '99') break;
    }
    return seen;
  };
  const readers = [read(), read(), read()];
  for (const text of texts(100)) client.send(text);
  for (const seen of await Promise.all(readers)) expect(seen).toEqual(texts(100));
  for (const text of texts(100)) expect(await messages.next()).toBe(text);
});

describe('the end', () => {
  test('comes behind the messages', async () => {
    const { client, socket } = await rawPair();
    const iterator = rich(socket)[Symbol.asyncIterator]();
    const bytes = [...texts(5).map((text) => frame(TEXT, text)), frame(CLOSE, closePayload(4001))];
    client.write(Buffer.concat(bytes));
    for (const value of texts(5)) expect(await iterator.next()).toEqual({ done: false, value });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  test('is told by onClose also where nobody asks the iterator any more', async () => {
    const { client, socket, ends } = await rawPair();
    const iterator = rich(socket)[Symbol.asyncIterator]();
    const bytes = [...texts(5).map((text) => frame(TEXT, text)), frame(CLOSE, closePayload(4001))];
    client.write(Buffer.concat(bytes));
    expect((await ends.next()).code).toBe(4001);
    for (const value of texts(5)) expect(await iterator.next()).toEqual({ done: false, value });
    expect((await iterator.next()).done).toBe(true);
  });

  test('leaves iterators of many connections 16 MiB of messages together, and the others none', async () => {
    const opened = queue<AsyncIterableIterator<string | Buffer>>();
    const { port, plugin } = await served((socket) => {
      opened.push(socket[Symbol.asyncIterator]());
    });
    const end = async () => {
      const client = await rawUpgrade(port);
      const iterator = await opened.next();
      const message = frame(TEXT, Buffer.alloc(65_000, 'x'));
      client.write(Buffer.concat([message, frame(CLOSE, closePayload(4001))]));
      await until(() => plugin.getStats().totalConnections === 0);
      return iterator;
    };
    const kept: AsyncIterableIterator<string | Buffer>[] = [];
    // Each message counts 64 bytes beside its content.
    while ((kept.length + 1) * 65_064 <= 16 << 20) kept.push(await end());
    expect((await (await end()).next()).done).toBe(true);
    // What is taken makes room, and so does who wants no more.
    expect((await kept[0]?.next())?.value).toHaveLength(65_000);
    const another = await end();
    await another.return?.();
    expect((await another.next()).done).toBe(true);
    expect((await (await end()).next()).value).toHaveLength(65_000);
  });

  test.each([
    ['close', (socket: WSSocket) => socket.close()],
    ['terminate', (socket: WSSocket) => socket.terminate()],
  ])('by %s in the loop drops what nobody has asked for', async (_, end) => {
    const { client, socket } = await pair();
    const seen: unknown[] = [];
    const loop = (async () => {
      for await (const data of rich(socket)) {
        seen.push(data);
        end(rich(socket));
      }
    })();
    for (const text of texts(5)) client.send(text);
    await loop;
    expect(seen).toEqual(['0']);
  });

  test('of a connection that has ended is at once', async () => {
    const { client, socket, ends } = await pair();
    client.close();
    await ends.next();
    for await (const _ of rich(socket)) throw new Error('a message');
  });

  test('comes for everybody who has asked', async () => {
    const { client, socket } = await pair();
    const iterator = rich(socket)[Symbol.asyncIterator]();
    const asked = [iterator.next(), iterator.next(), iterator.next()];
    client.send('one');
    expect(await asked[0]).toEqual({ done: false, value: 'one' });
    client.close();
    expect((await asked[1])?.done).toBe(true);
    expect((await asked[2])?.done).toBe(true);
  });
});

describe('errors', () => {
  test('a throw in the loop is the handler’s, while it runs', async () => {
    const errors = queue<unknown>();
    const { url, plugin } = await served(async (socket) => {
      for await (const _ of socket) throw new Error('mine');
    });
    plugin.on('error', (error) => errors.push(error));
    const client = await connect(url());
    client.send('x');
    expect((await client.closed).code).toBe(1011);
    expect(await errors.next()).toEqual(new Error('mine'));
  });

  test('return and throw end an iterator, once and for all', async () => {
    const { client, socket, messages } = await pair();
    for (const end of ['return', 'throw'] as const) {
      const iterator = rich(socket)[Symbol.asyncIterator]();
      const asked = iterator.next();
      const error = new Error('mine');
      if (end === 'return') {
        expect(await iterator.return?.('v')).toEqual({ done: true, value: 'v' });
      } else {
        await expect(iterator.throw?.(error)).rejects.toBe(error);
      }
      expect((await asked).done).toBe(true);
      expect((await iterator.next()).done).toBe(true);
    }
    client.send('x');
    expect(await messages.next()).toBe('x');
  });
});

test('an iterator is paused with its connection', async () => {
  const { client, socket, plugin } = await pair();
  rich(socket).pause();
  const iterator = rich(socket)[Symbol.asyncIterator]();
  let came = false;
  const asked = iterator.next().finally(() => {
    came = true;
  });
  client.send('x');
  await until(() => plugin.getStats().messagesReceived === 1);
  await new Promise(setImmediate);
  expect(came).toBe(false);
  rich(socket).resume();
  expect(await asked).toEqual({ done: false, value: 'x' });
});

test('an iterator is one that it can be iterated over itself', async () => {
  const { client, socket } = await pair();
  const iterator = rich(socket)[Symbol.asyncIterator]();
  expect(iterator[Symbol.asyncIterator]()).toBe(iterator);
  client.send('x');
  for await (const data of iterator) {
    expect(data).toBe('x');
    break;
  }
  expect((await iterator.next()).done).toBe(true);
});
