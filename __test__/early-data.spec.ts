import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { WSConnection } from '../index.js';
import { connect } from './support/client.js';
import { deferred, queue } from './support/events.js';
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  closePayload,
  frame,
  PING,
  PONG,
  type RawClient,
  rawConnect,
  rawUpgrade,
  TEXT,
  upgradeRequest,
} from './support/raw.js';
import { type Served, type ServeOptions, serve } from './support/server.js';
import { until } from './support/until.js';

const texts = (count: number) => Array.from({ length: count }, (_, n) => `message ${n}`);
const framesOf = (messages: string[]) =>
  Buffer.concat(messages.map((message) => frame(TEXT, message)));

async function take<T>(source: { next(): Promise<T> }, count: number): Promise<T[]> {
  const items: T[] = [];
  while (items.length < count) items.push(await source.next());
  return items;
}

/** Nothing else arrives before what is sent now: a marker, and only that is the next message. */
async function expectNothingBefore(
  client: RawClient,
  messages: { next(): Promise<unknown> },
): Promise<void> {
  client.write(frame(TEXT, 'marker'));
  expect(await messages.next()).toBe('marker');
}

/** Four places in which user code may take its time before the handler is done. */
interface Delay {
  reached: Promise<void>;
  open(): void;
  options: ServeOptions;
  setup(served: Pick<Served, 'wsApp'>): void;
  /** Awaited by the handler. */
  inHandler(): Promise<void> | undefined;
}

function delayIn(place: string): Delay {
  const reached = deferred();
  const gate = deferred();
  const wait = () => {
    reached.resolve();
    return gate.promise;
  };
  return {
    reached: reached.promise,
    open: gate.resolve,
    options: {
      verifyClient: place === 'verifyClient' ? () => wait().then(() => true) : undefined,
      before: (app) => {
        if (place !== 'HTTP middleware') return;
        app.use(async (_ctx, next) => {
          await wait();
          await next();
        });
      },
    },
    setup({ wsApp }) {
      if (place !== 'WebSocket middleware') return;
      wsApp.wsUse(async (_socket, _req, next) => {
        await wait();
        next();
      });
    },
    inHandler: () => (place === 'the handler' ? wait() : undefined),
  };
}

const places = ['verifyClient', 'HTTP middleware', 'WebSocket middleware', 'the handler'];

/** A server whose handler passes every message on to a queue, delayed in one place. */
async function delayed(place: string) {
  const delay = delayIn(place);
  const messages = queue<string | Buffer>();
  const served = await serve(delay.options, (parts) => {
    delay.setup(parts);
    parts.wsApp.ws('/ws', async (socket) => {
      await delay.inHandler();
      socket.onMessage(messages.push);
    });
  });
  return { ...served, delay, messages };
}

describe('bytes in the same segment as the request', () => {
  test('are the first messages, in order', async () => {
    const messages = queue<string | Buffer>();
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => socket.onMessage(messages.push));
    });
    const client = await rawUpgrade(port, '/ws', framesOf(texts(100)));
    expect(await take(messages, 100)).toEqual(texts(100));
    await expectNothingBefore(client, messages);
  });

  test('are messages of whichever kind they are, and control frames', async () => {
    const messages = queue<string | Buffer>();
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => socket.onMessage(messages.push));
    });
    const early = [
      frame(TEXT, 'é€'),
      frame(PING, 'are you there'),
      frame(BINARY, Buffer.from([0, 1, 255])),
      frame(TEXT, ''),
    ];
    const client = await rawUpgrade(port, '/ws', Buffer.concat(early));
    expect(await take(messages, 3)).toEqual(['é€', Buffer.from([0, 1, 255]), '']);
    const pong = await client.frame();
    expect(pong).toMatchObject({ opcode: PONG, payload: Buffer.from('are you there') });
  });

  test('are delivered on a path whose middleware is synchronous, before anything later', async () => {
    const messages = queue<string | Buffer>();
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.wsUse((_socket, _req, next) => next());
      wsApp.ws('/ws', (socket) => socket.onMessage(messages.push));
    });
    const client = await rawUpgrade(port, '/ws', frame(TEXT, 'early'));
    client.write(frame(TEXT, 'late'));
    expect(await take(messages, 2)).toEqual(['early', 'late']);
  });

  test('a protocol error in them ends the connection as any other does', async () => {
    const codes = queue<number>();
    const { port, plugin } = await serve();
    plugin.on('close', (_socket, code) => codes.push(code));
    const client = await rawUpgrade(port, '/ws', frame(TEXT, 'unmasked', { mask: false }));
    const answer = await client.frame();
    expect(answer.opcode).toBe(CLOSE);
    expect(answer.payload.readUInt16BE()).toBe(1002);
    client.write(frame(CLOSE, closePayload(1002)));
    expect(await codes.next()).toBe(1002);
  });

  test('a close frame in them closes the connection after the messages before it', async () => {
    const events = queue<unknown>();
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => {
        socket.onMessage(events.push);
        socket.onClose((code, reason) => events.push([code, reason]));
      });
    });
    const early = Buffer.concat([
      framesOf(texts(3)),
      frame(CLOSE, closePayload(4000, 'short visit')),
    ]);
    const client = await rawUpgrade(port, '/ws', early);
    expect(await take(events, 4)).toEqual([...texts(3), [4000, 'short visit']]);
    expect(await client.frame()).toMatchObject({ opcode: CLOSE });
    await client.end();
  });
});

