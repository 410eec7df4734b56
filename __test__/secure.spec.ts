/** TLS that the engine speaks for a plain `http.Server`. All other specs run over it as well. */
import { execFile, spawn } from 'node:child_process';
import { createPrivateKey, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import http, { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls, { type ConnectionOptions, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import express from 'express';
import Koa from 'koa';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  WebSocketPlugin,
  type WebSocketPluginOptions,
  type WebSocketTlsOptions,
  type WSSocket,
} from '../index.js';
import { type Certificate, makeCertificate } from './support/certificate.js';
import { connect, expectEchoOn } from './support/client.js';
import { queue } from './support/events.js';
import { echo } from './support/pair.js';
import { script } from './support/process.js';
import {
  BINARY,
  CLOSE,
  closePayload,
  frame,
  RawClient,
  TEXT,
  upgradeRequest,
} from './support/raw.js';
import { ALERT, HANDSHAKE, recordTypes, relay } from './support/relay.js';
import { until } from './support/until.js';

const KILOBYTE = 1 << 10;
const MEGABYTE = 1 << 20;

const certificate = makeCertificate();
const trusted = { ca: certificate.cert };

/** Sends the body of a request back. */
const mirror: RequestListener = (req, res) => void req.pipe(res);

interface Setup extends WebSocketPluginOptions {
  tls?: WebSocketTlsOptions;
  listener?: RequestListener;
  handler?: (socket: WSSocket, req: IncomingMessage) => void;
}

/** A plain server whose plugin speaks TLS, and serves `/ws`; closed after the test. */
async function secured({
  tls = certificate,
  listener = mirror,
  handler = echo,
  ...options
}: Setup = {}) {
  const server = http.createServer(listener);
  const plugin = new WebSocketPlugin(options);
  const errors = queue<Error>();
  plugin.on('error', errors.push);
  plugin.attach(server, { tls }).ws('/ws', handler);
  const port = await listen(server);
  onTestFinished(() => plugin.cleanup());
  return { server, plugin, port, errors };
}

async function listen(server: http.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** The same on a path: such a socket takes a few hundred kilobytes, whatever its client reads. */
async function listenOnPath(server: http.Server): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'nextrush-websocket-tls-'));
  const path = join(folder, 'socket');
  server.listen(path);
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return path;
}

/** A client of TLS after its handshake. */
async function dial(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = begin(port, options);
  await once(socket, 'secureConnect');
  return socket;
}

/** The same before it. */
function begin(port: number, options: ConnectionOptions = {}): TLSSocket {
  const socket = tls.connect({
    port,
    host: '127.0.0.1',
    servername: 'localhost',
    ...trusted,
    ...options,
  });
  socket.on('error', () => {});
  onTestFinished(() => void socket.destroy());
  return socket;
}

async function rawDial(port: number, options?: ConnectionOptions): Promise<RawClient> {
  return new RawClient(await dial(port, options));
}

/** A WebSocket connection of a client that writes bytes. */
async function rawUpgrade(port: number, options?: ConnectionOptions): Promise<RawClient> {
  const client = await rawDial(port, options);
  client.write(upgradeRequest('/ws'));
  expect(await client.head()).toMatch(/^HTTP\/1.1 101 /);
  return client;
}

const wss = (port: number, options = {}) =>
  connect(`wss://127.0.0.1:${port}/ws`, { ...trusted, ...options });

interface Answer {
  status: number;
  body: Buffer;
  socket: TLSSocket;
}

/** One request over HTTPS. */
async function ask(
  port: number,
  { body, ...options }: https.RequestOptions & { body?: Buffer } = {},
): Promise<Answer> {
  const request = https.request({ port, host: '127.0.0.1', agent: false, ...trusted, ...options });
  const responded = once(request, 'response');
  request.end(body);
  const [response] = (await responded) as [IncomingMessage];
  const socket = response.socket as TLSSocket;
  return { status: response.statusCode ?? 0, body: await bodyOf(response), socket };
}

async function bodyOf(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const connectionsOf = (server: http.Server) =>
  new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)));

async function untilNobodyIsConnected(server: http.Server): Promise<void> {
  while ((await connectionsOf(server)) > 0) await new Promise(setImmediate);
}

/** Why a client was refused: what its own side of TLS says. */
async function refusalOf(socket: TLSSocket): Promise<string> {
  // Over TLS 1.3 a client is done before the server has seen its certificate.
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  return error.code ?? error.message;
}

describe('a plain server with option tls', () => {
  test('serves HTTPS and WebSocket connections, and none of them over a bridge', async () => {
    const { port, plugin } = await secured();
    const body = randomBytes(100_000);
    expect((await ask(port, { method: 'POST', body })).body.equals(body)).toBe(true);
    const client = await wss(port);
    await expectEchoOn(client, 'hello');
    expect(plugin.getStats().transports).toEqual({ adopted: 1, bridged: 0 });
  });

  test('keeps an HTTP connection alive, and upgrades it later', async () => {
    const { port } = await secured({ listener: (req, res) => res.end(req.url) });
    const client = await rawDial(port);
    for (const path of ['/a', '/b', '/c']) {
      client.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      expect(await client.head()).toMatch(/Connection: keep-alive/);
      expect(await client.bytes(2)).toEqual(Buffer.from(path));
    }
    client.write(upgradeRequest('/ws'));
    expect(await client.head()).toMatch(/^HTTP\/1.1 101 /);
    client.write(frame(TEXT, 'still here'));
    expect((await client.frame()).payload.toString()).toBe('still here');
  });

  test('shows handlers whom they speak to, before the upgrade, after it, and after the end', async () => {
    const seen = queue<object>();
    const look = ({ socket }: IncomingMessage) => {
      const peer = socket as TLSSocket;
      const { encrypted, remoteAddress, remotePort, remoteFamily, localAddress, localPort } = peer;
      seen.push({
        ...{ encrypted, remoteAddress, remotePort, remoteFamily, localAddress, localPort },
        ...{ authorized: peer.authorized, servername: peer.servername, alpn: peer.alpnProtocol },
        ...{ protocol: peer.getProtocol(), cipher: peer.getCipher().name },
        ...{ resumed: peer.isSessionReused(), certificate: peer.getPeerCertificate() },
      });
    };
    const { port, server } = await secured({
      listener: (req, res) => {
        look(req);
        expect((req.socket as unknown as { server: http.Server }).server).toBe(server);
        res.end();
      },
      handler: (socket, req) => {
        look(req);
        socket.onClose(() => look(req));
      },
    });
    const options = { ALPNProtocols: ['h2', 'http/1.1'] };
    const client = await rawDial(port, options);
    client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await client.head();
    client.write(upgradeRequest('/ws'));
    await client.head();
    client.write(frame(CLOSE, closePayload(1000)));
    const expected = {
      encrypted: true,
      remoteAddress: '127.0.0.1',
      remotePort: client.socket.localPort,
      remoteFamily: 'IPv4',
      localAddress: '127.0.0.1',
      localPort: port,
      authorized: false,
      servername: 'localhost',
      alpn: 'http/1.1',
      protocol: 'TLSv1.3',
      cipher: (client.socket as TLSSocket).getCipher().name,
      resumed: false,
      certificate: {},
    };
    for (let times = 0; times < 3; times += 1) expect(await seen.next()).toEqual(expected);
  });

  test.each([
    ['Express', () => express().use((_req, res) => void res.send('served'))],
    [
      'Koa',
      () => {
        const serve = (ctx: Koa.Context) => {
          ctx.body = ctx.secure ? 'served' : 'in plain text';
        };
        return new Koa().use(serve).callback();
      },
    ],
  ])('serves an application of %s', async (_, makeListener) => {
    const { port } = await secured({ listener: makeListener() as RequestListener });
    expect((await ask(port)).body.toString()).toBe('served');
    await expectEchoOn(await wss(port), 'and sockets');
  });

  test.each([2, 4])('speaks TLS on %d threads', async (ioThreads) => {
    const { port } = await secured({ ioThreads });
    const clients = await Promise.all(Array.from({ length: 12 }, () => wss(port)));
    await Promise.all(clients.map((client, index) => expectEchoOn(client, `client ${index}`)));
  });

  test('can be asked by curl', async ({ skip }) => {
    const { port } = await secured({ listener: (_req, res) => res.end('for curl') });
    const args = ['-sk', '--max-time', '20', `https://127.0.0.1:${port}/`];
    const { stdout } = await promisify(execFile)('curl', args).catch((error) => {
      if (error.code === 'ENOENT') skip('there is no curl');
      throw error;
    });
    expect(stdout).toBe('for curl');
  });
});

