/** What only connections over TLS can do. All other specs run over TLS as well. */
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { describe, expect, test } from 'vitest';
import type { WSSocket } from '../index.js';
import { connect, expectEcho } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { echo, pair, rawPair, serveRecorded } from './support/pair.js';
import { BINARY, CLOSE, closePayload, frame, rawConnect, upgradeRequest } from './support/raw.js';
import { serve } from './support/server.js';
import { isBun } from './support/transport.js';
import { until } from './support/until.js';

const KILOBYTE = 1 << 10;
const MEGABYTE = 1 << 20;

test('connections are bridged, and handlers see whom they speak to', async () => {
  const seen = queue<Record<string, unknown>>();
  const { url, plugin } = await serve({}, ({ wsApp }) => {
    wsApp.ws('/ws', (_socket, req) => {
      const { encrypted, remoteAddress, localPort } = req.socket as TLSSocket;
      // What a socket knows of its TLS, in Bun it does not say.
      const protocol = isBun ? 'TLSv1.3' : (req.socket as TLSSocket).getProtocol();
      seen.push({ encrypted, remoteAddress, localPort, protocol });
    });
  });
  await connect(url());
  expect(await seen.next()).toEqual({
    encrypted: true,
    remoteAddress: '127.0.0.1',
    localPort: Number(new URL(url()).port),
    protocol: 'TLSv1.3',
  });
  expect(plugin.getStats().transports).toEqual({ adopted: 0, bridged: 1 });
});

describe('the end of a connection', () => {
  test('by a close frame and an end of TLS right behind it is still answered', async () => {
    const { client, ends } = await rawPair();
    client.write(frame(CLOSE, closePayload(4000, 'bye')));
    client.socket.end();
    expect(await client.frame()).toMatchObject({
      opcode: CLOSE,
      payload: closePayload(4000, 'bye'),
    });
    expect(await ends.next()).toEqual({ code: 4000, reason: 'bye' });
    expect(await client.end()).toHaveLength(0);
  });

  test('is one of TLS, too, after everything that was sent before it', async () => {
    // Time for a busy machine to take all of it.
    const { client, socket } = await rawPair({ closeTimeoutMs: 25_000 });
    const errors: Error[] = [];
    client.socket.on('error', (error) => errors.push(error));
    const ended = once(client.socket, 'end');
    socket.send(Buffer.alloc(8 * MEGABYTE, 7));
    socket.close(4000, 'enough');
    expect((await client.frame()).payload.equals(Buffer.alloc(8 * MEGABYTE, 7))).toBe(true);
    expect((await client.frame()).payload).toEqual(closePayload(4000, 'enough'));
    client.write(frame(CLOSE, closePayload(4000)));
    await ended;
    expect(errors).toEqual([]);
  });

  test.each<[string, (client: Awaited<ReturnType<typeof rawPair>>['client']) => void]>([
    ['by an end of TCP without one of TLS', ({ tcp }) => void tcp.end()],
    ['by a reset', (client) => client.reset()],
    [
      'by a reset in the middle of a message',
      (client) => {
        client.write(frame(BINARY, Buffer.alloc(MEGABYTE)).subarray(0, 100_000));
        client.reset();
      },
    ],
    ['by bytes that are no TLS', ({ tcp }) => void tcp.write('plain text on an encrypted line')],
    ['by an end of TLS without a close frame', ({ socket }) => void socket.end()],
  ])('%s is told as 1006, once, and costs nobody else anything', async (_, end) => {
    const { client, ends, url, plugin } = await rawPair({}, echo);
    end(client);
    expect(await ends.next()).toEqual({ code: 1006, reason: '' });
    await expectEcho(url());
    await until(() => plugin.getStats().transports.bridged <= 1);
    expect(ends.waiting).toEqual([]);
  });

  test('of many, in the middle of traffic, leaves no socket of Node behind', async () => {
    const { url, server, plugin } = await serve({}, ({ wsApp }) => wsApp.ws('/ws', echo));
    const clients = await Promise.all(Array.from({ length: 50 }, () => connect(url())));
    for (const client of clients) {
      for (let count = 0; count < 20; count++) client.send(Buffer.alloc(20 * KILOBYTE));
    }
    for (const [index, { ws }] of clients.entries()) {
      if (index % 2 === 0) ws.terminate();
      else ws.close();
    }
    await Promise.all(clients.map(({ closed }) => closed));
    const open = () =>
      new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)));
    while ((await open()) > 0) await turn();
    expect(plugin.getStats().totalConnections).toBe(0);
  });
});