describe.each(places)('while %s still runs', (place) => {
  test('frames in the same segment as the request are kept in order', async () => {
    const { port, delay, messages } = await delayed(place);
    const client = await rawConnect(port);
    client.write(Buffer.concat([Buffer.from(upgradeRequest('/ws')), framesOf(texts(50))]));
    await delay.reached;
    delay.open();
    expect(await take(messages, 50)).toEqual(texts(50));
    await expectNothingBefore(client, messages);
  });

  test('frames that come in segments of their own are kept in order', async () => {
    const { port, server, delay, messages } = await delayed(place);
    const accepted = once(server, 'connection');
    const client = await rawConnect(port);
    client.socket.setNoDelay(true);
    client.write(upgradeRequest('/ws'));
    await accepted;
    await delay.reached;
    for (const message of texts(50)) {
      client.write(frame(TEXT, message));
      await new Promise((resolve) => setImmediate(resolve));
    }
    delay.open();
    expect(await take(messages, 50)).toEqual(texts(50));
    await expectNothingBefore(client, messages);
  });

  test('300 KB in one go are kept whole', async () => {
    const { port, delay, messages } = await delayed(place);
    const payloads = Array.from({ length: 6 }, () => randomBytes(50_000));
    const client = await rawConnect(port);
    const frames = payloads.map((payload) => frame(BINARY, payload));
    client.write(Buffer.concat([Buffer.from(upgradeRequest('/ws')), ...frames]));
    await delay.reached;
    delay.open();
    const received = await take(messages, 6);
    expect(
      received.map((data) => payloads.findIndex((sent) => sent.equals(data as Buffer))),
    ).toEqual([0, 1, 2, 3, 4, 5]);
    await expectNothingBefore(client, messages);
  });

  test('one message of 600 KB that begins early and ends late is whole', async () => {
    const { port, delay, messages } = await delayed(place);
    const payload = randomBytes(600_000);
    const bytes = frame(BINARY, payload);
    const client = await rawConnect(port);
    client.write(Buffer.concat([Buffer.from(upgradeRequest('/ws')), bytes.subarray(0, 150_000)]));
    await delay.reached;
    client.write(bytes.subarray(150_000, 400_000));
    delay.open();
    client.write(bytes.subarray(400_000));
    expect(payload.equals((await messages.next()) as Buffer)).toBe(true);
    await expectNothingBefore(client, messages);
  });

  test('a frame that is cut in its header is put together', async () => {
    const { port, delay, messages } = await delayed(place);
    const bytes = frame(TEXT, 'x'.repeat(300));
    const client = await rawConnect(port);
    client.write(Buffer.concat([Buffer.from(upgradeRequest('/ws')), bytes.subarray(0, 3)]));
    await delay.reached;
    delay.open();
    client.write(bytes.subarray(3));
    expect(await messages.next()).toBe('x'.repeat(300));
  });

  test('the fragments of a message around the hand-off are put together', async () => {
    const { port, delay, messages } = await delayed(place);
    const client = await rawConnect(port);
    const early = [
      frame(TEXT, 'one, ', { fin: false }),
      frame(PING, 'p'),
      frame(CONTINUATION, 'two, ', { fin: false }),
    ];
    client.write(Buffer.concat([Buffer.from(upgradeRequest('/ws')), ...early]));
    await delay.reached;
    delay.open();
    expect(await client.head()).toMatch(/^HTTP\/1\.1 101 /);
    client.write(frame(CONTINUATION, 'three'));
    expect(await messages.next()).toBe('one, two, three');
  });

  test('a character cut in two by the hand-off is put together', async () => {
    const { port, delay, messages } = await delayed(place);
    const client = await rawConnect(port);
    const euro = Buffer.from('€');
    const early = frame(TEXT, euro.subarray(0, 1), { fin: false });
    client.write(Buffer.concat([Buffer.from(upgradeRequest('/ws')), early]));
    await delay.reached;
    delay.open();
    client.write(frame(CONTINUATION, euro.subarray(1)));
    expect(await messages.next()).toBe('€');
  });

  test('what a client sends and then closes on arrives, the close last', {
    timeout: 5_000,
  }, async () => {
    const delay = delayIn(place);
    const events = queue<unknown>();
    const { port } = await serve(delay.options, (parts) => {
      delay.setup(parts);
      parts.wsApp.ws('/ws', async (socket) => {
        await delay.inHandler();
        socket.onMessage(events.push);
        socket.onClose((code, reason) => events.push([code, reason]));
      });
    });
    const client = await rawConnect(port);
    const early = [framesOf(texts(3)), frame(CLOSE, closePayload(4001, 'bye'))];
    client.write(Buffer.concat([Buffer.from(upgradeRequest('/ws')), ...early]));
    await delay.reached;
    if (place === 'WebSocket middleware' || place === 'the handler') {
      // The engine has the connection already: it answers the close while user code is busy.
      await client.head();
      expect(await client.frame()).toMatchObject({ opcode: CLOSE });
      await client.end();
    }
    delay.open();
    expect(await take(events, 4)).toEqual([...texts(3), [4001, 'bye']]);
  });
});

