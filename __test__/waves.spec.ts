/** `cleanup({ overMs, code, reason })`. */

import { afterEach, describe, expect, test, vi } from 'vitest';
import type { WebSocketCleanupOptions } from '../index.js';
import { type Client, connect, expectEchoOn, refused } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { echo, serveRecorded } from './support/pair.js';
import { serve } from './support/server.js';

afterEach(() => {
  vi.restoreAllMocks();
});

/** Longer than any test takes. */
const AGES = 600_000;

async function crowd(count: number) {
  const served = await serveRecorded({}, echo);
  const clients: Client[] = [];
  for (let index = 0; index < count; index += 1) clients.push(await connect(served.url()));
  return { ...served, clients };
}

/** How many of them have been told of their end, in the order in which they have. */
function endsOf(clients: Client[]): number[] {
  const ended: number[] = [];
  for (const [index, client] of clients.entries()) client.closed.then(() => ended.push(index));
  return ended;
}

describe('a clean-up over some time', () => {
  test('closes one after the other, with the code and reason that it is given', async () => {
    const { clients, plugin } = await crowd(40);
    const openAt: number[] = [];
    plugin.on('close', () => openAt.push(plugin.getStats().totalConnections));
    await plugin.cleanup({ overMs: 600, code: 1012, reason: 'service restart' });
    for (const client of clients) {
      expect(await client.closed).toEqual({ code: 1012, reason: 'service restart' });
    }
    expect(openAt).toHaveLength(40);
    expect(plugin.isPluginInstalled()).toBe(false);
  });

  test('is no longer ready at once, refuses who comes, and serves those who are there', async () => {
    const { clients, plugin, url } = await crowd(3);
    const ended = endsOf(clients);
    expect(await plugin.healthCheck()).toBe(true);
    const over = plugin.cleanup({ overMs: AGES });
    expect(await plugin.healthCheck()).toBe(false);
    expect(plugin.getStatus().shuttingDown).toBe(true);
    expect(await refused(url())).toMatchObject({ status: 503 });
    // The first is closed in a moment, and the others much later.
    const [first] = await Promise.race(
      clients.map(async (client, index) => {
        await client.closed;
        return [index];
      }),
    );
    for (const [index, client] of clients.entries()) {
      if (index !== first) await expectEchoOn(client, `hello ${index}`);
    }
    expect(ended).toEqual([first]);
    await plugin.cleanup();
    await over;
    for (const client of clients) {
      expect(await client.closed).toEqual({ code: 1001, reason: 'server is shutting down' });
    }
  });

  test('is not the order in which they came', async () => {
    const { clients, plugin } = await crowd(30);
    const ended = endsOf(clients);
    await plugin.cleanup({ overMs: 300 });
    await Promise.all(clients.map(({ closed }) => closed));
    expect(ended).not.toEqual([...ended].sort((one, other) => one - other));
  });

  test('leaves the messages of whom has ended by himself to a handler that is not ready', async () => {
    // They are closed in this order: the first, the third, the second.
    vi.spyOn(Math, 'random').mockReturnValue(0);
    const ready = deferred();
    const heard = queue<unknown>();
    let count = 0;
    const { plugin, url } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => {
        count += 1;
        if (count < 3) return undefined;
        socket.onMessage((data) => heard.push(data));
        socket.onClose((code) => heard.push(code));
        return ready.promise;
      });
    });
    const clients: Client[] = [];
    for (let index = 0; index < 3; index += 1) clients.push(await connect(url()));
    const over = plugin.cleanup({ overMs: 1500 });
    clients[2]?.send('one');
    clients[2]?.send('two');
    clients[2]?.close(4000);
    await over;
    ready.resolve();
    expect([await heard.next(), await heard.next(), await heard.next()]).toEqual([
      'one',
      'two',
      4000,
    ]);
  });

  test('is over as soon as nobody is left', async () => {
    const { clients, plugin } = await crowd(3);
    const over = plugin.cleanup({ overMs: AGES });
    for (const client of clients) client.close();
    await over;
    expect(plugin.getStats().totalConnections).toBe(0);
  });

  test('is over at once where nobody is there', async () => {
    const { plugin } = await crowd(0);
    await plugin.cleanup({ overMs: AGES });
    expect(plugin.isPluginInstalled()).toBe(false);
  });

  test('is hastened by cleanup(), and keeps its code', async () => {
    const { clients, plugin } = await crowd(5);
    const over = plugin.cleanup({ overMs: AGES, code: 4000, reason: 'moved' });
    await plugin.cleanup({ code: 4001 });
    await over;
    for (const client of clients) {
      expect(await client.closed).toEqual({ code: 4000, reason: 'moved' });
    }
  });

  test('is hastened by the shutdown of the application', async () => {
    const { clients, plugin, app } = await crowd(5);
    const over = plugin.cleanup({ overMs: AGES });
    app.emit('shutdown');
    await over;
    for (const client of clients) expect(await client.closed).toMatchObject({ code: 1001 });
  });

  test('goes on when its server stops to listen, and when it is asked for again', async () => {
    const { clients, plugin, server } = await crowd(3);
    const ended = endsOf(clients);
    const over = plugin.cleanup({ overMs: AGES });
    const again = plugin.cleanup({ overMs: 1 });
    server.close();
    await Promise.race(clients.map(({ closed }) => closed));
    for (const [index, client] of clients.entries()) {
      if (!ended.includes(index)) await expectEchoOn(client, 'still here');
    }
    expect(ended).toHaveLength(1);
    await plugin.cleanup();
    await Promise.all([over, again]);
  });

  test('can be followed by another installation', async () => {
    const { plugin, app, clients, url } = await crowd(2);
    await plugin.cleanup({ overMs: 50 });
    for (const client of clients) await client.closed;
    plugin.install(app);
    expect(await plugin.healthCheck()).toBe(true);
    await expectEchoOn(await connect(url()), 'again');
  });
});