describe('versions, ciphers and keys', () => {
  test.each<[string, WebSocketTlsOptions['minVersion'], WebSocketTlsOptions['maxVersion'], string]>(
    [
      ['TLSv1.2', undefined, undefined, 'TLSv1.2'],
      ['TLSv1.3', undefined, undefined, 'TLSv1.3'],
      ['TLSv1.2', 'TLSv1.3', undefined, 'refused'],
      ['TLSv1.3', undefined, 'TLSv1.2', 'refused'],
    ],
  )(
    'a client of %s and a server of %s to %s: %s',
    async (version, minVersion, maxVersion, outcome) => {
      const { port } = await secured({ tls: { ...certificate, minVersion, maxVersion } });
      const client = begin(port, { minVersion: version, maxVersion: version } as ConnectionOptions);
      if (outcome === 'refused') {
        expect(await refusalOf(client)).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
      } else {
        await once(client, 'secureConnect');
        expect(client.getProtocol()).toBe(outcome);
      }
    },
  );

  test.each([
    ['TLS_CHACHA20_POLY1305_SHA256', 'TLSv1.3'],
    ['TLS_AES_128_GCM_SHA256', 'TLSv1.3'],
    ['ECDHE-ECDSA-AES256-GCM-SHA384', 'TLSv1.2'],
    ['ECDHE-ECDSA-CHACHA20-POLY1305', 'TLSv1.2'],
  ])('%s is spoken where it is the only one', async (ciphers, version) => {
    const seen = queue<string>();
    const { port } = await secured({
      tls: { ...certificate, ciphers },
      listener: (req, res) => {
        seen.push((req.socket as TLSSocket).getCipher().name);
        res.end();
      },
    });
    const { socket } = await ask(port);
    expect([socket.getCipher().name, socket.getProtocol()]).toEqual([ciphers, version]);
    expect(await seen.next()).toBe(ciphers);
  });

  test.each<[string, Partial<WebSocketTlsOptions>, RegExp]>([
    [
      'unknown cipher suites',
      { ciphers: 'TLS_AES_128_GCM_SHA256:RC4-MD5' },
      /RC4-MD5 is no cipher suite/,
    ],
    [
      'cipher suites of no version that is spoken',
      { ciphers: 'TLS_AES_128_GCM_SHA256', maxVersion: 'TLSv1.2' },
      /none of the cipher suites/,
    ],
    [
      'a version above the newest',
      { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.2' },
      /above maxVersion/,
    ],
    [
      'a version that nobody should speak',
      { minVersion: 'TLSv1.1' as 'TLSv1.2' },
      /'TLSv1.2' or 'TLSv1.3'/,
    ],
    ['no certificate', { cert: '' }, /text without a certificate/],
    [
      'a broken certificate',
      { cert: certificate.cert.replace('\nM', '\n') },
      /certificate that cannot be read|private key of the certificate/,
    ],
    [
      'the key of another certificate',
      { key: makeCertificate().key },
      /none that belongs to the certificate/,
    ],
    [
      'an option that it does not know',
      { dhparam: 'x' } as Partial<WebSocketTlsOptions>,
      /unknown option "tls.dhparam"/,
    ],
    ['authorities that are none', { requestCert: true, ca: 'nobody' }, /"tls.ca" must be/],
  ])('%s are refused by a TypeError', (_, part, message) => {
    const options = { ...certificate, ...part };
    expect(() => new WebSocketPlugin({ tls: options })).toThrow(TypeError);
    expect(() => new WebSocketPlugin({ tls: options })).toThrow(message);
    const server = http.createServer();
    expect(() => new WebSocketPlugin().attach(server, { tls: options })).toThrow(message);
  });

  test.each(['ec', 'rsa', 'ed25519'] as const)('a key of the kind %s is one', async (kind) => {
    const own = makeCertificate({ kind });
    const { port } = await secured({ tls: own });
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      expect((await ask(port, { ca: own.cert, maxVersion })).status).toBe(200);
    }
  });

  test('a key may be encrypted, and the certificates a chain', async () => {
    const authority = makeCertificate({ host: 'authority', authority: true });
    const middle = makeCertificate({ host: 'middle', authority: true, issuer: authority });
    const { key, cert } = makeCertificate({ issuer: middle });
    const encrypted = createPrivateKey(key).export({
      ...{ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'open sesame' },
    } as const);
    const { port } = await secured({
      tls: {
        cert: `${cert}\n# issued by\n${middle.cert}`,
        key: encrypted,
        passphrase: 'open sesame',
      },
    });
    const { socket } = await ask(port, { ca: authority.cert });
    expect(socket.authorized).toBe(true);
  });

  test('several certificates and their keys may come in any order, as text and as bytes', async () => {
    const [ec, rsa] = [makeCertificate({ kind: 'ec' }), makeCertificate({ kind: 'rsa' })];
    const { port } = await secured({
      tls: {
        cert: [Buffer.from(rsa.cert), ec.cert],
        key: [new Uint8Array(Buffer.from(ec.key)), Buffer.from(rsa.key)],
      },
    });
    const kinds = { 'ECDHE-ECDSA-AES128-GCM-SHA256': ec, 'ECDHE-RSA-AES128-GCM-SHA256': rsa };
    for (const [ciphers, { cert }] of Object.entries(kinds)) {
      const { socket } = await ask(port, { ciphers, maxVersion: 'TLSv1.2', ca: cert });
      expect(socket.getCipher().name).toBe(ciphers);
    }
  });

  test('a key with the parameters of its curve before it, as OpenSSL writes it, is one', async () => {
    const ec = createPrivateKey(certificate.key).export({ type: 'sec1', format: 'pem' });
    const parameters =
      '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n';
    const { port } = await secured({ tls: { ...certificate, key: parameters + ec } });
    expect((await ask(port)).status).toBe(200);
  });

  test('nothing secret is in an error', () => {
    const secret = 'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49';
    const text = `-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----\n`;
    const encrypted = createPrivateKey(certificate.key).export({
      ...{ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: secret },
    } as const);
    const wrong = [
      text,
      [text],
      { ...certificate, key: text },
      { ...certificate, key: [text, text] },
      { ...certificate, cert: text },
      { ...certificate, ca: text, requestCert: true },
      { ...certificate, key: encrypted },
      { ...certificate, key: encrypted, passphrase: `not ${secret}` },
      { ...certificate, key: encrypted, passphrase: [secret] },
      { ...certificate, sni: text },
      { ...certificate, sni: { 'a.example': text } },
      { ...certificate, sni: { 'a.example': { ...certificate, key: text } } },
      { ...certificate, minVersion: text },
      { ...certificate, ciphers: text },
      { ...certificate, requestCert: text },
    ];
    for (const options of wrong) {
      for (const make of [
        () => new WebSocketPlugin({ tls: options as WebSocketTlsOptions }),
        () =>
          new WebSocketPlugin().attach(http.createServer(), {
            tls: options as WebSocketTlsOptions,
          }),
      ]) {
        const error = expectThrown(make);
        expect(String(error.stack)).not.toContain('MIGHAgEA');
        expect(String(error.stack)).not.toContain('PRIVATE');
      }
    }
  });
});