describe('messages before onMessage', () => {
  test('are delivered when the handler has returned, not before', async () => {
    const events = queue<string>();
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => {
        socket.onMessage((data) => events.push(`message ${data}`));
        events.push('still in the handler');
      });
    });
    await rawUpgrade(port, '/ws', frame(TEXT, 'a'));
    expect(await take(events, 2)).toEqual(['still in the handler', 'message a']);
  });

  test('reach all listeners that an async handler has added when it resolves', async () => {
    const gate = deferred();
    const events = queue<string>();
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', async (socket) => {
        await gate.promise;
        socket.onMessage((data) => events.push(`first: ${data}`));
        socket.onMessage((data) => events.push(`second: ${data}`));
      });
    });
    const client = await rawUpgrade(port, '/ws', framesOf(['a', 'b']));
    client.write(frame(PING));
    await client.frame();
    expect(events.waiting).toEqual([]);
    gate.resolve();
    expect(await take(events, 4)).toEqual(['first: a', 'second: a', 'first: b', 'second: b']);
  });

  test('a listener that is added later gets what comes later', async () => {
    const messages = queue<string>();
    const sockets = queue<WSConnection>();
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => {
        socket.onMessage((data) => messages.push(`first: ${data}`));
        sockets.push(socket);
      });
    });
    const client = await rawUpgrade(port, '/ws', frame(TEXT, 'a'));
    expect(await messages.next()).toBe('first: a');
    (await sockets.next()).onMessage((data) => messages.push(`second: ${data}`));
    client.write(frame(TEXT, 'b'));
    expect(await take(messages, 2)).toEqual(['first: b', 'second: b']);
    expect(messages.waiting).toEqual([]);
  });

  test('that nobody listened to when the handler returned are not kept for a later listener', async () => {
    const messages = queue<string | Buffer>();
    const sockets = queue<WSConnection>();
    const { port, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', sockets.push);
    });
    const client = await rawUpgrade(port, '/ws', Buffer.concat([frame(TEXT, 'a'), frame(PING)]));
    const socket = await sockets.next();
    await client.frame();
    // A second connection's message has passed the same queue, so the first one's is through.
    const passed = deferred();
    plugin.once('connection', (other) => other.onMessage(() => passed.resolve()));
    await rawUpgrade(port, '/ws', frame(TEXT, 'another'));
    await passed.promise;
    socket.onMessage(messages.push);
    client.write(frame(TEXT, 'b'));
    expect(await messages.next()).toBe('b');
  });

  test('come to a handler that registers a listener and then awaits for ever', async () => {
    const messages = queue<string | Buffer>();
    const { port } = await serve({ handshakeTimeoutMs: 50 }, ({ wsApp }) => {
      wsApp.ws('/ws', async (socket) => {
        socket.onMessage(messages.push);
        await new Promise(() => {});
      });
    });
    const client = await rawUpgrade(port, '/ws', frame(TEXT, 'early'));
    client.write(frame(TEXT, 'late'));
    expect(await take(messages, 2)).toEqual(['early', 'late']);
  });

  test('come to a listener that a handler adds in the middle of its work', async () => {
    const gate = deferred();
    const messages = queue<string | Buffer>();
    const { port } = await serve({ handshakeTimeoutMs: 50 }, ({ wsApp }) => {
      wsApp.ws('/ws', async (socket) => {
        await gate.promise;
        socket.onMessage(messages.push);
        await new Promise(() => {});
      });
    });
    const client = await rawUpgrade(port, '/ws', framesOf(texts(10)));
    gate.resolve();
    client.write(frame(TEXT, 'late'));
    expect(await take(messages, 11)).toEqual([...texts(10), 'late']);
  });

  test('let a handler ask and wait for the answer', async () => {
    const { url } = await serve({ handshakeTimeoutMs: 50 }, ({ wsApp }) => {
      wsApp.ws('/ws', async (socket) => {
        const name = await new Promise<string>((resolve) => {
          socket.onMessage((data) => resolve(data.toString()));
          socket.send('What is your name?');
        });
        socket.send(`Hello ${name}`);
      });
    });
    const client = await connect(url());
    expect(await client.next()).toBe('What is your name?');
    client.send('Ada');
    expect(await client.next()).toBe('Hello Ada');
  });

  test('of a client that sends without end are held back at its side, and none is lost', async () => {
    const gate = deferred();
    const messages = queue<string | Buffer>();
    const { port, url } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', async (socket) => {
        await gate.promise;
        socket.onMessage(messages.push);
      });
      wsApp.ws('/echo', (socket) => socket.onMessage((data) => socket.send(data)));
    });
    const client = await rawUpgrade(port);
    const payload = Buffer.alloc(100_000);
    for (let count = 0; count < 200; count++) {
      payload.writeUInt32BE(count);
      client.write(frame(BINARY, payload));
    }
    // 20 MB do not fit into what the two ends of a connection buffer: unless the server goes on
    // reading, they come to a standstill while the same engine answers somebody else many times.
    const other = await connect(url('/echo'));
    for (let onTheWay = -1; onTheWay !== client.socket.writableLength; ) {
      onTheWay = client.socket.writableLength;
      for (let turn = 0; turn < 50; turn++) {
        other.send('turn');
        await other.next();
      }
    }
    expect(client.socket.writableLength).toBeGreaterThan(0);
    gate.resolve();
    const received = await take(messages, 200);
    expect(received.map((data) => (data as Buffer).readUInt32BE())).toEqual(
      Array.from({ length: 200 }, (_, n) => n),
    );
  });
});

