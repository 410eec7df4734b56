/** Who is read when peers send more than JavaScript takes: everybody, in turn. */
import { describe, expect, test } from 'vitest';
import { script } from './support/process.js';
import { BINARY, frame, rawUpgrade, TEXT } from './support/raw.js';
import { createServerSource } from './support/transport.js';

const CONNECTIONS = 48;
const MESSAGES = 16;

/** More than the engine keeps for JavaScript comes from all together in one round. */
const burst = Buffer.concat(
  Array.from({ length: MESSAGES }, () => frame(BINARY, Buffer.alloc(16 << 10))),
);

/**
 * A server in a process of its own that asks each client for the next burst once it has had one, and
 * prints how many it had of each when one of them has sent `rounds`.
 */
function startServer(options: string, rounds: number) {
  return script(`
    const { WebSocketPlugin } = require('./index.js');
    const server = ${createServerSource};
    const bursts = [];
    new WebSocketPlugin(${options}).attach(server).ws('/ws', (socket) => {
      const number = bursts.push(0) - 1;
      let messages = 0;
      socket.onMessage(() => {
        // The work of an application, so that it is JavaScript that everybody waits for.
        for (let until = process.hrtime.bigint() + 30000n; process.hrtime.bigint() < until; );
        messages += 1;
        if (messages % ${MESSAGES} !== 0) return;
        bursts[number] += 1;
        if (bursts[number] === ${rounds}) console.log(JSON.stringify(bursts));
        socket.send('next');
      });
    });
    server.listen(0, '127.0.0.1', () => console.log(server.address().port));
  `);
}

describe.each([1, 2])('%s I/O threads, and clients that always have more to send', (threads) => {
  test('all are read equally often', async () => {
    const server = startServer(`{ ioThreads: ${threads} }`, 20);
    const port = Number(await server.line());
    const clients = [];
    for (let index = 0; index < CONNECTIONS; index++) clients.push(await rawUpgrade(port));
    for (const client of clients) {
      client.write(burst);
      (async () => {
        for (;;) {
          expect((await client.frame()).opcode).toBe(TEXT);
          client.write(burst);
        }
      })().catch(() => {});
    }
    const bursts: number[] = JSON.parse(await server.line());
    expect(Math.min(...bursts)).toBeGreaterThan(10);
  });
});
