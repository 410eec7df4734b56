/** The PROXY protocol: who the client is, said before its first byte. */

import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import tls from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocketPlugin, type WebSocketPluginOptions, type WSSocket } from '../index.js';
import { makeCertificate } from './support/certificate.js';
import { queue } from './support/events.js';
import { frame, RawClient, TEXT, upgradeRequest } from './support/raw.js';
import { secondCopy } from './support/second-copy.js';
import { until } from './support/until.js';

const certificate = makeCertificate();

interface Seen {
  http: [address: string | undefined, port: number | undefined, family: string | undefined];
  socket: string | undefined;
}

/** A plain server whose connections begin with a PROXY header; closed after the test. */
async function served(options: WebSocketPluginOptions = {}) {
  const server = http.createServer((req, res) => {
    const { remoteAddress, remotePort } = req.socket;
    res.end(JSON.stringify([remoteAddress, remotePort]));
  });
  const plugin = new WebSocketPlugin({ proxyProtocol: true, ...options });
  const seen = queue<Seen>();
  plugin.attach(server).ws('/ws', (socket, req) => {
    const { remoteAddress, remotePort, remoteFamily } = req.socket;
    seen.push({
      http: [remoteAddress, remotePort, remoteFamily],
      socket: (socket as WSSocket).remoteAddress,
    });
    socket.onMessage((data) => socket.send(data));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    await plugin.cleanup();
    server.closeAllConnections();
    server.close();
  });
  return { server, plugin, seen, port: (server.address() as AddressInfo).port };
}

type Wire = 'plain' | 'tls';

