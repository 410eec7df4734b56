/** Whose connections are whose: addresses of clients, and how many each may have. */

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, Server } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import {
  WebSocketPlugin,
  type WebSocketPluginOptions,
  type WSConnection,
  type WSSocket,
} from '../index.js';
import { type Client, connect, refused } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { serve } from './support/server.js';
import { securesByPlugin } from './support/transport.js';
import { until } from './support/until.js';

const from = (...addresses: string[]) => ({ headers: { 'X-Forwarded-For': addresses.join(', ') } });

const addressOf = (socket: WSConnection) => (socket as WSSocket).remoteAddress;

/** Serves `/ws` and keeps the connections. */
async function serveKept(options: WebSocketPluginOptions) {
  const sockets = queue<WSConnection>();
  const served = await serve(options, ({ wsApp }) => {
    wsApp.ws('/ws', (socket) => sockets.push(socket));
  });
  return { ...served, sockets };
}

/** The address that a server with these options takes a client to have. */
async function addressSeen(options: WebSocketPluginOptions, ...forwarded: string[]) {
  const { url, sockets } = await serveKept(options);
  await connect(url(), forwarded.length > 0 ? from(...forwarded) : {});
  return addressOf(await sockets.next());
}

async function closed(client: Client): Promise<void> {
  client.close();
  await client.closed;
}

describe('remoteAddress', () => {
  test('is that of the socket', async () => {
    expect(await addressSeen({})).toBe('127.0.0.1');
    expect(await addressSeen({ perMessageDeflate: true })).toBe('127.0.0.1');
  });

  test.skipIf(securesByPlugin)('is what req.socket says, whatever the form', async () => {
    const seen = deferred<[string | undefined, string | undefined]>();
    const server = createServer().listen(0, '::');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const plugin = new WebSocketPlugin({ path: '/other' });
    onTestFinished(() => plugin.cleanup());
    plugin
      .attach(server)
      .ws('/other', (socket, req) => seen.resolve([addressOf(socket), req.socket.remoteAddress]));
    const { port } = server.address() as AddressInfo;
    const client = new WebSocket(`ws://127.0.0.1:${port}/other`);
    client.on('error', () => {});
    onTestFinished(() => client.terminate());
    expect(await seen.promise).toEqual(['::ffff:127.0.0.1', '::ffff:127.0.0.1']);
  });

  test('is what the application has made of that of its socket', async () => {
    const verifyClient = (req: IncomingMessage) => {
      Object.defineProperty(req.socket, 'remoteAddress', { value: '192.0.2.7' });
      return true;
    };
    const { url, sockets } = await serveKept({ verifyClient });
    await connect(url());
    expect(addressOf(await sockets.next())).toBe('192.0.2.7');
  });

  test('is undefined once the connection has ended', async () => {
    const { url, sockets } = await serveKept({});
    const client = await connect(url());
    const socket = await sockets.next();
    const ended = deferred<string | undefined>();
    socket.onClose(() => ended.resolve(addressOf(socket)));
    await closed(client);
    expect(await ended.promise).toBeUndefined();
    expect(addressOf(socket)).toBeUndefined();
  });

  // Windows has none.
  test.skipIf(securesByPlugin || process.platform === 'win32')(
    'is undefined over a unix socket',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'ws-'));
      onTestFinished(() => rmSync(folder, { recursive: true }));
      const path = join(folder, 'socket');
      const seen = queue<string | undefined>();
      const server: Server = createServer().listen(path);
      onTestFinished(() => void server.close());
      await once(server, 'listening');
      const plugin = new WebSocketPlugin({ maxConnectionsPerIp: 1, trustProxy: 'loopback' });
      onTestFinished(() => plugin.cleanup());
      plugin.attach(server).ws('/ws', (socket) => seen.push(addressOf(socket)));
      const dial = (headers = {}) => {
        const client = new WebSocket(`ws+unix://${path}:/ws`, { headers });
        client.on('error', () => {});
        onTestFinished(() => client.terminate());
      };
      dial();
      expect(await seen.next()).toBeUndefined();
      // Who has no address is not counted, and is on this machine.
      dial();
      expect(await seen.next()).toBeUndefined();
      dial(from('192.0.2.1').headers);
      expect(await seen.next()).toBe('192.0.2.1');
    },
  );

  test.each<[WebSocketPluginOptions['trustProxy'], string[], string]>([
    [undefined, ['192.0.2.1'], '127.0.0.1'],
    [false, ['192.0.2.1'], '127.0.0.1'],
    [0, ['192.0.2.1'], '127.0.0.1'],
    [true, ['192.0.2.1', '198.51.100.7'], '192.0.2.1'],
    [1, ['192.0.2.1', '198.51.100.7'], '198.51.100.7'],
    [2, ['192.0.2.1', '198.51.100.7'], '192.0.2.1'],
    ['loopback', ['192.0.2.1', '198.51.100.7'], '198.51.100.7'],
    ['loopback, 198.51.100.0/24', ['192.0.2.1', '198.51.100.7'], '192.0.2.1'],
    [['loopback', '198.51.100.7'], ['192.0.2.1', '198.51.100.7'], '192.0.2.1'],
    ['10.0.0.0/8', ['192.0.2.1'], '127.0.0.1'],
    [true, ['no address'], '127.0.0.1'],
    [true, ['[2001:db8::1]:4711'], '2001:db8::1'],
    [true, [], '127.0.0.1'],
  ])('with trustProxy %j and X-Forwarded-For %j is %s', async (trustProxy, forwarded, address) => {
    expect(await addressSeen({ trustProxy }, ...forwarded)).toBe(address);
  });
});