describe('a close during a slow handler', () => {
  test('comes after the messages, also where onClose was registered before onMessage', async () => {
    const gate = deferred();
    const events = queue<unknown>();
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', async (socket) => {
        await gate.promise;
        socket.onClose((code, reason) => events.push([code, reason]));
        socket.onMessage(events.push);
      });
    });
    const early = Buffer.concat([framesOf(['a', 'b']), frame(CLOSE, closePayload(4001, 'bye'))]);
    const client = await rawUpgrade(port, '/ws', early);
    await client.frame();
    await client.end();
    gate.resolve();
    expect(await take(events, 3)).toEqual(['a', 'b', [4001, 'bye']]);
  });

  test('comes after the messages, also where onClose was registered before the wait', async () => {
    const gate = deferred();
    const events = queue<unknown>();
    const { port, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', async (socket) => {
        socket.onClose((code, reason) => events.push([code, reason]));
        await gate.promise;
        socket.onMessage(events.push);
      });
    });
    const early = Buffer.concat([framesOf(['a', 'b']), frame(CLOSE, closePayload(4001, 'bye'))]);
    await rawUpgrade(port, '/ws', early);
    await until(() => plugin.getStats().totalConnections === 0);
    gate.resolve();
    expect(await take(events, 3)).toEqual(['a', 'b', [4001, 'bye']]);
  });

  test('is told exactly once to each listener', async () => {
    const gate = deferred();
    const events = queue<unknown>();
    const { port, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', async (socket) => {
        socket.onClose((code) => events.push(['early', code]));
        await gate.promise;
        socket.onClose((code) => events.push(['late', code]));
      });
    });
    await rawUpgrade(port, '/ws', frame(CLOSE, closePayload(4002)));
    await until(() => plugin.getStats().totalConnections === 0);
    gate.resolve();
    expect(await take(events, 2)).toEqual([
      ['early', 4002],
      ['late', 4002],
    ]);
    await rawUpgrade(port, '/ws', frame(CLOSE, closePayload(4003)));
    expect(await events.next()).toEqual(['early', 4003]);
    expect(await events.next()).toEqual(['late', 4003]);
  });

  test('by the server itself ends the delivery of what it has held', async () => {
    const gate = deferred();
    const events = queue<unknown>();
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', async (socket) => {
        socket.onMessage(events.push);
        socket.onClose((code) => events.push(code));
        socket.close(4003, 'no more');
        await gate.promise;
      });
    });
    const client = await rawUpgrade(port, '/ws', framesOf(['a', 'b']));
    const answer = await client.frame();
    expect(answer.payload.readUInt16BE()).toBe(4003);
    client.write(Buffer.concat([frame(TEXT, 'c'), frame(CLOSE, closePayload(4003))]));
    expect(await events.next()).toBe(4003);
    gate.resolve();
    expect(events.waiting).toEqual([]);
  });

  test('by a listener ends the delivery of what is still held', async () => {
    const gate = deferred();
    const events = queue<unknown>();
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', async (socket) => {
        socket.onMessage((data) => {
          events.push(data);
          socket.close(4003, 'one is enough');
        });
        socket.onClose((code) => events.push(code));
        await gate.promise;
      });
    });
    const client = await rawUpgrade(port, '/ws', framesOf(['a', 'b', 'c']));
    client.write(frame(PING));
    await client.frame();
    gate.resolve();
    const answer = await client.frame();
    expect(answer.payload.readUInt16BE()).toBe(4003);
    client.write(frame(CLOSE, closePayload(4003)));
    expect(await take(events, 2)).toEqual(['a', 4003]);
    expect(events.waiting).toEqual([]);
  });

  test('is told, and the messages dropped, where the handler then rejects', async () => {
    const gate = deferred();
    const events = queue<unknown>();
    const { port, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', async (socket) => {
        socket.onMessage(events.push);
        socket.onClose((code, reason) => events.push([code, reason]));
        await gate.promise;
        throw new Error('the handler is wrong');
      });
    });
    plugin.on('error', ({ message }) => events.push(message));
    const early = Buffer.concat([framesOf(['a', 'b']), frame(CLOSE, closePayload(4001, 'bye'))]);
    await rawUpgrade(port, '/ws', early);
    await until(() => plugin.getStats().totalConnections === 0);
    gate.resolve();
    expect(await take(events, 2)).toEqual(['the handler is wrong', [4001, 'bye']]);
    expect(events.waiting).toEqual([]);
  });

  test('is told once the limit is over where middleware never lets the handler run', async () => {
    const events = queue<unknown>();
    const { port, plugin } = await serve({ handshakeTimeoutMs: 50 }, ({ wsApp }) => {
      wsApp.wsUse((socket) => socket.onClose((code) => events.push(code)));
      wsApp.ws('/ws', () => events.push('handler'));
    });
    plugin.on('close', (_socket, code) => events.push(['event', code]));
    const early = Buffer.concat([framesOf(['a', 'b']), frame(CLOSE, closePayload(4001, 'bye'))]);
    await rawUpgrade(port, '/ws', early);
    expect(await take(events, 2)).toEqual([4001, ['event', 4001]]);
    expect(events.waiting).toEqual([]);
  });

  test('by a client that vanishes is told as 1006 after its messages', async () => {
    const gate = deferred();
    const events = queue<unknown>();
    const { port, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', async (socket) => {
        await gate.promise;
        socket.onMessage(events.push);
        socket.onClose((code) => events.push(code));
      });
    });
    const client = await rawUpgrade(port, '/ws', framesOf(['a', 'b']));
    client.socket.destroy();
    await until(() => plugin.getStats().totalConnections === 0);
    gate.resolve();
    expect(await take(events, 3)).toEqual(['a', 'b', 1006]);
  });
});