function expectThrown(act: () => unknown): Error {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError);
    return error as Error;
  }
  throw new Error('nothing was thrown');
}

test.each([
  ['exact', 'a.example.com', 'a.example.com'],
  ['exact in capitals', 'A.EXAMPLE.com', 'a.example.com'],
  ['that a wildcard stands for', 'b.example.com', '*.example.com'],
  ['two labels below a wildcard', 'c.b.example.com', 'localhost'],
  ['unknown', 'example.org', 'localhost'],
])('a host name %s gets its certificate', async (_, servername, expected) => {
  const sni = Object.fromEntries(
    ['*.example.com', 'a.example.com'].map((host) => [host, makeCertificate({ host })]),
  );
  const seen = queue<unknown>();
  const { port } = await secured({
    tls: { ...certificate, sni },
    listener: (req, res) => {
      seen.push((req.socket as TLSSocket).servername);
      res.end();
    },
  });
  const { socket } = await ask(port, { servername, rejectUnauthorized: false });
  expect(socket.getPeerCertificate().subject.CN).toBe(expected);
  expect(String(await seen.next()).toLowerCase()).toBe(servername.toLowerCase());
});

describe('certificates of clients', () => {
  const authority = makeCertificate({ host: 'authority', authority: true });
  const valid = makeCertificate({ host: 'client', issuer: authority });
  const expired = makeCertificate({ host: 'client', issuer: authority, expired: true });
  const stranger = makeCertificate({
    host: 'client',
    issuer: makeCertificate({ host: 'authority', authority: true }),
  });
  const options = { ...certificate, requestCert: true, ca: authority.cert };

  const look = (req: IncomingMessage, res: ServerResponse) => {
    const socket = req.socket as TLSSocket;
    const { authorized, authorizationError } = socket;
    const certificate = socket.getPeerCertificate(true);
    const subject = certificate.subject?.CN ?? null;
    const x509 = socket.getPeerX509Certificate()?.subject ?? null;
    res.end(JSON.stringify({ authorized, authorizationError, subject, x509 }));
  };

  test.each<[string, Certificate | undefined, object]>([
    [
      'valid',
      valid,
      { authorized: true, authorizationError: null, subject: 'client', x509: 'CN=client' },
    ],
    [
      'missing',
      undefined,
      {
        authorized: false,
        authorizationError: 'UNABLE_TO_GET_ISSUER_CERT',
        subject: null,
        x509: null,
      },
    ],
    [
      'expired',
      expired,
      {
        authorized: false,
        authorizationError: 'CERT_HAS_EXPIRED',
        subject: 'client',
        x509: 'CN=client',
      },
    ],
    [
      'of a stranger',
      stranger,
      {
        authorized: false,
        authorizationError: expect.stringMatching(/^UNABLE_TO_VERIFY|^CERT_SIGNATURE/),
        subject: 'client',
        x509: 'CN=client',
      },
    ],
  ])('that are %s are told of where none is required', async (_, own, expected) => {
    const { port } = await secured({
      tls: { ...options, rejectUnauthorized: false },
      listener: look,
    });
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const { body } = await ask(port, { ...own, maxVersion });
      expect(JSON.parse(body.toString())).toEqual(expected);
    }
  });

  test.each<[string, Certificate | undefined, string]>([
    ['missing', undefined, 'CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE'],
    ['expired', expired, 'CERTIFICATE_EXPIRED'],
    ['of a stranger', stranger, 'UNKNOWN_CA|DECRYPT_ERROR|BAD_CERTIFICATE'],
  ])('that are %s are refused where one is required, by an alert', async (_, own, alert) => {
    const { port } = await secured({ tls: options, listener: look });
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const client = begin(port, { ...own, maxVersion });
      // It is on its way when the server finds out.
      client.once('secureConnect', () => client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
      expect(await refusalOf(client)).toMatch(new RegExp(alert));
    }
  });

  test('that are valid let WebSocket connections in', async () => {
    const seen = queue<boolean>();
    const { port } = await secured({
      tls: options,
      handler: (_socket, req) => seen.push((req.socket as TLSSocket).authorized),
    });
    await wss(port, valid);
    expect(await seen.next()).toBe(true);
  });

  test("are compared with Node's own authorities where none are named", async () => {
    const tls = { ...certificate, requestCert: true, rejectUnauthorized: false };
    const { port } = await secured({ tls, listener: look });
    const { body } = await ask(port, valid);
    expect(JSON.parse(body.toString())).toMatchObject({ authorized: false, subject: 'client' });
  });
});

