/** What belongs around a connection: `types/socket.d.ts`. Sending, pausing and iterating have their own. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, test } from 'vitest';
import type { WSSocket } from '../index.js';
import { connect, open } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { pair, rawPair, serveRecorded } from './support/pair.js';
import { CLOSE, frame, PING, PONG, rawUpgrade } from './support/raw.js';
import { serve } from './support/server.js';

/** A server on `/ws` whose middleware gets the connection, and goes on. */
async function served(path: string, ...patterns: string[]) {
  const sockets = queue<WSSocket>();
  const server = await serve({}, ({ wsApp }) => {
    for (const pattern of patterns) wsApp.ws(pattern, (socket) => sockets.push(socket as WSSocket));
  });
  const client = await connect(server.url(path));
  return { ...server, client, sockets, socket: await sockets.next() };
}

describe('json', () => {
  test('sends what JSON.stringify makes of a value, as a text message', async () => {
    const { socket, client } = await pair();
    expect((socket as WSSocket).json({ text: 'é', list: [1, null], left: undefined })).toBe('sent');
    expect(await client.next()).toBe('{"text":"é","list":[1,null]}');
    (socket as WSSocket).json(null);
    expect(await client.next()).toBe('null');
  });

  test.each([
    ['undefined', undefined],
    ['a function', () => {}],
    ['a symbol', Symbol('s')],
  ])('refuses %s, which JSON cannot express', async (_, value) => {
    const { socket } = await pair();
    expect(() => (socket as WSSocket).json(value)).toThrow(
      /^json: value must be what JSON can express, got /,
    );
  });

  test('throws what a value throws while it is read, and sends nothing', async () => {
    const { socket, client } = await pair();
    const value = {
      toJSON() {
        throw new RangeError('mine');
      },
    };
    expect(() => (socket as WSSocket).json(value)).toThrow('mine');
    expect(() => (socket as WSSocket).json(1n)).toThrow(TypeError);
    socket.send('next');
    expect(await client.next()).toBe('next');
  });

  test('a value that closes the connection while it is read is dropped', async () => {
    const { socket, client } = await pair();
    const toJSON = () => {
      socket.close(4000);
      return 'late';
    };
    expect((socket as WSSocket).json({ toJSON })).toBe('dropped');
    expect((await client.closed).code).toBe(4000);
    expect(client.waiting).toEqual([]);
  });
});

describe('params', () => {
  test.each([
    ['/chat/:room', '/chat/blue?room=red', { room: 'blue' }],
    ['/:a/:b', '/x%2Fy/%C3%A9%20z', { a: 'x/y', b: 'é z' }],
    ['/files/*', '/files/one/two', { '*': 'one/two' }],
    ['*', '/any/where', { '*': 'any/where' }],
    ['/plain', '/plain', {}],
  ])('%s names in %s what it stands for', async (pattern, path, expected) => {
    const { socket } = await served(path, pattern);
    expect(socket.params).toEqual(expected);
    expect(socket.params).toBe(socket.params);
  });

  test('those of the route that was taken, also after a more specific one was added and after the end', async () => {
    const { socket, wsApp, client } = await served('/chat/blue', '/chat/:room');
    wsApp.ws('/chat/blue', () => {});
    const ended = deferred<object>();
    socket.onClose(() => ended.resolve(socket.params));
    client.close();
    expect(await ended.promise).toEqual({ room: 'blue' });
  });

  test('a name is data, whatever it is', async () => {
    const { socket } = await served('/x', '/:__proto__');
    expect(Object.entries(socket.params)).toEqual([['__proto__', 'x']]);
    expect(Object.getPrototypeOf(socket.params)).toBe(Object.prototype);
  });

  test('a path without a handler has none', async () => {
    const sockets = queue<WSSocket>();
    const { url, plugin } = await serve({ path: '/only/:name' });
    plugin.on('connection', (socket) => sockets.push(socket as WSSocket));
    await connect(url('/only/x'));
    expect((await sockets.next()).params).toEqual({});
  });
});

describe('data', () => {
  test('is an object of its own for each connection, the same in middleware, handler and events', async () => {
    const seen = queue<unknown>();
    const { url } = await serve({}, ({ wsApp, plugin }) => {
      plugin.on('connection', (socket) => {
        (socket as WSSocket).data.number = seen.waiting.length;
      });
      wsApp.wsUse((socket, _req, next) => {
        (socket as WSSocket).data.user = 'u';
        next();
      });
      wsApp.ws('/ws', (socket) => seen.push((socket as WSSocket).data));
    });
    await connect(url());
    await connect(url());
    expect(await seen.next()).toEqual({ number: 0, user: 'u' });
    expect(await seen.next()).toEqual({ number: 1, user: 'u' });
  });

  test('may be replaced, and is kept after the end', async () => {
    const { socket, client, ends } = await pair();
    const own = { user: 'x' };
    (socket as WSSocket).data = own;
    client.close();
    await ends.next();
    expect((socket as WSSocket).data).toBe(own);
  });
});

