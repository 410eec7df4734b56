import type { IncomingMessage } from 'node:http';
import {
  type PerMessageDeflateOptions,
  WebSocketPlugin,
  type WebSocketPluginOptions,
  type WebSocketTlsIdentity,
  type WebSocketTlsOptions,
  type WSClusterAdapter,
  type WSClusterOptions,
  type WSLogger,
  type WSMessageRate,
  type WSProxyProtocolOptions,
} from '../../../index.js';
import type { Same } from '../fixtures/same.js';

// All of them at once, and none.
new WebSocketPlugin();
new WebSocketPlugin(undefined);
new WebSocketPlugin({});
new WebSocketPlugin({
  path: ['/ws', '/chat/*', '/rooms/:id'],
  heartbeatMs: 0,
  pongTimeoutMs: 20_000,
  maxConnections: Infinity,
  maxMessageSize: 64 * 1024,
  allowOrigins: [/^https:\/\/.*\.example\.com$/i, 'http://localhost:*'],
  verifyClient: () => true,
  debug: true,
  logger: console,
  handshakeTimeoutMs: 1_000,
  closeTimeoutMs: 1_000,
  maxBackpressure: Infinity,
  backpressurePolicy: 'drop',
  maxBufferedBytes: 1e9,
  protocols: ['chat.v2', 'chat.v1'],
  perMessageDeflate: { threshold: 512, level: 3, serverNoContextTakeover: true },
  maxRoomsPerConnection: 10,
  maxRoomNameLength: Infinity,
  ioThreads: 4,
  tls: {
    cert: 'PEM',
    key: Buffer.from('PEM'),
    sni: { 'a.example': { cert: ['PEM'], key: ['PEM'] } },
  },
  cluster: {
    url: ['rediss://a.example', 'rediss://b.example:7000'],
    prefix: 'chat',
    username: 'ada',
    password: 'secret',
    tls: { ca: ['PEM'], cert: 'PEM', key: Buffer.from('PEM'), serverName: 'redis' },
    subscribe: 'one-channel',
    publishBuffer: 1,
    pingTimeoutMs: 1000,
  },
});

// `undefined` stands for the default.
new WebSocketPlugin({ path: undefined, heartbeatMs: undefined, verifyClient: undefined });

// Exactly these.
const all: Same<
  WebSocketPluginOptions,
  {
    path?: string | string[] | undefined;
    heartbeatMs?: number | undefined;
    pongTimeoutMs?: number | undefined;
    maxConnections?: number | undefined;
    maxConnectionsPerIp?: number | undefined;
    trustProxy?: boolean | number | string | string[] | undefined;
    maxMessageSize?: number | undefined;
    messageRate?: WSMessageRate | undefined;
    allowOrigins?: (string | RegExp)[] | undefined;
    verifyClient?: ((req: IncomingMessage) => Promise<boolean> | boolean) | undefined;
    debug?: boolean | undefined;
    logger?: WSLogger | undefined;
    handshakeTimeoutMs?: number | undefined;
    closeTimeoutMs?: number | undefined;
    maxBackpressure?: number | undefined;
    backpressurePolicy?: 'close' | 'drop' | undefined;
    maxBufferedBytes?: number | undefined;
    ioThreads?: number | undefined;
    protocols?:
      | string[]
      | ((offered: string[], req: IncomingMessage) => string | false)
      | undefined;
    perMessageDeflate?: boolean | PerMessageDeflateOptions | undefined;
    tls?: WebSocketTlsOptions | undefined;
    proxyProtocol?: boolean | WSProxyProtocolOptions | undefined;
    maxRoomsPerConnection?: number | undefined;
    maxRoomNameLength?: number | undefined;
    cluster?: WSClusterOptions | WSClusterAdapter | undefined;
  }
> = true;

type Pem = string | Uint8Array | (string | Uint8Array)[];

const tls: Same<
  WebSocketTlsOptions,
  {
    cert: Pem;
    key: Pem;
    passphrase?: string | undefined;
    sni?: Record<string, WebSocketTlsIdentity> | undefined;
    minVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined;
    maxVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined;
    ciphers?: string | undefined;
    requestCert?: boolean | undefined;
    rejectUnauthorized?: boolean | undefined;
    ca?: Pem | undefined;
  }
> = true;

const deflate: Same<
  PerMessageDeflateOptions,
  {
    threshold?: number | undefined;
    level?: number | undefined;
    serverNoContextTakeover?: boolean | undefined;
    clientNoContextTakeover?: boolean | undefined;
    serverMaxWindowBits?: number | undefined;
    clientMaxWindowBits?: number | undefined;
  }
> = true;

// The request of an inline `verifyClient` is inferred.
new WebSocketPlugin({
  verifyClient: async (req) => req.headers.authorization?.startsWith('Bearer ') ?? false,
});

new WebSocketPlugin({
  // @ts-expect-error a path is a string
  path: /^\/ws$/,
});
new WebSocketPlugin({
  // @ts-expect-error a number, not a duration in words
  heartbeatMs: '30s',
});
new WebSocketPlugin({
  // @ts-expect-error a list
  allowOrigins: 'https://example.com',
});
new WebSocketPlugin({
  // @ts-expect-error decides by a boolean
  verifyClient: () => 'yes',
});
new WebSocketPlugin({
  // @ts-expect-error has no callback
  verifyClient: (req: IncomingMessage, done: (ok: boolean) => void) => done(!!req),
});
new WebSocketPlugin({
  // @ts-expect-error one of two words
  backpressurePolicy: 'wait',
});
new WebSocketPlugin({
  // @ts-expect-error a number
  ioThreads: 'auto',
});
new WebSocketPlugin({
  // @ts-expect-error no such option
  maxPayload: 1024,
});
new WebSocketPlugin({
  perMessageDeflate: {
    // @ts-expect-error what zlib is told is the engine's affair
    zlibDeflateOptions: { level: 3 },
  },
});
new WebSocketPlugin({
  // @ts-expect-error chooses one, or none by `false`
  protocols: () => null,
});
// @ts-expect-error options, not a path
new WebSocketPlugin('/ws');

export { all, deflate, tls };

// The constructor also takes a `verifyClient` that refuses in words of its own.
new WebSocketPlugin({
  verifyClient: async (req) =>
    req.headers.cookie ? true : { status: 401, headers: { 'WWW-Authenticate': 'Bearer' } },
});