test.each<[unknown, string]>([
  [
    null,
    'TypeError: WebSocketPlugin.cleanup: options must be an object with overMs, code and reason, got null',
  ],
  [
    [],
    'TypeError: WebSocketPlugin.cleanup: options must be an object with overMs, code and reason, got an empty array',
  ],
  [
    { over: 1 },
    'TypeError: WebSocketPlugin.cleanup: unknown option "over"; accepted are "overMs", "code" and "reason"',
  ],
  [
    { overMs: '1' },
    'TypeError: WebSocketPlugin.cleanup: overMs must be a whole number of milliseconds from 0 to 2147483647, got "1"',
  ],
  [
    { overMs: -1 },
    'RangeError: WebSocketPlugin.cleanup: overMs must be a whole number of milliseconds from 0 to 2147483647, got -1',
  ],
  [
    { overMs: 1.5 },
    'RangeError: WebSocketPlugin.cleanup: overMs must be a whole number of milliseconds from 0 to 2147483647, got 1.5',
  ],
  [
    { code: 1005 },
    'RangeError: WebSocketPlugin.cleanup: code must be 1000-1003, 1007-1014 or 3000-4999, got 1005',
  ],
  [{ code: '1001' }, 'TypeError: WebSocketPlugin.cleanup: code must be a number, got "1001"'],
  [{ reason: 1 }, 'TypeError: WebSocketPlugin.cleanup: reason must be a string, got 1'],
  [
    { reason: 'ä'.repeat(62) },
    'RangeError: WebSocketPlugin.cleanup: reason must be at most 123 bytes of UTF-8, got 124 bytes',
  ],
])('cleanup(%j) is refused, and nothing is cleaned up', async (options, message) => {
  const { plugin, clients } = await crowd(1);
  const error = await plugin.cleanup(options as WebSocketCleanupOptions).catch(String);
  expect(error).toBe(message);
  expect(await plugin.healthCheck()).toBe(true);
  await expectEchoOn(clients[0] as Client, 'alive');
});