/** A connection that begins with `header`, in pieces or at once, with the client's first bytes behind it. */
async function dial(
  port: number,
  header: Buffer | string,
  wire: Wire = 'plain',
  inPieces = false,
): Promise<RawClient> {
  const tcp = net.connect({ port, host: '127.0.0.1', noDelay: true });
  tcp.on('error', () => {});
  await once(tcp, 'connect');
  const bytes = Buffer.from(header);
  if (inPieces) {
    for (const byte of bytes) {
      tcp.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
  } else {
    tcp.cork();
    tcp.write(bytes);
    process.nextTick(() => tcp.uncork());
  }
  if (wire === 'plain') return new RawClient(tcp);
  const stream = tls.connect({ socket: tcp, ca: certificate.cert, host: '127.0.0.1' });
  await once(stream, 'secureConnect');
  return new RawClient(stream, tcp);
}

async function upgrade(client: RawClient): Promise<void> {
  client.write(upgradeRequest('/ws'));
  expect(await client.head()).toMatch(/^HTTP\/1\.1 101 /);
}

const V2 = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const v2 = (hex: string) => Buffer.concat([V2, Buffer.from(hex, 'hex')]);

const V1 = 'PROXY TCP4 192.0.2.1 198.51.100.7 56789 443\r\n';

const optionsOf = (wire: Wire): WebSocketPluginOptions =>
  wire === 'tls' ? { tls: certificate } : {};

describe.each<Wire>(['plain', 'tls'])('over %s', (wire) => {
  test.each<[string, Buffer | string, Seen['http'] | undefined]>([
    ['version 1', V1, ['192.0.2.1', 56789, 'IPv4']],
    ['version 1, IPv6', 'PROXY TCP6 2001:db8::1 ::1 9 443\r\n', ['2001:db8::1', 9, 'IPv6']],
    ['version 1 that knows nothing', 'PROXY UNKNOWN\r\n', undefined],
    ['version 2', v2('2111000cc0000201c6336407ddd501bb'), ['192.0.2.1', 56789, 'IPv4']],
    [
      'version 2 with more behind the addresses',
      v2('21110013c0000201c6336407ddd501bb04000461626364'),
      ['192.0.2.1', 56789, 'IPv4'],
    ],
    ['version 2 of the load balancer itself', v2('20000000'), undefined],
    ['version 2 that says nothing', v2('21000003616263'), undefined],
  ])('the client is what the header says: %s', async (_name, header, client) => {
    const { port, seen } = await served(optionsOf(wire));
    for (const inPieces of [false, true]) {
      const raw = await dial(port, header, wire, inPieces);
      await upgrade(raw);
      const { http: own, socket } = await seen.next();
      if (client === undefined) {
        expect([own[0], own[2], socket]).toEqual(['127.0.0.1', 'IPv4', '127.0.0.1']);
      } else {
        expect([own, socket]).toEqual([client, client[0]]);
      }
      raw.write(frame(TEXT, 'hello'));
      expect((await raw.frame()).payload.toString()).toBe('hello');
    }
  });

  test('HTTP requests come from the client as well, several on one connection', async () => {
    const { port } = await served(optionsOf(wire));
    const client = await dial(port, V1, wire);
    for (let round = 0; round < 3; round++) {
      client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      expect(await client.head()).toMatch(/^HTTP\/1\.1 200 /);
      expect((await client.bytes(19)).toString()).toBe('["192.0.2.1",56789]');
    }
  });

  test('a client counts by its own address', async () => {
    const { port, plugin } = await served({ ...optionsOf(wire), maxConnectionsPerIp: 1 });
    await upgrade(await dial(port, V1, wire));
    const second = await dial(port, V1, wire);
    second.write(upgradeRequest('/ws'));
    expect(await second.head()).toMatch(/^HTTP\/1\.1 429 /);
    await upgrade(await dial(port, V1.replace('192.0.2.1', '192.0.2.2'), wire));
    expect(plugin.getStats().rejected.address).toBe(1);
  });

  test.each([
    ['another protocol', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a TLS client', Buffer.from('16030100', 'hex')],
    ['a line that says nothing', 'PROXY TCP4 192.0.2.1\r\n'],
    ['a line without end', `PROXY UNKNOWN ${'x'.repeat(200)}`],
    ['an unknown command', v2('2f11000c')],
    ['a datagram', v2('2112000cc0000201c6336407ddd501bb')],
    ['a rest that is too long', v2('2111ffff')],
  ])('whoever begins otherwise is cut off: %s', async (_name, bytes) => {
    const { port, plugin } = await served(optionsOf(wire));
    const client = await dial(port, bytes);
    await until(() => client.socket.closed || client.socket.destroyed);
    await until(() => plugin.getStats().refusedProxyHeaders === 1);
    await upgrade(await dial(port, V1, wire));
  });

  test('whoever leaves before that, by a word or not, does no harm', async () => {
    const { port, plugin } = await served(optionsOf(wire));
    (await dial(port, 'PROX')).socket.end();
    (await dial(port, 'PROX')).reset();
    await until(() => plugin.getStats().refusedProxyHeaders === 2);
    await upgrade(await dial(port, V1, wire));
  });

  test('a header that does not come in time is not waited for', async () => {
    const { port, plugin } = await served({ ...optionsOf(wire), handshakeTimeoutMs: 300 });
    const client = await dial(port, 'PROXY TCP4');
    await until(() => client.socket.closed || client.socket.destroyed);
    await until(() => plugin.getStats().refusedProxyHeaders === 1);
  });

  test('only those who are trusted have to send one', async () => {
    const trusting = await served({
      ...optionsOf(wire),
      proxyProtocol: { trusted: ['loopback', '10.0.0.0/8'] },
    });
    await upgrade(await dial(trusting.port, V1, wire));
    expect((await trusting.seen.next()).socket).toBe('192.0.2.1');
    const others = await served({
      ...optionsOf(wire),
      proxyProtocol: { trusted: '10.0.0.0/8' },
    });
    await upgrade(await dial(others.port, '', wire));
    expect((await others.seen.next()).socket).toBe('127.0.0.1');
    if (wire === 'plain') {
      const client = await dial(others.port, V1);
      expect(await client.head()).toMatch(/^HTTP\/1\.1 400 /);
    }
  });

  test('the server goes on to take headers when its plugin has gone', async () => {
    const { port, plugin } = await served(optionsOf(wire));
    await plugin.cleanup();
    const client = await dial(port, V1, wire);
    client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(await client.head()).toMatch(/^HTTP\/1\.1 200 /);
    expect((await client.bytes(19)).toString()).toBe('["192.0.2.1",56789]');
  });
});

test('a plugin that speaks TLS may come after the one that takes headers', async () => {
  const { server, port, seen } = await served();
  const second = new WebSocketPlugin({ path: '/second', tls: certificate });
  second.attach(server);
  onTestFinished(() => second.cleanup());
  await upgrade(await dial(port, V1, 'tls'));
  expect((await seen.next()).http).toEqual(['192.0.2.1', 56789, 'IPv4']);
});

test.each<['first' | 'second', Wire]>([
  ['first', 'plain'],
  ['second', 'plain'],
  ['first', 'tls'],
  ['second', 'tls'],
])('the %s of two copies of the package takes the headers of both, over %s', async (who, wire) => {
  const copies = [WebSocketPlugin, secondCopy().WebSocketPlugin];
  const server = http.createServer();
  const seen = queue<string | undefined>();
  copies.forEach((Plugin, index) => {
    const takesHeaders = (who === 'first') === (index === 0);
    const speaksTls = wire === 'tls' && !takesHeaders;
    const plugin = new Plugin({
      path: `/${index}`,
      ...(takesHeaders && { proxyProtocol: true }),
      ...(speaksTls && { tls: certificate }),
    });
    plugin
      .attach(server)
      .ws(`/${index}`, (socket) => seen.push((socket as WSSocket).remoteAddress));
    onTestFinished(() => plugin.cleanup());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  for (const path of ['/0', '/1']) {
    const client = await dial(port, V1, wire);
    client.write(upgradeRequest(path));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 101 /);
    expect(await seen.next()).toBe('192.0.2.1');
  }
});

test('X-Forwarded-For is believed of whom the header names', async () => {
  const { port, seen } = await served({ trustProxy: '192.0.2.1' });
  const client = await dial(port, V1);
  client.write(upgradeRequest('/ws', { 'X-Forwarded-For': '203.0.113.9' }));
  expect(await client.head()).toMatch(/^HTTP\/1\.1 101 /);
  const { http: own, socket } = await seen.next();
  expect([own[0], socket]).toEqual(['192.0.2.1', '203.0.113.9']);
});

test('a server of node:https is refused, in words', () => {
  const server = https.createServer(certificate);
  const plugin = new WebSocketPlugin({ proxyProtocol: true });
  expect(() => plugin.attach(server)).toThrow(
    'option "proxyProtocol" is for a plain http.Server, as the header stands before TLS; give the certificate to option "tls" instead',
  );
  expect(plugin.isPluginInstalled()).toBe(false);
});

test.each([
  [5, 'option "proxyProtocol" must be a boolean or an object with trusted, got 5'],
  [null, 'got null'],
  [{ trusted: [] }, 'option "proxyProtocol.trusted" must be addresses such as'],
  [{ trusted: '10.0.0.0/40' }, 'got "10.0.0.0/40", which is none'],
  [{ trust: 'loopback' }, 'did you mean "proxyProtocol.trusted"?'],
])('proxyProtocol: %j is refused', (proxyProtocol, message) => {
  const make = () => new WebSocketPlugin({ proxyProtocol } as unknown as WebSocketPluginOptions);
  expect(make).toThrow(TypeError);
  expect(make).toThrow(message);
});

test('of connections whose header has not come there are so many and no more, and they give their place back', async () => {
  const { server, port } = await served();
  /** What is no socket has no descriptor, so that there can be as many as it takes. */
  const arrive = () => {
    const stream = new PassThrough();
    server.emit('connection', stream);
    return stream;
  };
  const waiting = Array.from({ length: 16_384 }, arrive);
  expect(waiting.every((stream) => !stream.destroyed)).toBe(true);
  expect(arrive().destroyed).toBe(true);
  for (const stream of waiting.splice(1)) stream.destroy();
  const client = await dial(port, V1);
  await upgrade(client);
  waiting[0]?.destroy();
});
