/** What clients can make the server keep while JavaScript takes no more, however small it is sent. */
import { deflateRawSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { script } from './support/process.js';
import { frame, type RawClient, rawConnect, TEXT, upgradeRequest } from './support/raw.js';
import { adopts, createServerSource } from './support/transport.js';

const MEGABYTE = 1 << 20;

/**
 * A server in a process of its own. It prints its port; for a line `block` it does nothing for two
 * seconds, and for any line it prints how many messages there were, and its peak memory in MiB.
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
      if (line === 'block') for (const end = Date.now() + 2000; Date.now() < end; );
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

async function upgraded(port: number, early?: Buffer): Promise<RawClient> {
  const client = await rawConnect(port);
  const request = upgradeRequest('/ws', { 'Sec-WebSocket-Extensions': 'permessage-deflate' });
  client.write(early ? Buffer.concat([Buffer.from(request), early]) : request);
  await client.head();
  return client;
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
    const frames = Buffer.concat(Array.from({ length: 48 }, bomb));
    // One of them sends with its request.
    const clients = [await upgraded(port, frames), await upgraded(port), await upgraded(port)];
    for (const client of clients.slice(1)) client.write(frames);
    const blocked = await ask(server, 'block');
    expect(blocked.peak - before.peak).toBeLessThan(60);
    // Nothing of it is lost. (V8 takes its time to collect long strings, so no more of memory here.)
    await untilAll(server, 3 * 48);
  },
);

test('messages of a byte from many at once cost a few megabytes while JavaScript is busy', async () => {
  const server = startServer('{}', `(socket) => { ${COUNT} }`);
  const port = Number(await server.line());
  const bytes = adopts ? 128 << 10 : 64 << 10;
  const one = frame(TEXT, 'x');
  const count = Math.floor(bytes / one.length);
  const frames = Buffer.concat(Array.from({ length: count }, () => one));
  const clients: RawClient[] = [];
  for (let index = 0; index < 150; index++) clients.push(await upgraded(port));
  const before = await ask(server, 'state');
  const blocked = ask(server, 'block');
  await new Promise((resolve) => setTimeout(resolve, 200));
  for (const client of clients) client.write(frames);
  expect((await blocked).peak - before.peak).toBeLessThan(40);
  await untilAll(server, clients.length * count);
});