test('a client whose TLS breaks while it is being verified is let go', async () => {
  const verifying = queue<void>();
  const gate = deferred();
  const { port, url, plugin } = await serve({
    maxConnections: 1,
    verifyClient: async (req) => {
      verifying.push();
      if (req.url === '/ws?slow') await gate.promise;
      return true;
    },
  });
  const client = await rawConnect(port);
  client.write(upgradeRequest('/ws?slow'));
  await verifying.next();
  client.tcp.write('plain text on an encrypted line');
  await client.end();
  // It counts no longer.
  await connect(url());
  gate.resolve();
  expect(plugin.getStats()).toMatchObject({ totalConnections: 1, rejected: { limit: 0 } });
});

describe('a peer that never reads', () => {
  /** Sends until the connection has ended, and says how much was queued at most. */
  async function flood(socket: WSSocket, ended: () => boolean): Promise<number> {
    let most = 0;
    while (!ended()) {
      socket.send(Buffer.alloc(64 * KILOBYTE));
      most = Math.max(most, socket.bufferedAmount);
      await turn();
    }
    return most;
  }

  test('has what waits for it counted, and is ended beyond maxBackpressure', async () => {
    const { client, socket, ends } = await rawPair({ maxBackpressure: 4 * MEGABYTE });
    client.socket.pause();
    const most = await flood(socket, () => ends.waiting.length > 0);
    expect(most).toBeGreaterThan(3 * MEGABYTE);
    expect(most).toBeLessThan(5 * MEGABYTE);
    expect(await ends.next()).toMatchObject({ code: 1008 });
  });

  test('is ended by the heartbeat', async () => {
    const large = Buffer.alloc(32 * MEGABYTE);
    const { port, ends } = await serveRecorded(
      { heartbeatMs: 20, pongTimeoutMs: 50, maxBackpressure: Number.POSITIVE_INFINITY },
      // At once: as long as nothing waits, there is room for 1001.
      (socket) => socket.send(large),
    );
    const client = await rawConnect(port);
    client.socket.pause();
    client.write(upgradeRequest('/ws'));
    expect(await ends.next()).toMatchObject({ code: 1006 });
  });

  test('does not hold cleanup() and server.close()', async () => {
    const { client, socket, plugin, server, ends } = await rawPair({ closeTimeoutMs: 50 });
    client.socket.pause();
    socket.send(Buffer.alloc(16 * MEGABYTE - 100));
    const closed = once(server, 'close');
    server.close();
    await plugin.cleanup();
    expect(await ends.next()).toMatchObject({ code: 1006 });
    await closed;
  });
});

test('a client that writes without pause is read in order while the server answers', async () => {
  const { client, messages } = await pair({}, (socket) => {
    socket.onMessage((data) => socket.send(data.subarray(0, 4)));
  });
  const count = 400;
  for (let index = 0; index < count; index++) {
    const data = Buffer.alloc(50_000);
    data.writeUInt32BE(index);
    client.send(data);
  }
  for (let index = 0; index < count; index++) {
    expect(((await client.next()) as Buffer).readUInt32BE()).toBe(index);
    expect(((await messages.next()) as Buffer).readUInt32BE()).toBe(index);
  }
});