describe('request', () => {
  test('is the upgrade request for middleware and handler, and kept by who has read it', async () => {
    const { url } = await serve({}, ({ wsApp }) => {
      wsApp.wsUse((socket, req, next) => {
        if (req.url?.includes('early')) expect((socket as WSSocket).request).toBe(req);
        next();
      });
      wsApp.ws('/ws', (socket, ...args) => {
        const rich = socket as WSSocket;
        if (socket.url.includes('late')) expect(rich.request).toBe((args as unknown[])[0]);
        socket.onMessage(() => rich.json(rich.request?.url ?? null));
      });
    });
    for (const [path, expected] of [
      ['/ws?early', '/ws?early'],
      ['/ws?late', '/ws?late'],
      ['/ws', null],
    ] as const) {
      const client = await connect(url(path));
      client.send('?');
      expect(await client.nextJson()).toBe(expected);
    }
  });
});

describe('rooms', () => {
  test('names the rooms that the connection is in, and none after its end', async () => {
    const { socket, client, ends } = await pair();
    const rich = socket as WSSocket;
    expect(rich.rooms).toEqual([]);
    socket.join('a');
    socket.join('\ud800');
    socket.join('a');
    socket.join('b');
    socket.leave('b');
    expect(rich.rooms.sort()).toEqual(['a', '\ud800']);
    expect(rich.rooms).toBeInstanceOf(Array);
    client.close();
    await ends.next();
    expect(rich.rooms).toEqual([]);
  });
});

describe('off', () => {
  test('removes the listener that was added last, of several that are the same', async () => {
    const { socket, client } = await pair();
    const rich = socket as WSSocket;
    const heard: string[] = [];
    const one = () => void heard.push('one');
    const two = () => void heard.push('two');
    rich.onMessage(one);
    rich.onMessage(two);
    rich.onMessage(one);
    const done = queue<void>();
    rich.onMessage(() => done.push());
    for (const expected of [['one', 'two', 'one'], ['one', 'two'], ['two'], ['two']]) {
      client.send('x');
      await done.next();
      expect(heard.splice(0)).toEqual(expected);
      rich.off('message', one);
    }
  });

  test('from inside of a listener counts from the next message on', async () => {
    const { socket, client } = await pair();
    const rich = socket as WSSocket;
    const heard: unknown[] = [];
    const once = (data: unknown) => {
      heard.push(data);
      rich.off('message', once);
    };
    rich.onMessage(once);
    rich.onMessage((data) => rich.send(data));
    client.send('1');
    client.send('2');
    expect([await client.next(), await client.next()]).toEqual(['1', '2']);
    expect(heard).toEqual(['1']);
  });

  test('finds a listener that runs in an async context', async () => {
    const { socket, client } = await pair();
    const rich = socket as WSSocket;
    const heard: unknown[] = [];
    const listener = (data: unknown) => void heard.push(data);
    new AsyncLocalStorage().run('context', () => {
      rich.onMessage(listener);
      rich.onClose(() => heard.push('end'));
      rich.onClose(listener);
    });
    rich.off('message', listener);
    rich.off('close', listener);
    rich.onMessage((data) => rich.send(data));
    client.send('1');
    await client.next();
    const end = deferred();
    rich.onClose(() => end.resolve());
    client.close();
    await end.promise;
    expect(heard).toEqual(['end']);
  });

  test('does nothing for what is no listener, and names what it takes', async () => {
    const { socket } = await pair();
    const rich = socket as WSSocket;
    for (const event of ['message', 'close', 'drain', 'pong'] as const) rich.off(event, () => {});
    expect(() => rich.off('error' as 'close', () => {})).toThrow(
      'off: event must be "message", "close", "drain" or "pong", got "error"',
    );
    expect(() => rich.off('close', undefined as never)).toThrow(
      'off: listener must be a function, got undefined',
    );
  });
});