describe('maxConnectionsPerIp', () => {
  const options = { maxConnectionsPerIp: 2, trustProxy: true } as const;

  test('answers one more of the same address with 429, until somebody leaves', async () => {
    const { url, plugin } = await serveKept(options);
    const first = await connect(url(), from('192.0.2.1'));
    await connect(url(), from('192.0.2.1'));
    expect(await refused(url(), from('192.0.2.1'))).toMatchObject({
      status: 429,
      body: expect.stringContaining('maxConnectionsPerIp'),
    });
    expect(plugin.getStats().rejected).toMatchObject({ address: 1, limit: 0 });
    await connect(url(), from('192.0.2.2'));
    await closed(first);
    await connect(url(), from('192.0.2.1'));
    expect(plugin.getStats().totalConnections).toBe(3);
  });

  test('counts whoever connects without a proxy by its socket', async () => {
    const { url } = await serveKept({ maxConnectionsPerIp: 1 });
    await connect(url(), from('192.0.2.1'));
    expect(await refused(url(), from('192.0.2.2'))).toMatchObject({ status: 429 });
  });

  test('counts IPv6 by its first 64 bits', async () => {
    const { url } = await serveKept({ ...options, maxConnectionsPerIp: 1 });
    await connect(url(), from('2001:db8:0:1::1'));
    expect(await refused(url(), from('2001:db8:0:1:2:3:4:5'))).toMatchObject({ status: 429 });
    await connect(url(), from('2001:db8:0:2::1'));
  });

  test('counts requests that are being verified, and no longer than that', async () => {
    const verdict = deferred<boolean>();
    const asked = queue<void>();
    const { url } = await serveKept({
      ...options,
      maxConnectionsPerIp: 1,
      verifyClient: () => {
        asked.push();
        return verdict.promise;
      },
    });
    const first = refused(url(), from('192.0.2.1'));
    await asked.next();
    expect(await refused(url(), from('192.0.2.1'))).toMatchObject({ status: 429 });
    verdict.resolve(false);
    expect(await first).toMatchObject({ status: 401 });
    expect(await refused(url(), from('192.0.2.1'))).toMatchObject({ status: 401 });
  });

  test('lets a client in that comes back at once, again and again', async () => {
    const { url } = await serveKept({ ...options, maxConnectionsPerIp: 1 });
    for (let round = 0; round < 30; round++) {
      await closed(await connect(url(), from('192.0.2.1')));
    }
  });

  test('gives places back however a connection ends', async () => {
    const { url, sockets, plugin } = await serveKept({ ...options, maxConnectionsPerIp: 1 });
    const ends: ((client: Client, socket: WSConnection) => void)[] = [
      (client) => client.ws.terminate(),
      (_client, socket) => socket.close(),
      (client) => client.close(4000),
      (client) => client.send(Buffer.alloc(2 << 20)),
    ];
    for (const end of ends) {
      const client = await connect(url(), from('192.0.2.1'));
      end(client, await sockets.next());
      await until(() => {
        const { totalConnections, closingConnections } = plugin.getStats();
        return totalConnections + closingConnections === 0;
      });
    }
    await connect(url(), from('192.0.2.1'));
  });
});

describe('the options', () => {
  test.each([
    [
      'maxConnectionsPerIp',
      0,
      RangeError,
      'a whole number of connections from 1 to 4294967295 or Infinity, got 0',
    ],
    ['trustProxy', null, TypeError, 'a boolean, a whole number of proxies, or addresses'],
    ['trustProxy', -1, RangeError, 'got -1'],
    ['trustProxy', 1.5, RangeError, 'got 1.5'],
    ['trustProxy', '10.0.0.0/33', TypeError, 'got "10.0.0.0/33", which is none'],
    ['trustProxy', ['loopback', 'nobody'], TypeError, 'got "nobody", which is none'],
    ['trustProxy', ['loopback', 5], TypeError, 'got 5 at index 1'],
    [
      'messageRate',
      5,
      TypeError,
      'an object with perSecond, and burst or policy where wanted, got 5',
    ],
    [
      'messageRate',
      {},
      TypeError,
      'option "messageRate.perSecond" must be a whole number of messages from 1 to 1000000, got undefined',
    ],
    ['messageRate', { perSecond: 0 }, RangeError, 'option "messageRate.perSecond"'],
    ['messageRate', { perSecond: 1, burst: 0 }, RangeError, 'option "messageRate.burst"'],
    [
      'messageRate',
      { perSecond: 1, policy: 'wait' },
      TypeError,
      `option "messageRate.policy" must be 'close' or 'drop' or 'pause', got "wait"`,
    ],
    ['messageRate', { perSecond: 1, bursts: 0 }, TypeError, 'did you mean "messageRate.burst"?'],
  ])('%s: %j is refused', (name, value, kind, message) => {
    const make = () => new WebSocketPlugin({ [name]: value });
    expect(make).toThrow(kind);
    expect(make).toThrow(message);
  });
});