describe('a handshake', () => {
  test.each<[string, (socket: net.Socket) => void]>([
    ['says nothing', () => {}],
    ['says half a hello', (socket) => void socket.write(Buffer.from('16030101000100', 'hex'))],
  ])('of a client that %s is ended after its time', async (_, say) => {
    const { port, server } = await secured({ handshakeTimeoutMs: 50 });
    const socket = net.connect(port, '127.0.0.1');
    say(socket);
    socket.resume();
    await once(socket, 'close');
    await untilNobodyIsConnected(server);
  });

  test.each([
    ['plain HTTP', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
    [
      'a plain POST with a long body',
      `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n${'x'.repeat(300_000)}`,
    ],
    ['garbage', randomBytes(1000)],
  ])('that is %s gets an alert and an end, and nothing in plain text', async (_, bytes) => {
    const { port, server } = await secured();
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.write(bytes);
    const received = await bodyOf(socket);
    expect(recordTypes(received)).toEqual([ALERT]);
    expect(received).toHaveLength(7);
    socket.end();
    await untilNobodyIsConnected(server);
  });

  test('that needs much memory ends where many of them do, and others are served', async () => {
    const { port } = await secured({ handshakeTimeoutMs: 20_000 });
    // Half of a hello as long as they may be, in records as long as they may be.
    const hello = Buffer.alloc(60_000);
    hello.writeUInt32BE(0x0100fff0);
    const records: Buffer[] = [];
    for (let at = 0; at < hello.length; at += 16_000) {
      const part = hello.subarray(at, at + 16_000);
      records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
    }
    const bytes = Buffer.concat(records);
    const refused = queue<void>();
    for (let count = 0; count < 700 && refused.waiting.length === 0; count += 1) {
      const socket = net.connect(port, '127.0.0.1').resume();
      socket.on('error', () => {}).on('close', refused.push);
      onTestFinished(() => void socket.destroy());
      await new Promise((resolve) => socket.write(bytes, resolve));
    }
    await refused.next();
    await expectEchoOn(await wss(port), 'served');
  });

  test('of a client that speaks HTTP/2 only is refused', async () => {
    const { port } = await secured();
    const client = begin(port, { ALPNProtocols: ['h2'] });
    expect(await refusalOf(client)).toMatch(/NO_APPLICATION_PROTOCOL/);
  });

  test('that fails is one line of the log, with debug', async () => {
    const source = `
      const { WebSocketPlugin } = require('nextrush-websocket');
      const server = require('node:http').createServer();
      new WebSocketPlugin({ debug: true }).attach(server, { tls: ${JSON.stringify(certificate)} });
      server.listen(0, '127.0.0.1', () => console.error('port ' + server.address().port));
      process.stdin.on('data', () => process.exit());
    `;
    const child = spawn(process.execPath, ['-e', source], { stdio: ['pipe', 'pipe', 'pipe'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += text));
    await until(() => /port \d+/.test(said));
    const socket = net.connect(Number(/port (\d+)/.exec(said)?.[1]), '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\n\r\n');
    await until(() => said.includes('handshake'));
    expect(said).toMatch(/TLS the TLS handshake with 127.0.0.1 failed: .+\n/);
    expect(said).not.toContain(certificate.key.split('\n')[1]);
  });

  test('is told of as an error where the process is out of descriptors', async () => {
    const child = script(`
      const { spawnSync } = require('node:child_process');
      const fs = require('node:fs');
      if (process.env.LIMITED !== '1') {
        const { status, stdout, stderr } = spawnSync('sh', ['-c', 'ulimit -n 40; exec "$0" "$@"', process.execPath, ...process.execArgv],
          { env: { ...process.env, LIMITED: '1' } });
        process.stdout.write(stdout); process.stderr.write(stderr);
        process.exit(status);
      }
      const { WebSocketPlugin } = require('nextrush-websocket');
      const net = require('node:net');
      const server = require('node:http').createServer((req, res) => res.end('plain'));
      const plugin = new WebSocketPlugin();
      const errors = [];
      plugin.on('error', (error) => errors.push(error.message));
      plugin.attach(server, { tls: ${JSON.stringify(certificate)} });
      server.listen(0, '127.0.0.1', () => {
        const { port } = server.address();
        // The engine is there already: its threads need descriptors of their own.
        const first = net.connect(port, '127.0.0.1', () => first.end('no TLS'));
        first.resume().on('close', () => {
          const client = net.connect(port, '127.0.0.1');
          client.on('connect', () => client.write('GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'));
          let received = '';
          client.on('data', (chunk) => (received += chunk)).on('error', () => {});
          client.on('close', () => {
            console.log(JSON.stringify({ received, errors }));
            process.exit();
          });
          const files = [];
          server.prependListener('connection', () => {});
          const { emit } = server;
          server.emit = function (event, ...args) {
            if (event === 'connection') {
              try { for (;;) files.push(fs.openSync('/dev/null')); } catch {}
            }
            const result = emit.call(this, event, ...args);
            for (const fd of files.splice(0)) fs.closeSync(fd);
            return result;
          };
        });
      });
    `);
    const { received, errors } = JSON.parse(await child.line());
    expect(received).toBe('');
    expect(errors).toEqual([expect.stringMatching(/the socket cannot be taken|cannot be served/)]);
  });

  test.each(['resumed', 'not resumed, as its session is of another certificate'])(
    'is %s',
    async (outcome) => {
      const { port, plugin } = await secured({
        listener: (req, res) =>
          res.end(
            JSON.stringify([
              (req.socket as TLSSocket).isSessionReused(),
              (req.socket as TLSSocket).servername,
            ]),
          ),
      });
      for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
        const options = { maxVersion, rejectUnauthorized: false };
        const first = begin(port, options);
        const sessions = queue<Buffer>();
        first.on('session', sessions.push);
        await once(first, 'secureConnect');
        first.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
        const session = await sessions.next();
        if (outcome !== 'resumed') plugin.setTls(makeCertificate());
        const second = await rawDial(port, { ...options, session });
        second.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
        await second.head();
        const resumed = outcome === 'resumed';
        expect((second.socket as TLSSocket).isSessionReused()).toBe(resumed);
        expect(JSON.parse((await second.end()).toString())).toEqual([resumed, 'localhost']);
      }
    },
  );

  test('is not negotiated anew, and sessions take no early data', async ({ skip }) => {
    const { port } = await secured({ listener: (_req, res) => res.end('alive') });
    const args = ['s_client', '-connect', `127.0.0.1:${port}`];
    const client = spawn('openssl', [...args, '-tls1_2'], { stdio: 'pipe' });
    onTestFinished(() => void client.kill('SIGKILL'));
    let said = '';
    client.stdout.on('data', (text) => (said += text));
    client.stderr.on('data', (text) => (said += text));
    client.stdin.on('error', () => {});
    const missing = new Promise<void>((resolve) => client.on('error', () => resolve()));
    const ready = until(() => said.includes('Verify return code'));
    if (await Promise.race([missing.then(() => true), ready.then(() => false)]))
      skip('there is no openssl');
    client.stdin.write('R\n');
    await once(client, 'close');
    expect(said).toMatch(/no renegotiation/i);

    const later = spawn('openssl', [...args, '-tls1_3'], { stdio: 'pipe' });
    onTestFinished(() => void later.kill('SIGKILL'));
    let tickets = '';
    later.stdout.on('data', (text) => (tickets += text));
    later.stdin.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await once(later, 'close');
    expect(tickets).toMatch(/Max Early Data: 0\n/);
  });
});

describe('no plain text is spoken', () => {
  /** What a client of plain HTTP gets. */
  async function plainly(port: number): Promise<string> {
    const socket = net.connect(port, '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    return (await bodyOf(socket)).toString('latin1');
  }

  const listener: RequestListener = (_req, res) => res.end('served');

  test('during and after cleanup(), while HTTPS goes on', async () => {
    const { port, plugin } = await secured({ listener });
    const client = await wss(port);
    const cleaning = plugin.cleanup();
    expect(await plainly(port)).not.toContain('HTTP');
    expect((await ask(port)).body.toString()).toBe('served');
    await cleaning;
    expect((await client.closed).code).toBe(1001);
    expect(await plainly(port)).not.toContain('HTTP');
    expect((await ask(port)).body.toString()).toBe('served');
  });

  test('when the server was closed and listens again, for WebSocket connections either', async () => {
    const { port, server } = await secured({ listener });
    await ask(port);
    await new Promise((resolve) => server.close(resolve));
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    expect(await plainly(port)).not.toContain('HTTP');
    expect((await ask(port)).body.toString()).toBe('served');
    await expectEchoOn(await wss(port), 'again');
  });

  test('when the plugin has gone on to another server with another certificate', async () => {
    const { port, plugin } = await secured({ listener });
    await plugin.cleanup();
    const other = makeCertificate({ host: 'other' });
    const second = http.createServer(listener);
    plugin.attach(second, { tls: other });
    const secondPort = await listen(second);
    expect((await ask(port)).socket.getPeerCertificate().subject.CN).toBe('localhost');
    const { socket } = await ask(secondPort, { ca: other.cert, servername: 'other' });
    expect(socket.getPeerCertificate().subject.CN).toBe('other');
    expect(await plainly(port)).not.toContain('HTTP');
  });

  test('when the plugin has gone on to a server without TLS', async () => {
    const { port, plugin } = await secured({ listener });
    await plugin.cleanup();
    const second = http.createServer(listener);
    plugin.attach(second);
    const secondPort = await listen(second);
    expect(await plainly(secondPort)).toContain('served');
    expect((await ask(port)).body.toString()).toBe('served');
    expect(await plainly(port)).not.toContain('HTTP');
  });
});

describe('setTls', () => {
  test('renews the certificate, and nobody is disconnected', async () => {
    const { port, plugin } = await secured({ listener: (_req, res) => res.end('ok') });
    const socket = await wss(port);
    const keptAlive = await rawDial(port);
    const renewed = makeCertificate();
    plugin.setTls(renewed);
    expect((await ask(port, { ca: renewed.cert })).status).toBe(200);
    const refused = begin(port);
    expect(await refusalOf(refused)).toMatch(/SELF_SIGNED|VERIFY/);
    await expectEchoOn(socket, 'as before');
    keptAlive.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(await keptAlive.head()).toMatch(/ 200 /);
  });

  test('changes nothing where what it is given cannot be used', async () => {
    const { port, plugin } = await secured({ listener: (_req, res) => res.end('ok') });
    const { key } = makeCertificate();
    expect(() => plugin.setTls({ ...certificate, key })).toThrow(TypeError);
    expect(() => plugin.setTls({ ...makeCertificate(), ciphers: 'none' })).toThrow(TypeError);
    expect(() => plugin.setTls(undefined as unknown as WebSocketTlsOptions)).toThrow(TypeError);
    expect((await ask(port)).status).toBe(200);
  });

  test('throws what a getter of its options throws', async () => {
    const { port, plugin } = await secured();
    const options = {
      ...certificate,
      get cert(): string {
        throw new RangeError('mine');
      },
    };
    expect(() => plugin.setTls(options)).toThrow(RangeError);
    const closing = {
      ...certificate,
      get key() {
        void plugin.cleanup();
        return certificate.key;
      },
    };
    plugin.setTls(closing);
    expect((await ask(port)).status).toBe(200);
  });
});

describe('records', () => {
  test.each([1, 2, 3, 5, 6, 21, 22, 100])(
    'cut into segments of %d bytes say the same',
    async (size) => {
      const { port } = await secured();
      const cut = await relay(port, size);
      const body = randomBytes(size < 10 ? 500 : 20_000);
      expect((await ask(cut.port, { method: 'POST', body })).body.equals(body)).toBe(true);
      const client = await rawUpgrade(cut.port, { maxVersion: 'TLSv1.2' });
      client.write(frame(BINARY, body));
      expect((await client.frame()).payload.equals(body)).toBe(true);
    },
  );

  test('in pieces are not counted any more once they are whole, those of the handshake included', async () => {
    const { port, plugin } = await secured();
    const cut = await relay(port, 40, { pause: 5 });
    const client = await rawUpgrade(cut.port);
    client.write(frame(TEXT, 'whole'));
    await client.frame();
    expect(plugin.getStats().memory.used).toBe(0);
  });

  test('of which only a part comes before the end are not counted any more', async () => {
    const sockets = queue<WSSocket>();
    const { port, plugin } = await secured({
      maxBackpressure: 50_000,
      handler: (socket) => sockets.push(socket),
    });
    const tcp = net.connect(port, '127.0.0.1');
    const client = tls.connect({ socket: tcp, servername: 'localhost', ...trusted });
    onTestFinished(() => void client.destroy());
    client.on('error', () => {});
    client.write(upgradeRequest('/ws'));
    await once(client, 'data');
    client.resume();
    // The header of a record of 16 KiB, and ten of them.
    tcp.write(Buffer.concat([Buffer.from([23, 3, 3, 0x40, 0]), Buffer.alloc(10_000)]));
    await until(() => plugin.getStats().memory.used >= 10_000);
    const socket = await sockets.next();
    // The second does not fit, which ends the connection with 1008.
    for (let count = 0; count < 2; count += 1) socket.send(Buffer.alloc(100_000));
    await until(() => plugin.getStats().totalConnections === 0);
    tcp.end();
    await until(() => plugin.getStats().closingConnections === 0);
    expect(plugin.getStats().memory.used).toBe(0);
  });

  test('of a byte each say the same', async () => {
    const { port } = await secured();
    const client = await rawDial(port, { minDHSize: 1024 });
    const message = Buffer.concat([Buffer.from(upgradeRequest('/ws')), frame(TEXT, 'one by one')]);
    for (const byte of message) client.write(Buffer.from([byte]));
    expect(await client.head()).toMatch(/ 101 /);
    expect((await client.frame()).payload.toString()).toBe('one by one');
  });

  test.each<[string, (bytes: Buffer, write: (bytes: Buffer) => void) => void]>([
    ['in the same record as', (bytes, write) => write(bytes)],
    [
      'behind a pipelined request with a body in the same record as',
      (bytes, write) => {
        const body = Buffer.alloc(10_000, 'b');
        const head = `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`;
        write(Buffer.concat([Buffer.from(head), body, bytes]));
      },
    ],
    [
      'in many records behind',
      (bytes, write) => {
        for (let at = 0; at < bytes.length; at += 50) write(bytes.subarray(at, at + 50));
      },
    ],
  ])('have frames %s the upgrade, for many clients at once', async (_, send) => {
    const { port } = await secured({
      listener: (req, res) => void req.resume().on('end', () => res.end()),
    });
    const texts = Array.from({ length: 100 }, (_, index) => `message ${index}`);
    const frames = texts.map((text) => frame(TEXT, text));
    const bytes = Buffer.concat([Buffer.from(upgradeRequest('/ws')), ...frames]);
    const begin = async () => {
      const client = await rawDial(port);
      send(bytes, (part) => client.write(part));
      while (!(await client.head()).includes(' 101 '));
      for (const text of texts) expect((await client.frame()).payload.toString()).toBe(text);
    };
    await Promise.all(Array.from({ length: 20 }, begin));
  });

  test('that have been tampered with end the connection by an alert', async () => {
    const ends = queue<number>();
    const { port } = await secured({
      handler: (socket) => socket.onClose((code) => ends.push(code)),
    });
    const tcp = net.connect(port, '127.0.0.1');
    const client = new RawClient(await dial(port, { socket: tcp }));
    client.write(upgradeRequest('/ws'));
    await client.head();
    const refused = refusalOf(client.socket as TLSSocket);
    tcp.write(Buffer.concat([Buffer.from([23, 3, 3, 0, 100]), randomBytes(100)]));
    expect(await refused).toMatch(/BAD_RECORD_MAC/);
    expect(await ends.next()).toBe(1006);
  });
});

describe('the end of TLS', () => {
  test('is said by both sides of a connection', async () => {
    const { port } = await secured({ handler: (socket) => socket.close(1000) });
    const wire = await relay(port);
    const client = await rawUpgrade(wire.port, { maxVersion: 'TLSv1.2' });
    await client.frame();
    client.write(frame(CLOSE, closePayload(1000)));
    await client.end();
    expect(recordTypes(wire.fromServer()).at(-1)).toBe(ALERT);
  });

  test('is said behind a response that ends the connection', async () => {
    const { port } = await secured({ listener: (_req, res) => res.end('whole') });
    const wire = await relay(port);
    const headers = { connection: 'close' };
    const { body } = await ask(wire.port, { headers, maxVersion: 'TLSv1.2' });
    expect(body.toString()).toBe('whole');
    await until(() => recordTypes(wire.fromServer()).at(-1) === ALERT);
  });

  test.each(['response', 'socket'])(
    'is not said where the %s is destroyed in the middle',
    async (what) => {
      const { port } = await secured({
        listener: (req, res) => {
          res.shouldKeepAlive = false;
          res.removeHeader('transfer-encoding');
          // Whole to a client that believes in the end of the connection.
          res.writeHead(200, { connection: 'close' });
          res.write('half of it', () => (what === 'socket' ? req.socket : res).destroy());
        },
      });
      for (let times = 0; times < 20; times += 1) {
        const wire = await relay(port);
        const client = await rawDial(wire.port, { maxVersion: 'TLSv1.2' });
        client.write('GET / HTTP/1.0\r\nHost: x\r\n\r\n');
        await client.end();
        expect(recordTypes(wire.fromServer())).not.toContain(ALERT);
        expect(recordTypes(wire.fromServer())).toContain(HANDSHAKE);
      }
    },
  );

  test('by a client is the end of its side only: it gets its response', async () => {
    const { port } = await secured({
      listener: (req, res) =>
        void req.resume().on('end', () => setImmediate(() => res.end('late'))),
    });
    const client = await dial(port, { allowHalfOpen: true });
    client.end('POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody');
    expect((await bodyOf(client)).toString()).toMatch(/ 200 [\s\S]*late/);
  });

  test('may be missing: an end of TCP ends a request in the middle, and a connection as 1006', async () => {
    const aborted = queue<void>();
    const ends = queue<number>();
    const { port, server } = await secured({
      listener: (req) => void req.on('error', () => aborted.push()).resume(),
      handler: (socket) => socket.onClose((code) => ends.push(code)),
    });
    for (const request of [
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf',
      upgradeRequest('/ws'),
    ]) {
      const tcp = net.connect(port, '127.0.0.1');
      const client = await dial(port, { socket: tcp });
      await new Promise((resolve) => client.write(request, resolve));
      if (request.includes('websocket')) await once(client, 'data');
      tcp.end();
    }
    await aborted.next();
    expect(await ends.next()).toBe(1006);
    await untilNobodyIsConnected(server);
  });

  test('of one side leaves a tunnel open in the other direction for as long as it takes', async () => {
    const { port, server } = await secured();
    const sides = queue<net.Socket>();
    server.on('connect', (_req, socket: net.Socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      sides.push(socket);
    });
    const client = await dial(port, { allowHalfOpen: true });
    client.write('CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n');
    const theirs = await sides.next();
    theirs.end('the end of this side');
    const received: Buffer[] = [];
    client.on('data', (chunk) => received.push(chunk));
    await once(client, 'end');
    expect(Buffer.concat(received).toString()).toMatch(/ 200 [\s\S]*the end of this side$/);
    client.end('the end of that side');
    expect((await bodyOf(theirs)).toString()).toBe('the end of that side');
  });
});

describe('HTTP', () => {
  test('carries long bodies both ways past slow readers', async () => {
    const length = 50 * MEGABYTE;
    const { port } = await secured({
      listener: async (req, res) => {
        let received = 0;
        for await (const chunk of req) {
          received += chunk.length;
          if (received % MEGABYTE < chunk.length) await new Promise(setImmediate);
        }
        res.setHeader('x-received', received);
        const piece = Buffer.alloc(MEGABYTE, 'p');
        for (let sent = 0; sent < length; sent += piece.length) {
          if (!res.write(piece)) await once(res, 'drain');
        }
        res.end();
      },
    });
    const request = https.request({
      port,
      host: '127.0.0.1',
      agent: false,
      method: 'POST',
      ...trusted,
    });
    const responded = once(request, 'response');
    const piece = Buffer.alloc(MEGABYTE, 'p');
    for (let sent = 0; sent < length; sent += piece.length) {
      if (!request.write(piece)) await once(request, 'drain');
    }
    request.end();
    const [response] = (await responded) as [IncomingMessage];
    expect(response.headers['x-received']).toBe(String(length));
    let received = 0;
    for await (const chunk of response) {
      received += chunk.length;
      if (received % MEGABYTE < chunk.length) await new Promise(setImmediate);
    }
    expect(received).toBe(length);
  });

  test('brings a refusal to a client that is still sending', async () => {
    const { port } = await secured({
      listener: (_req, res) => {
        res.writeHead(413, { connection: 'close' });
        res.end(Buffer.alloc(150_000, 'r'));
      },
    });
    for (let times = 0; times < 10; times += 1) {
      const client = await dial(port);
      client.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n');
      const received = bodyOf(client);
      const piece = Buffer.alloc(64 * KILOBYTE);
      const sending = setInterval(() => client.writable && client.write(piece), 1);
      const response = await received.finally(() => clearInterval(sending));
      expect(response.toString('latin1', 0, 12)).toBe('HTTP/1.1 413');
      expect(response.filter((byte) => byte === 'r'.charCodeAt(0)).length).toBeGreaterThanOrEqual(
        150_000,
      );
      expect(response.toString('latin1', response.length - 7)).toBe('\r\n0\r\n\r\n');
    }
  });

  test('says 100 to a client that asks before it sends', async () => {
    const { port } = await secured();
    const request = https.request({
      ...{ port, host: '127.0.0.1', agent: false, method: 'POST', ...trusted },
      headers: { expect: '100-continue', 'content-length': 4 },
    });
    request.flushHeaders();
    await once(request, 'continue');
    request.end('body');
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    expect((await bodyOf(response)).toString()).toBe('body');
  });

  test('gives up a client that does not read its response, once Node has done with it', async ({
    skip,
  }) => {
    if (process.platform !== 'linux') skip('descriptors are counted in /proc');
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const finished = queue<void>();
    const server = http.createServer((req, res) => {
      res.on('finish', finished.push);
      res.writeHead(200, { connection: 'close' });
      // Until nothing between here and the client takes any more.
      const fill = () => {
        if (req.url === '/short' || res.writableLength > 0) return res.end();
        res.write(Buffer.alloc(16 * KILOBYTE));
        return setImmediate(() => setImmediate(fill));
      };
      fill();
    });
    const plugin = new WebSocketPlugin({ closeTimeoutMs: 50 });
    plugin.attach(server, { tls: certificate });
    onTestFinished(() => plugin.cleanup());
    const path = await listenOnPath(server);
    const request = async (target: string) => {
      const client = tls.connect({ path, servername: 'localhost', ...trusted });
      onTestFinished(() => void client.destroy());
      client.on('error', () => {});
      client.write(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await once(client, 'readable');
      return client;
    };
    const first = await request('/short');
    await finished.next();
    first.destroy();
    await untilNobodyIsConnected(server);
    const before = descriptors();
    const client = await request('/long');
    let isFinished = false;
    void finished.next().then(() => {
      isFinished = true;
    });
    await until(() => {
      if (!isFinished) client.read();
      return isFinished;
    });
    await untilNobodyIsConnected(server);
    // The client's own.
    await until(() => descriptors() <= before + 1);
  });

  test('whose client resets in the middle ends there, and nobody is left', async () => {
    const closed = queue<void>();
    const { port, server } = await secured({
      listener: (_req, res) => {
        res.on('close', closed.push);
        res.on('error', () => {});
        const fill = () => {
          while (!res.destroyed && res.write(Buffer.alloc(64 * KILOBYTE)));
        };
        res.on('drain', fill);
        fill();
      },
    });
    const tcp = net.connect(port, '127.0.0.1');
    const client = await dial(port, { socket: tcp });
    client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(client, 'data');
    tcp.resetAndDestroy();
    await closed.next();
    await untilNobodyIsConnected(server);
  });

  test.each([
    [
      'headersTimeout',
      (server: http.Server) => Object.assign(server, { headersTimeout: 100 }),
      'GET / HTTP/1.1\r\n',
      / 408 /,
    ],
    [
      'keepAliveTimeout',
      (server: http.Server) => Object.assign(server, { keepAliveTimeout: 100 }),
      'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
      / 200 /,
    ],
  ])('has the %s of its server', async (_, set, request, response) => {
    const server = http.createServer({ connectionsCheckingInterval: 50 }, (_req, res) => res.end());
    set(server);
    const plugin = new WebSocketPlugin();
    plugin.attach(server, { tls: certificate });
    onTestFinished(() => plugin.cleanup());
    const client = await rawDial(await listen(server));
    client.write(request);
    expect((await client.end()).toString()).toMatch(response);
    await untilNobodyIsConnected(server);
  });
});

describe('the server', () => {
  test('counts a connection once, from its handshake to its end', async () => {
    const { port, server } = await secured({ listener: (_req, res) => res.end() });
    const silent = net.connect(port, '127.0.0.1');
    await until(() => server.listening);
    while ((await connectionsOf(server)) !== 1) await new Promise(setImmediate);
    const client = await rawDial(port);
    client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await client.head();
    expect(await connectionsOf(server)).toBe(2);
    silent.destroy();
    while ((await connectionsOf(server)) !== 1) await new Promise(setImmediate);
    client.write(upgradeRequest('/ws'));
    await client.head();
    // As without TLS, Node does not know those that the engine has.
    await untilNobodyIsConnected(server);
  });

  test('drops what is beyond its maxConnections', async () => {
    const { port, server } = await secured();
    server.maxConnections = 1;
    const dropped = once(server, 'drop');
    const first = await dial(port);
    const closed = new Promise((resolve) => begin(port).resume().on('close', resolve));
    await Promise.all([dropped, closed]);
    first.destroy();
    await untilNobodyIsConnected(server);
    await dial(port);
  });

  test('closes with a handshake, an idle connection and a WebSocket connection under way', async () => {
    const { port, server } = await secured({
      handshakeTimeoutMs: 100,
      listener: (_req, res) => res.end(),
    });
    const silent = net.connect(port, '127.0.0.1').resume();
    const idle = await rawDial(port);
    idle.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await idle.head();
    const client = await wss(port);
    await new Promise((resolve) => server.close(resolve));
    expect((await client.closed).code).toBe(1001);
    await idle.end();
    if (!silent.destroyed) await once(silent, 'close');
  });

  test('ends all HTTP connections by closeAllConnections()', async () => {
    const { port, server } = await secured({ listener: () => {} });
    const client = await rawDial(port);
    client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(server, 'request');
    server.closeAllConnections();
    await client.end();
    await untilNobodyIsConnected(server);
  });

  test('is given what a listener has looked at and put back', async () => {
    const { port, server } = await secured({ listener: (_req, res) => res.end('served') });
    const sniffer = net.createServer((socket) => {
      socket.once('data', (chunk) => {
        socket.pause();
        socket.unshift(chunk);
        server.emit('connection', socket);
      });
    });
    sniffer.listen(0, '127.0.0.1');
    await once(sniffer, 'listening');
    onTestFinished(() => void sniffer.close());
    const { port: sniffed } = sniffer.address() as AddressInfo;
    expect((await ask(sniffed)).body.toString()).toBe('served');
    expect((await ask(port)).body.toString()).toBe('served');
  });

  test("has 'connection' listeners that see the encrypted connection, and may throw or clean up", async () => {
    const seen = queue<boolean>();
    const { port, server, plugin, errors } = await secured({
      listener: (_req, res) => res.end('served'),
    });
    server.once('connection', (socket: TLSSocket) => {
      seen.push(socket.encrypted);
      throw new Error('in a listener');
    });
    expect((await ask(port)).body.toString()).toBe('served');
    expect(await seen.next()).toBe(true);
    expect((await errors.next()).message).toBe('in a listener');
    server.once('connection', () => void plugin.cleanup());
    expect((await ask(port)).body.toString()).toBe('served');
    server.once('connection', (socket: net.Socket) => socket.destroy());
    await rawDial(port).then((client) => client.end());
    await untilNobodyIsConnected(server);
  });
});

describe('several plugins on one server', () => {
  function second(server: http.Server, options: WebSocketPluginOptions, tls?: WebSocketTlsOptions) {
    const plugin = new WebSocketPlugin(options);
    onTestFinished(() => plugin.cleanup());
    plugin.attach(server, tls && { tls }).ws(options.path as string, echo);
    return plugin;
  }

  test('may have the same TLS: each renews it, and the last one goes on with it', async () => {
    const { port, server, plugin } = await secured();
    const other = second(server, { path: '/other' }, certificate);
    await expectEchoOn(await wss(port), 'first');
    await expectEchoOn(await connect(`wss://127.0.0.1:${port}/other`, trusted), 'second');
    const renewed = makeCertificate();
    other.setTls(renewed);
    expect((await ask(port, { ca: renewed.cert })).status).toBe(200);
    await plugin.cleanup();
    const client = await connect(`wss://127.0.0.1:${port}/other`, { ca: renewed.cert });
    await expectEchoOn(client, 'alone');
    expect(other.getStats().transports.adopted).toBe(1);
  });

  test('may not have different TLS', async () => {
    const { server } = await secured();
    expect(() => second(server, { path: '/other' }, makeCertificate())).toThrow(
      /another certificate/,
    );
  });

  test('may have one without TLS: its connections are encrypted as well', async () => {
    const { port, server } = await secured();
    second(server, { path: '/other' });
    await expectEchoOn(await connect(`wss://127.0.0.1:${port}/other`, trusted), 'encrypted');
  });
});

describe('a slow reader', () => {
  test('gets everything in order, whatever was sent while the socket took nothing', async () => {
    const sockets = queue<WSSocket>();
    const { port } = await secured({
      maxBackpressure: 64 * MEGABYTE,
      maxBufferedBytes: 256 * MEGABYTE,
      handler: (socket) => {
        socket.join('all');
        sockets.push(socket);
      },
    });
    const client = await rawUpgrade(port);
    const socket = await sockets.next();
    client.socket.pause();
    const expected: Buffer[] = [];
    for (let index = 0; index < 200; index += 1) {
      // Lengths around those of records, buffers and chunks.
      const length = [1, 100, 16_379, 65_526, 65_527, 65_525, 131_062, 70_000, 3][
        index % 9
      ] as number;
      const data = Buffer.alloc(length, index % 251);
      expected.push(data);
      socket.send(data);
      if (index % 5 === 0) await new Promise(setImmediate);
    }
    client.write(frame(9, 'ping'));
    socket.close(4000, 'all of it');
    client.socket.resume();
    let pongs = 0;
    for (const data of expected) {
      let next = await client.frame();
      while (next.opcode === 10 || next.opcode === 9) {
        pongs += 1;
        next = await client.frame();
      }
      if (!next.payload.equals(data)) throw new Error(`not equal: ${next.payload.length}`);
    }
    let last = await client.frame();
    while (last.opcode !== CLOSE) last = await client.frame();
    expect(last.payload).toEqual(closePayload(4000, 'all of it'));
    expect(pongs).toBeLessThanOrEqual(1);
  });

  test('beyond maxBackpressure sees whole frames and then why it is closed', async () => {
    // With frames that end one byte before a chunk does, and pieces of all sizes.
    for (const length of [65_531, 65_525, 65_526, 65_527, 40_000, 16_379, 200_000]) {
      const sockets = queue<WSSocket>();
      const ends = queue<number>();
      const { port } = await secured({
        maxBackpressure: 8 * MEGABYTE,
        handler: (socket) => {
          socket.onClose((code) => ends.push(code));
          sockets.push(socket);
        },
      });
      const client = await rawUpgrade(port);
      const socket = await sockets.next();
      client.socket.pause();
      while (ends.waiting.length === 0) {
        socket.send(Buffer.alloc(length, 'm'));
        await new Promise(setImmediate);
      }
      expect(await ends.next()).toBe(1008);
      client.socket.resume();
      let next = await client.frame();
      while (next.opcode === BINARY) {
        expect(next.payload).toHaveLength(length);
        expect(next.payload.every((byte) => byte === 109)).toBe(true);
        next = await client.frame();
      }
      expect(next.opcode).toBe(CLOSE);
      expect(next.payload.readUInt16BE()).toBe(1008);
    }
  });

  test('is counted with what is encrypted and waits for it', async () => {
    const sockets = queue<WSSocket>();
    const { port, plugin } = await secured({ handler: (socket) => sockets.push(socket) });
    const client = await rawUpgrade(port);
    const socket = await sockets.next();
    client.socket.pause();
    while (plugin.getStats().backpressuredConnections === 0) {
      if (socket.bufferedAmount < 4 * MEGABYTE) socket.send(Buffer.alloc(MEGABYTE));
      await new Promise(setImmediate);
    }
    // Up to a chunk more than what is queued, as that has been encrypted.
    expect(plugin.getStats().memory.used).toBeGreaterThan(socket.bufferedAmount);
    client.socket.resume();
    await until(() => socket.bufferedAmount === 0);
    await until(() => plugin.getStats().backpressuredConnections === 0);
  });

  test('of a response that upgrades behind it loses nothing of either', async () => {
    const finished = queue<number>();
    const server = http.createServer((_req, res) => {
      let total = 0;
      res.on('finish', () => finished.push(total));
      const fill = () => {
        if (res.writableLength > 0) return res.end('the end');
        total += 16 * KILOBYTE;
        res.write(Buffer.alloc(16 * KILOBYTE, 'r'));
        return setImmediate(() => setImmediate(fill));
      };
      fill();
    });
    const plugin = new WebSocketPlugin();
    plugin.attach(server, { tls: certificate }).ws('/ws', echo);
    onTestFinished(() => plugin.cleanup());
    const path = await listenOnPath(server);
    const socket = tls.connect({ path, servername: 'localhost', ...trusted });
    onTestFinished(() => void socket.destroy());
    socket.write(`GET / HTTP/1.1\r\nHost: x\r\n\r\n${upgradeRequest('/ws')}`);
    socket.write(frame(TEXT, 'first'));
    await once(socket, 'readable');
    // As much as has Node get rid of the rest.
    const received: Buffer[] = [];
    let total: number | undefined;
    void finished.next().then((count) => {
      total = count;
    });
    await until(() => {
      const chunk = total === undefined ? socket.read() : null;
      if (chunk !== null) received.push(chunk);
      return total !== undefined;
    });
    await until(() => plugin.getStats().totalConnections === 1);
    socket.write(frame(TEXT, 'second'));
    await until(() => plugin.getStats().messagesReceived === 2);
    const client = new RawClient(socket);
    const text = Buffer.concat([...received, await client.until('HTTP/1.1 101')]).toString();
    expect(text.endsWith('the end\r\n0\r\n\r\n')).toBe(true);
    expect(text.replaceAll(/[^r]/g, '').length).toBeGreaterThanOrEqual(total as number);
    await client.head();
    expect((await client.frame()).payload.toString()).toBe('first');
    expect((await client.frame()).payload.toString()).toBe('second');
  });
});

describe('a process', () => {
  const options = JSON.stringify(certificate);
  const serverSource = `
    const { WebSocketPlugin } = require('nextrush-websocket');
    const server = require('node:http').createServer((req, res) => res.end('x'.repeat(200_000)));
    const plugin = new WebSocketPlugin({ handshakeTimeoutMs: 300 });
    plugin.attach(server, { tls: ${options} }).ws('/ws', (socket) => {
      socket.onMessage((data) => socket.send(data));
    });
  `;

  test('ends by itself once server and plugin are closed, after a handshake that was under way', async () => {
    const { line, tell, exited } = script(`
      ${serverSource}
      server.listen(0, '127.0.0.1', () => console.log(server.address().port));
      process.stdin.once('data', async () => {
        process.stdin.destroy();
        await Promise.all([plugin.cleanup(), new Promise((resolve) => server.close(resolve))]);
        console.log('closed');
      });
    `);
    const port = Number(await line());
    const client = await wss(port);
    await expectEchoOn(client, 'alive');
    const silent = net.connect(port, '127.0.0.1').on('error', () => {});
    onTestFinished(() => void silent.destroy());
    await once(silent, 'connect');
    await ask(port, { headers: { connection: 'close' } });
    tell('stop');
    expect(await line()).toBe('closed');
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
  });

  test('that ends by itself has sent its last response to a slow reader', async () => {
    const { line, exited } = script(`
      ${serverSource}
      server.on('request', (req, res) => res.on('finish', () => {
        server.close();
        plugin.cleanup();
      }));
      server.listen(0, '127.0.0.1', () => console.log(server.address().port));
    `);
    const client = await dial(Number(await line()));
    client.pause();
    client.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    const received = await bodyOf(client);
    expect(received.subarray(-200_000).equals(Buffer.alloc(200_000, 'x'))).toBe(true);
    expect(await exited).toMatchObject({ code: 0 });
  });

  test('of a cluster speaks TLS', async () => {
    const { line } = script(`
      const cluster = require('node:cluster');
      if (cluster.isPrimary) {
        cluster.setupPrimary({ exec: 'the same source' });
        for (let count = 0; count < 2; count += 1) cluster.fork();
        let ready = 0;
        cluster.on('listening', (_worker, { port }) => {
          ready += 1;
          if (ready === 2) console.log(port);
        });
        process.stdin.resume().on('end', () => process.exit());
      } else {
        ${serverSource}
        server.listen(0, '127.0.0.1');
      }
    `);
    const port = Number(await line());
    for (let times = 0; times < 6; times += 1) {
      expect((await ask(port)).body).toHaveLength(200_000);
      await expectEchoOn(await wss(port), 'from a worker');
    }
  });

  test('keeps neither descriptors nor memory of connections that have gone', async ({ skip }) => {
    if (process.platform !== 'linux') skip('descriptors are counted in /proc');
    const { port, server, plugin } = await secured({ listener: (_req, res) => res.end('x') });
    const round = async () => {
      await Promise.all(
        Array.from({ length: 20 }, async (_, index) => {
          if (index % 2 === 0) await ask(port);
          else {
            const client = await wss(port);
            await expectEchoOn(client, 'hello');
            client.ws.terminate();
          }
        }),
      );
      await untilNobodyIsConnected(server);
      await until(() => plugin.getStats().totalConnections === 0);
    };
    const descriptors = () => readdirSync('/proc/self/fd').length;
    await round();
    await round();
    const before = descriptors();
    for (let times = 0; times < 5; times += 1) await round();
    await until(() => descriptors() <= before + 2);
  });

  test('with NEXTRUSH_WEBSOCKET_TRANSPORT=bridge has the same options, and Node speak TLS', async () => {
    const authority = makeCertificate({ host: 'authority', authority: true });
    const hosts = ['a.example.com', '*.example.com'];
    const sni = Object.fromEntries(hosts.map((host) => [host, makeCertificate({ host })]));
    const tls = {
      ...certificate,
      sni,
      requestCert: true,
      rejectUnauthorized: false,
      ca: authority.cert,
    };
    const { line, tell } = script(`
      process.env.NEXTRUSH_WEBSOCKET_TRANSPORT = 'bridge';
      const { WebSocketPlugin } = require('nextrush-websocket');
      const server = require('node:http').createServer((req, res) => {
        const { authorized, servername } = req.socket;
        res.end(JSON.stringify({ authorized, servername }));
      });
      const plugin = new WebSocketPlugin();
      plugin.attach(server, { tls: ${JSON.stringify(tls)} }).ws('/ws', (socket) => {
        socket.onMessage((data) => socket.send(data));
      });
      server.listen(0, '127.0.0.1', () => console.log(server.address().port));
      process.stdin.on('data', async () => {
        await plugin.cleanup();
        plugin.attach(require('node:http').createServer());
        console.log('elsewhere');
      });
    `);
    const port = Number(await line());
    const valid = makeCertificate({ host: 'client', issuer: authority });
    for (const [servername, expected] of [
      ['a.example.com', 'a.example.com'],
      ['b.example.com', '*.example.com'],
      ['localhost', 'localhost'],
    ]) {
      const { socket, body } = await ask(port, { ...valid, servername, rejectUnauthorized: false });
      expect(socket.getPeerCertificate().subject.CN).toBe(expected);
      expect(JSON.parse(body.toString())).toEqual({ authorized: true, servername });
    }
    await expectEchoOn(await wss(port), 'over a bridge');
    tell('leave');
    await line();
    expect((await ask(port)).status).toBe(200);
  });
});
