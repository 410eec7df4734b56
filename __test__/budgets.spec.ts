/** What clients can make the server keep while JavaScript takes no more, however small it is sent. */
import { deflateRawSync } from 'node:zlib';
import { expect, test } from 'vitest';
import type { WSConnection } from '../index.js';
import { blockSource } from './support/block.js';
import { deferred, queue } from './support/events.js';
import { script } from './support/process.js';
import { frame, type RawClient, rawUpgrade, rawUpgradeDeflating, TEXT } from './support/raw.js';
import { serve } from './support/server.js';
import { adopts, createServerSource } from './support/transport.js';
import { until } from './support/until.js';

const MEGABYTE = 1 << 20;

/**
 * A server in a process of its own. It prints its port; for a line `block` it does nothing for a
 * second, and for any line it prints how many messages there were, and its peak memory in MiB.
 */
function startServer(options: string, handler: string) {
  return script(`
    const { WebSocketPlugin } = require('./index.js');
    const server = ${createServerSource};
    const plugin = new WebSocketPlugin(${options});
    let messages = 0;
    plugin.attach(server).ws('/ws', ${handler});
    server.listen(0, '127.0.0.1', () => console.log(server.address().port));
    require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
      if (line === 'block') ${blockSource}(1000);
      const { maxRSS } = process.resourceUsage();
      console.log(JSON.stringify({ messages, peak: Math.round(maxRSS / 1024) }));
    });
  `);
}

type Server = ReturnType<typeof startServer>;

async function ask(server: Server, line: string): Promise<{ messages: number; peak: number }> {
  server.tell(line);
  return JSON.parse(await server.line());
}

async function untilAll(server: Server, messages: number): Promise<number> {
  for (;;) {
    const state = await ask(server, 'state');
    if (state.messages === messages) return state.peak;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A kilobyte that inflates to a megabyte, as a frame. */
function bomb(): Buffer {
  const deflated = deflateRawSync(Buffer.alloc(MEGABYTE, 'a'), { finishFlush: 2 });
  return frame(TEXT, deflated.subarray(0, -4), { rsv: 4 });
}

const COUNT = 'socket.onMessage(() => { messages += 1; });';

test.each<[string, string]>([
  [
    'a handler that takes its time',
    `async (socket) => { ${COUNT} await new Promise((resolve) => setTimeout(resolve, 1000)); }`,
  ],
  ['a handler that is done', `(socket) => { ${COUNT} }`],
])(
  'kilobytes that inflate to megabytes each cost a few of them, with %s',
  async (_name, handler) => {
    const server = startServer('{ perMessageDeflate: true }', handler);
    const port = Number(await server.line());
    const before = await ask(server, 'state');
    const frames = Buffer.concat(Array.from({ length: 96 }, bomb));
    // One of them sends with its request.
    const clients = [
      await rawUpgradeDeflating(port, frames),
      await rawUpgradeDeflating(port),
      await rawUpgradeDeflating(port),
    ];
    for (const client of clients.slice(1)) client.write(frames);
    const blocked = await ask(server, 'block');
    expect(blocked.peak - before.peak).toBeLessThan(110);
    // Nothing of it is lost. (V8 takes its time to collect long strings, so no more of memory here.)
    await untilAll(server, 3 * 96);
  },
);

test('messages held for handlers cost a few megabytes, from however many they come', async () => {
  const server = startServer(
    '{ perMessageDeflate: true }',
    `async (socket) => { ${COUNT} await new Promise((resolve) => setTimeout(resolve, 3000)); }`,
  );
  const port = Number(await server.line());
  const before = await ask(server, 'state');
  const clients: RawClient[] = [];
  for (let index = 0; index < 120; index++) clients.push(await rawUpgradeDeflating(port, bomb()));
  // Each of them is a megabyte once it is inflated.
  const held = await ask(server, 'state');
  expect(held.peak - before.peak).toBeLessThan(70);
  await untilAll(server, clients.length);
});

test('messages of a byte from many at once cost a few megabytes while JavaScript is busy', async () => {
  const server = startServer('{}', `(socket) => { ${COUNT} }`);
  const port = Number(await server.line());
  const bytes = adopts ? 128 << 10 : 64 << 10;
  const one = frame(TEXT, 'x');
  const count = Math.floor(bytes / one.length);
  const frames = Buffer.concat(Array.from({ length: count }, () => one));
  const clients: RawClient[] = [];
  for (let index = 0; index < 150; index++) clients.push(await rawUpgradeDeflating(port));
  const before = await ask(server, 'state');
  const blocked = ask(server, 'block');
  await new Promise((resolve) => setTimeout(resolve, 200));
  for (const client of clients) client.write(frames);
  expect((await blocked).peak - before.peak).toBeLessThan(40);
  await untilAll(server, clients.length * count);
});

test.each([1, 12])('who ends its side is sent all that is queued, %s MiB', async (megabytes) => {
  const { port, plugin } = await serve({}, ({ wsApp }) => {
    wsApp.ws('/ws', (socket) => {
      socket.onMessage(() => {
        for (let index = 0; index < megabytes; index++) socket.send(Buffer.alloc(MEGABYTE, index));
        socket.send('the last one');
      });
    });
  });
  const ended = queue<number>();
  plugin.on('close', (_socket, code) => ended.push(code));
  const client = await rawUpgrade(port);
  client.socket.pause();
  client.write(frame(TEXT, 'go'));
  client.socket.end();
  // It is told at once, and sent the rest all the same.
  expect(await ended.next()).toBe(1006);
  client.socket.resume();
  for (let index = 0; index < megabytes; index++) {
    const { payload } = await client.frame();
    expect(payload.equals(Buffer.alloc(MEGABYTE, index))).toBe(true);
  }
  expect((await client.frame()).payload.toString()).toBe('the last one');
  expect(await client.end()).toHaveLength(0);
});

test('who is cut off while it is paused leaves nothing behind', async () => {
  const paused = deferred<WSConnection>();
  const { port, plugin } = await serve(
    { maxBackpressure: 64 << 10, handshakeTimeoutMs: 500 },
    ({ wsApp }) => {
      wsApp.wsUse((socket, _req, next) => {
        if (socket.url === '/ws?flood') return next();
        paused.resolve(socket);
      });
      wsApp.ws('/ws', (socket) => socket.onMessage(() => {}));
    },
  );
  const slow = await rawUpgrade(port, '/ws?slow');
  const flood = await rawUpgrade(port, '/ws?flood');
  const socket = await paused.promise;
  // Nearly as much as is held for a connection, so that the rest has it paused.
  slow.write(frame(TEXT, Buffer.alloc(62 << 10, 'a')));
  await new Promise((resolve) => setTimeout(resolve, 50));
  slow.write(frame(TEXT, Buffer.alloc(3 << 10, 'a')));
  for (let index = 0; index < 40; index++) flood.write(frame(TEXT, Buffer.alloc(256 << 10, 'a')));
  await new Promise((resolve) => setTimeout(resolve, 20));
  // A queue that runs over in the same moment.
  for (let index = 0; index < 300; index++) socket.send(Buffer.alloc(60 << 10));
  slow.socket.destroy();
  flood.socket.destroy();
  await until(() => plugin.getStats().totalConnections === 0);
});