describe('terminate', () => {
  test('cuts the connection without a closing handshake, and the end is told once with 1006', async () => {
    const { socket, client, ends } = await rawPair();
    (socket as WSSocket).terminate();
    (socket as WSSocket).terminate();
    socket.close();
    expect(await client.end()).toEqual(Buffer.alloc(0));
    expect(await ends.next()).toEqual({ code: 1006, reason: '' });
    (socket as WSSocket).terminate();
    expect(socket.isAlive).toBe(false);
    expect(ends.waiting).toEqual([]);
  });

  test('ends the wait for the answer to a close frame', async () => {
    const { socket, client, ends } = await rawPair({ closeTimeoutMs: 60_000 });
    socket.close(4000, 'bye');
    expect((await client.frame()).opcode).toBe(CLOSE);
    (socket as WSSocket).terminate();
    expect((await ends.next()).code).toBe(1006);
  });

  test('in middleware: no handler runs', async () => {
    const ends = queue<number>();
    let handled = false;
    const { url } = await serve({}, ({ wsApp }) => {
      wsApp.wsUse((socket, _req, next) => {
        socket.onClose((code) => ends.push(code));
        (socket as WSSocket).terminate();
        next();
      });
      wsApp.ws('/ws', () => {
        handled = true;
      });
    });
    const client = open(url());
    expect((await client.closed).code).toBe(1006);
    expect(await ends.next()).toBe(1006);
    expect(handled).toBe(false);
  });

  test('drops the messages that the peer had sent', async () => {
    const { socket, client, messages, ends } = await rawPair({}, (each) =>
      each.onMessage(() => (each as WSSocket).terminate()),
    );
    client.write(Buffer.concat([frame(1, 'one'), frame(1, 'two')]));
    expect((await ends.next()).code).toBe(1006);
    expect(messages.waiting).toEqual(['one']);
    expect((socket as WSSocket).send('x')).toBe('dropped');
  });
});

describe('onPong', () => {
  test('tells how long the answer to a ping took, of each that was answered', async () => {
    const { socket, client } = await rawPair();
    const pongs = queue<number>();
    (socket as WSSocket).onPong((latencyMs) => pongs.push(latencyMs));
    const start = performance.now();
    socket.ping();
    socket.ping();
    const [first, second] = [await client.frame(), await client.frame()];
    expect([first.opcode, second.opcode]).toEqual([PING, PING]);
    expect(first.payload).not.toEqual(second.payload);
    client.write(Buffer.concat([frame(PONG, first.payload), frame(PONG, second.payload)]));
    for (const latency of [await pongs.next(), await pongs.next()]) {
      expect(latency).toBeGreaterThan(0);
      expect(latency).toBeLessThan(performance.now() - start + 1);
    }
  });

  test('a pong that nobody asked for has no latency, nor has one that comes again', async () => {
    const { socket, client } = await rawPair({}, (each) => each.onMessage(() => each.send('!')));
    const pongs: number[] = [];
    (socket as WSSocket).onPong((latencyMs) => void pongs.push(latencyMs));
    socket.ping();
    const { payload } = await client.frame();
    for (const each of ['', 'long payload', payload, payload]) client.write(frame(PONG, each));
    client.write(frame(1, '?'));
    await client.frame();
    expect(pongs.length).toBe(1);
  });

  test('pings of the heartbeat count as well, and nothing is told any more after off', async () => {
    const { socket, client } = await pair({ heartbeatMs: 20 });
    const pongs = queue<number>();
    const listener = (latencyMs: number) => pongs.push(latencyMs);
    (socket as WSSocket).onPong(listener);
    await pongs.next();
    (socket as WSSocket).off('pong', listener);
    const seen = pongs.waiting.length;
    client.ws.once('ping', () => client.ws.once('ping', () => client.send('later')));
    const later = deferred();
    socket.onMessage(() => later.resolve());
    await later.promise;
    expect(pongs.waiting.length).toBe(seen);
  });

  test('without a listener pings have no payload', async () => {
    const { socket, client } = await rawPair();
    socket.ping();
    expect((await client.frame()).payload.length).toBe(0);
  });
});

test('an own property of a connection is id, url and protocol, and nothing else', async () => {
  const { socket } = await pair();
  const rich = socket as WSSocket;
  rich.data.x = rich.params;
  rich.pause();
  rich.resume();
  expect(Object.keys(socket)).toEqual(['id', 'url', 'protocol']);
});

test('a raw upgrade is served by its own connection', async () => {
  const { port, sockets } = await serveRecorded();
  const [one, other] = [await rawUpgrade(port), await rawUpgrade(port)];
  const [first, second] = [await sockets.next(), await sockets.next()];
  expect((first as WSSocket).request).toBeUndefined();
  expect((first as WSSocket).data).not.toBe((second as WSSocket).data);
  one.socket.destroy();
  other.socket.destroy();
});
