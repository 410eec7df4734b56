/// <reference types="node" />

import { EventEmitter } from 'node:events';
import type {
  Server as HttpServer,
  IncomingHttpHeaders,
  IncomingMessage,
  ServerResponse,
} from 'node:http';
import type { Http2SecureServer } from 'node:http2';
import type { Server as HttpsServer } from 'node:https';
import type { ParsedUrlQuery } from 'node:querystring';

export type {
  Application,
  Context,
  ContextRequest,
  ContextResponse,
  HostApplication,
  PerMessageDeflateOptions,
  WebSocketApplication,
  WebSocketAttachOptions,
  WebSocketMethods,
  WebSocketPluginOptions,
  WebSocketTlsIdentity,
  WebSocketTlsOptions,
  WSClusterAdapter,
  WSClusterAdapterEvents,
  WSClusterCredentials,
  WSClusterGap,
  WSClusterOptions,
  WSClusterStats,
  WSClusterTlsOptions,
  WSConnection,
  WSContext,
  WSHandler,
  WSMiddleware,
  WSRefusingMiddleware,
  WSRejectReason,
  WSRoomManager,
  WSStats,
};
export { hasWebSocketSupport, WebSocketPlugin, withWebSocket };

// ---------------------------------------------------------------------------
// Options
// ---------------------------------------------------------------------------

/**
 * What {@link WebSocketPlugin} can be told. Every option is optional, and `undefined` means its
 * default. All of them are checked by the constructor: a wrong type throws a `TypeError`, a number
 * out of range (negative, fractional, `NaN`) a `RangeError`; both name the option, the value and
 * what is accepted. A name that is no option throws a `TypeError` that asks for the nearest one.
 */
interface WebSocketPluginOptions {
  /**
   * Paths on which connections are accepted in addition to the routes of `app.ws`. A path is
   * exact (`/ws`), has `:params` of exactly one non-empty segment each (`/rooms/:id`), or ends in
   * a wildcard of one or more segments (`/api/ws/*`). Query strings and one trailing slash never
   * matter. A path without a handler is a live connection all the same: it counts and gets
   * broadcasts.
   *
   * A request is routed by the normal form of its path, which is also what `req.url`, `ctx.path` and
   * {@link WSConnection.url} show: `/%61b` and `http://host/ab` are `/ab`, while `%2F` stays as it
   * is. Paths with dot segments, or with `//` at the start, match nothing.
   *
   * @default '/ws'
   * @throws {TypeError} from the constructor for an empty list, and for a path that is empty or
   * not valid.
   */
  path?: string | string[];

  /**
   * Milliseconds between two ping frames to a connection (RFC 6455 §5.5.2), at most 2147483647.
   * `0` turns the heartbeat off; a peer that vanishes without a word is then never noticed.
   *
   * @default 30000
   */
  heartbeatMs?: number;

  /**
   * Milliseconds after which a connection that has not answered a ping is ended, with code 1001
   * (1006 where not even the close frame can be sent). Any frame of the peer counts as an answer.
   * At most 2147483647; `0` waits for ever.
   *
   * @default 45000
   */
  pongTimeoutMs?: number;

  /**
   * Upper limit of connections open at the same time, those still being verified included. One
   * more is answered by HTTP 503. `Infinity` means no limit.
   *
   * @default 10000
   */
  maxConnections?: number;

  /**
   * Upper limit of one incoming message in bytes, counted over all of its fragments and before
   * they are buffered. A longer one closes the connection with code 1009 (RFC 6455 §7.4.1). At
   * least 1, at most 536870888: JavaScript has no longer strings.
   *
   * @default 1048576
   */
  maxMessageSize?: number;

  /**
   * Accepted values of the `Origin` header (RFC 6455 §10.2): origins (`scheme://host[:port]`),
   * origins with `*`, or regular expressions. A `*` in a host stands for one or more letters,
   * digits, `.`, `_`, `~` or `-`, so that `https://*.example.com` is any subdomain; in the place of
   * a port, as in `http://localhost:*`, it is any port; on its own it is every origin. The default
   * port of a scheme is the same as none. Anything else is answered by HTTP 403. An empty list
   * accepts every origin and requests without one; a list that is not empty rejects a request
   * without an `Origin`.
   *
   * @default []
   * @throws {TypeError} from the constructor for a text that no browser sends as an origin: without a
   * scheme, or with a path.
   */
  allowOrigins?: (string | RegExp)[];

  /**
   * Decides whether a client may connect, after all the cheaper checks. `true` lets it in, and so
   * does a user, which is any other truthy value that does not say no. A falsy result is answered by
   * HTTP 401, and so is an Error, a function, an empty array, an object whose `ok`, `success`,
   * `allowed`, `authorized` or `authenticated` is falsy or whose `valid` is `false`, and one with an
   * `error` or `errors`. An object with a `status` or
   * `statusCode` from 200 to 599, as a `Response` has it, is answered by that. A throw or a rejection
   * is answered by HTTP 500. Frames that the client sends meanwhile are kept. Limited by
   * {@link WebSocketPluginOptions.handshakeTimeoutMs}.
   *
   * @default () => true
   */
  verifyClient?: (req: IncomingMessage) => Promise<boolean> | boolean;

  /**
   * Logs each decision (accepted, rejected and why, closed with which code) in one line.
   *
   * @default false
   */
  debug?: boolean;

  /**
   * Milliseconds from the arrival of an upgrade request for the HTTP middleware and
   * {@link WebSocketPluginOptions.verifyClient} together, and again for the WebSocket middleware.
   * More ends the attempt: by HTTP 503 before the upgrade, with close code 1008 after it. Also how
   * long an upgrade may go unanswered that is left to another listener of the server, which is
   * answered by HTTP 404 then. At least 1, at most 2147483647.
   *
   * @default 10000
   */
  handshakeTimeoutMs?: number;

  /**
   * Milliseconds that the peer has to answer a close frame (RFC 6455 §7.1.1) before the
   * connection is cut. At least 1, at most 2147483647.
   *
   * @default 5000
   */
  closeTimeoutMs?: number;

  /**
   * Upper limit of the bytes queued for one connection that reads more slowly than it is written
   * to. What happens then is up to {@link WebSocketPluginOptions.backpressurePolicy}. At least 1;
   * `Infinity` means no limit.
   *
   * @default 16777216
   */
  maxBackpressure?: number;

  /**
   * What happens to a message that does not fit into
   * {@link WebSocketPluginOptions.maxBackpressure}: `'close'` ends the connection with code 1008,
   * `'drop'` drops that message and counts it in {@link WSStats.droppedMessages}.
   *
   * @default 'close'
   */
  backpressurePolicy?: 'close' | 'drop';

  /**
   * Upper limit of the bytes that the server keeps for all connections together: messages that have
   * not come to their end, bytes that wait to be parsed, and what is queued; what many connections
   * share counts once. Beyond it, those that keep the most are closed with code 1013, until it is
   * kept again, and counted in {@link WSMemoryStats.shed}. At least 1; `Infinity` means no limit.
   *
   * The default is a quarter of what the machine has, or of what a container allows.
   *
   * @default os.totalmem() / 4
   */
  maxBufferedBytes?: number;

  /**
   * Threads that read, parse, compress and write. A connection stays on one of them. One is best up
   * to a few cores; more pay off where one thread is busy all the time. From 1 to 64.
   *
   * @default 1
   */
  ioThreads?: number;

  /**
   * Which subprotocol a connection speaks (RFC 6455 §1.9), out of those that the client offers in
   * `Sec-WebSocket-Protocol`: an array names what the server speaks, best first; a function chooses
   * or answers `false`. Without a match no subprotocol is agreed on, which browsers refuse. Without
   * this option it is the first one that the client offers, as with `ws`. What was chosen is
   * {@link WSConnection.protocol}. A function that throws, or returns what was not offered, is
   * answered by HTTP 500.
   *
   * @default undefined
   */
  protocols?: string[] | ((offered: string[], req: IncomingMessage) => string | false);

  /**
   * Compression by permessage-deflate (RFC 7692), for clients that offer it. `true` means all
   * defaults of {@link PerMessageDeflateOptions}. Compressing and inflating never happens on the
   * JavaScript thread. With context take-over, which is the default, a connection that has sent and
   * received compressed messages keeps about 360 KiB.
   *
   * @default false
   */
  perMessageDeflate?: boolean | PerMessageDeflateOptions;

  /**
   * Speaks TLS with the clients of a plain `http.Server`, on the I/O threads: neither HTTP requests nor
   * WebSocket connections cost the JavaScript thread any encryption. The server speaks TLS from then on,
   * whatever becomes of the plugin. Not for a server of `node:https`, which speaks TLS itself, and not
   * in Bun.
   *
   * @default undefined
   * @throws {TypeError} from the constructor for PEM that cannot be read, a key that does not belong to
   * its certificate or is of a kind that is not supported, and for an option of its that does not exist.
   */
  tls?: WebSocketTlsOptions;

  /**
   * Most rooms that one connection may be in; {@link WSConnection.join} throws a RangeError beyond.
   * At least 1; `Infinity` means no limit.
   *
   * @default 10000
   */
  maxRoomsPerConnection?: number;

  /**
   * Longest name of a room in UTF-16 units, as `length` counts them; {@link WSConnection.join}
   * throws a RangeError beyond. At least 1; `Infinity` means no limit.
   *
   * @default 65536
   */
  maxRoomNameLength?: number;

  /**
   * Joins this server with others: what is broadcast on one of them reaches the members on all of
   * them, by way of Redis, Valkey or whatever an adapter speaks to. Members on this server never wait
   * for it.
   *
   * @default undefined
   */
  cluster?: WSClusterOptions | WSClusterAdapter;
}

/** How servers find each other over Redis or Valkey, version 6 or later. */
interface WSClusterOptions {
  /**
   * `redis://[username:password@]host[:port]`, `rediss://…` for TLS, or `redis+unix:///path/of.sock`.
   * An array names some nodes of a Redis Cluster, which tell of the others.
   */
  url: string | string[];

  /**
   * Stands before the names of all channels: servers with different prefixes do not hear each other.
   * 1 to 64 letters, digits, `.`, `_` and `-`.
   *
   * @default 'nextrush-ws'
   */
  prefix?: string;

  /**
   * Who logs in, in place of what the URL says. Needs a password.
   *
   * @default undefined
   */
  username?: string;

  /**
   * The password, in place of what the URL says. No error, line of the log or statistic shows it.
   *
   * @default undefined
   */
  password?: string;

  /**
   * What the broker's certificate has to be like, for `rediss://`.
   *
   * @default {}
   */
  tls?: WSClusterTlsOptions;

  /**
   * `'rooms'`: a server subscribes to the rooms that have members on it, and hears of no others.
   * `'one-channel'`: every server hears of every room, which costs less where there are very many
   * rooms that live for seconds. All servers of a cluster need the same.
   *
   * @default 'rooms'
   */
  subscribe?: 'rooms' | 'one-channel';

  /**
   * Most bytes of broadcasts that wait for the broker; one broadcast may always wait, however long it
   * is. Beyond it the oldest are dropped, counted, and told of by `cluster:gap`.
   *
   * @default 16777216
   */
  publishBuffer?: number;

  /**
   * Longest silence of the broker after a ping, in milliseconds; then the connection is made anew. At
   * least 100.
   *
   * @default 10000
   */
  pingTimeoutMs?: number;
}

/** TLS with the broker, in PEM as `tls.connect` takes it. */
interface WSClusterTlsOptions {
  /**
   * Who may have issued the broker's certificate.
   *
   * @default the certificates that Node trusts
   */
  ca?: string | Uint8Array | (string | Uint8Array)[];
  /**
   * Certificate chain of this client, where the broker asks for one.
   *
   * @default undefined
   */
  cert?: string | Uint8Array;
  /**
   * The private key of `cert`.
   *
   * @default undefined
   */
  key?: string | Uint8Array;
  /**
   * The host name in the broker's certificate.
   *
   * @default the host of the URL
   */
  serverName?: string;
}

/** What {@link WebSocketPlugin.setClusterCredentials} takes. */
interface WSClusterCredentials {
  /** Who logs in; absent for the default user. */
  username?: string;
  /** The password. */
  password: string;
}

/**
 * A way to other servers that an application brings along. It needs to carry messages, and may lose
 * some: what is lost is noticed and told of by `cluster:gap`. What one server publishes in a channel
 * has to arrive in order, and once at most.
 *
 * Channels are names of up to 200 letters, digits, `-` and `_`. Messages are bytes.
 */
interface WSClusterAdapter {
  /**
   * Begins to connect, and returns. Called before everything else, and again when the plugin is installed
   * again after a `cleanup()`, which has closed it.
   *
   * @param events What the adapter has to tell.
   */
  open(events: WSClusterAdapterEvents): void | Promise<void>;
  /** Sends a message to all who have subscribed to a channel. Called only while it is up. */
  publish(channel: string, message: Uint8Array): void | Promise<void>;
  /**
   * Asks for the messages of a channel. Called only while it is up, and again for each channel after
   * it was down. Resolves once messages will come; one that rejects is asked again later.
   */
  subscribe(channel: string): void | Promise<void>;
  /** Asks for no more of them. */
  unsubscribe(channel: string): void | Promise<void>;
  /** Sends what it has been given, closes what it has opened, and tells nothing any more. */
  close(): void | Promise<void>;
}

/** What an adapter tells. */
interface WSClusterAdapterEvents {
  /** Messages can be published, and channels subscribed to. */
  up(): void;
  /** They cannot any more, for a reason in a few words without secrets. */
  down(reason: string): void;
  /** A message has come in a channel. */
  message(channel: string, message: Uint8Array): void;
}

/** Messages that some servers have not got from another: the argument of `cluster:gap`. */
interface WSClusterGap {
  /**
   * Whose messages they are: the `nodeId` of that server. Where it is this server's own, others have
   * not got them.
   */
  node: string;
  /** The room, or `null` for broadcasts to everyone, or where that is not known. */
  room: string | null;
  /** How many, or `null` where it is not known whether there were any. */
  missed: number | null;
}

/** The state of the cluster as this server sees it. */
interface WSClusterStats {
  /**
   * `'connecting'` until it is up, or has failed to be, for the first time; `'up'` while messages come
   * and go, `'down'` while they do not, `'closed'` before the plugin is installed and after its clean-up.
   */
  state: 'connecting' | 'up' | 'down' | 'closed';
  /** The name of this plugin in the cluster, which no other has. */
  nodeId: string;
  /** Other servers that have been heard of lately. */
  nodes: number;
  /** Broadcasts handed to the broker. */
  published: number;
  /** Broadcasts of other servers that have come. */
  received: number;
  /** Those of them that local members were sent. */
  delivered: number;
  /** Own and others' broadcasts that were dropped: for a bound, or since the broker refused them. */
  dropped: number;
  /** Messages in a channel that were none of this package, or of a version that it does not know. */
  ignored: number;
  /** Broadcasts of other servers that are known to have been missed. */
  missed: number;
  /** `cluster:gap` events. */
  gaps: number;
  /** Channels subscribed to. */
  subscriptions: number;
  /** Channels that the broker refuses. */
  refused: number;
  /** Times that a lost connection has been made again. */
  reconnects: number;
  /** Bytes of the broadcasts published and received. */
  bytesPublished: number;
  bytesReceived: number;
  /** Bytes that wait for the broker, and for how long the oldest has, in milliseconds. */
  waitingBytes: number;
  oldestWaitingMs: number;
}

/** What clients over TLS are shown: a certificate chain and its private key, in PEM. */
interface WebSocketTlsIdentity {
  /**
   * Certificate chain, the server's own first. Several, each with a key of its own in `key`, are for
   * clients that know different kinds of signatures, such as ECDSA and RSA.
   */
  cert: string | Uint8Array | (string | Uint8Array)[];

  /**
   * Private key, or one for each of `cert` in any order: ECDSA with P-256 or P-384, Ed25519, or RSA with
   * 2048 to 8192 bits. Signing by RSA takes more than half a millisecond, in which nothing else happens
   * on the I/O thread.
   */
  key: string | Uint8Array | (string | Uint8Array)[];

  /**
   * Opens a key that is encrypted.
   *
   * @default undefined
   */
  passphrase?: string;
}

/** How TLS is spoken; as `https.createServer` takes it, as far as it goes. */
interface WebSocketTlsOptions extends WebSocketTlsIdentity {
  /**
   * What clients are shown that ask for one of these host names (RFC 6066 §3). `*` may stand for the
   * first label, as in `'*.example.com'`.
   *
   * @default {}
   */
  sni?: Record<string, WebSocketTlsIdentity>;

  /**
   * Oldest version of TLS.
   *
   * @default 'TLSv1.2'
   */
  minVersion?: 'TLSv1.2' | 'TLSv1.3';

  /**
   * Newest version of TLS.
   *
   * @default 'TLSv1.3'
   */
  maxVersion?: 'TLSv1.2' | 'TLSv1.3';

  /**
   * Cipher suites by OpenSSL's names, with colons between them, best first.
   *
   * @default all of them
   */
  ciphers?: string;

  /**
   * Asks clients for a certificate. `req.socket.authorized` and `req.socket.getPeerCertificate()` tell
   * of it, as those of a `tls.TLSSocket` do.
   *
   * @default false
   */
  requestCert?: boolean;

  /**
   * Refuses clients without a certificate that is valid, where one is asked for.
   *
   * @default true
   */
  rejectUnauthorized?: boolean;

  /**
   * Certificates of those who may have issued a client's, in PEM.
   *
   * @default Node's own
   */
  ca?: string | Uint8Array | (string | Uint8Array)[];
}

// ---------------------------------------------------------------------------
// Connections and rooms
// ---------------------------------------------------------------------------

/** Parameters of permessage-deflate (RFC 7692 §7). */
interface PerMessageDeflateOptions {
  /**
   * Messages with a shorter payload, in bytes, are sent as they are.
   *
   * @default 1024
   */
  threshold?: number;

  /**
   * Compression level, from 0 (none) to 9 (smallest).
   *
   * @default 6
   */
  level?: number;

  /**
   * Compress each message on its own: worse compression, but no compressor per connection, and a
   * broadcast is compressed once for everyone.
   *
   * @default false
   */
  serverNoContextTakeover?: boolean;

  /**
   * Ask clients to compress each message on its own, so that nothing is kept per connection.
   *
   * @default false
   */
  clientNoContextTakeover?: boolean;

  /**
   * Base-2 logarithm of the largest window that this side compresses with, 9 to 15.
   *
   * @default 15
   */
  serverMaxWindowBits?: number;

  /**
   * Base-2 logarithm of the largest window that clients may compress with, 9 to 15. Clients that
   * cannot be told so get no compression.
   *
   * @default undefined
   */
  clientMaxWindowBits?: number;
}

/**
 * One WebSocket connection, as middleware, handlers and events get it. It is the same object at
 * every stage, so what middleware attaches to it is there in the handler.
 */
interface WSConnection {
  /** Identifies the connection among all others: a version 4 UUID. */
  id: string;

  /**
   * The URL of the upgrade request, path and query without a host, in the normal form by which it was
   * routed: see {@link WebSocketPluginOptions.path}.
   */
  url: string;

  /**
   * The subprotocol that was agreed on, or an empty string.
   * See {@link WebSocketPluginOptions.protocols}.
   */
  readonly protocol: string;

  /**
   * Whether the connection is open. Set to `false` it stays so until the next pong or `markAlive`,
   * as code in the manner of `ws` expects.
   */
  isAlive: boolean;

  /**
   * When the last pong came, in milliseconds since the epoch; before the first one, when the
   * connection began.
   */
  lastPong: number;

  /**
   * Bytes queued for this connection that the operating system has not taken yet: frames of `send`
   * and of broadcasts, with their headers.
   */
  readonly bufferedAmount: number;

  /**
   * Sends one message: a string as a text message, anything else as a binary one (RFC 6455 §5.6).
   * Does nothing once the connection is closing or closed, as in browsers. The bytes are copied.
   *
   * @throws {TypeError} if `data` is of any other type, or is memory shared with other threads.
   */
  send(data: string | Buffer | Uint8Array | ArrayBuffer): void;

  /**
   * Starts the closing handshake (RFC 6455 §7). What was sent before goes out first. Does nothing
   * if the connection is closing already.
   *
   * @param code Close code, 1000 by default: 1000–1003, 1007–1014 or 3000–4999 (RFC 6455 §7.4).
   * @param reason Text for the peer, at most 123 bytes of UTF-8.
   * @throws {RangeError} for any other code, or a longer reason.
   */
  close(code?: number, reason?: string): void;

  /**
   * Enters a room. A second time changes nothing. Any string names a room; a room exists while it
   * has members. Does nothing on a connection that has ended.
   *
   * @throws {TypeError} if `room` is not a string.
   * @throws {RangeError} beyond {@link WebSocketPluginOptions.maxRoomsPerConnection} or
   * {@link WebSocketPluginOptions.maxRoomNameLength}.
   */
  join(room: string): void;

  /**
   * Leaves a room; nothing happens if the connection is not in it. A connection that ends leaves
   * all of its rooms.
   *
   * @throws {TypeError} if `room` is not a string.
   */
  leave(room: string): void;

  /**
   * Sends one message to everyone in the room except this connection, which need not be in the
   * room itself. Also works inside of this connection's own `onClose` listeners. The room comes
   * first here, and last in {@link WebSocketMethods.wsBroadcast}.
   *
   * @throws {TypeError} if an argument is of another type.
   */
  broadcast(room: string, data: string | Buffer): void;

  /**
   * Adds a listener for messages: text arrives as a string, binary as a Buffer. What arrives
   * before the handler has returned (or its promise has resolved) is kept and delivered then, or
   * once {@link WebSocketPluginOptions.handshakeTimeoutMs} have passed: a handler may run for as
   * long as its connection. A listener that throws or rejects closes this connection with code 1011
   * and is reported by the plugin's `error` event. It runs in the async context (`AsyncLocalStorage`)
   * of the code that added it.
   *
   * @throws {TypeError} if `listener` is not a function.
   */
  onMessage(listener: (data: string | Buffer) => void): void;

  /**
   * Adds a listener for the end of the connection, called exactly once with the close code and the
   * reason of the peer, or of this side where it closed first. 1005 means that the close frame had
   * no code, 1006 that there was no close frame (RFC 6455 §7.1.5). It runs in the async context of the
   * code that added it.
   *
   * @throws {TypeError} if `listener` is not a function.
   */
  onClose(listener: (code: number, reason: string) => void): void;

  /** Sends a ping frame now, apart from the heartbeat (RFC 6455 §5.5.2). */
  ping(): void;

  /** Counts as a pong of the peer: sets `lastPong` to now and ends the wait for an answer. */
  markAlive(): void;
}

/**
 * Handles the connections of one `app.ws` route. It runs once the middleware has let the
 * connection pass. A throw or a rejection closes the connection with code 1011 and is reported by
 * the plugin's `error` event.
 */
type WSHandler = (socket: WSConnection) => void | Promise<void>;

/** A {@link WSHandler} that also looks at the upgrade request. */
type WSRequestHandler = (socket: WSConnection, req: IncomingMessage) => void | Promise<void>;

/**
 * Runs before the handler, in the order of `app.wsUse`. `next()` passes the connection on, also
 * when it is called later; only its first call counts. Without it the handler does not run, and
 * after {@link WebSocketPluginOptions.handshakeTimeoutMs} the connection is closed with code 1008.
 * Closing the socket ends the chain. `next(error)` with an Error, a string or `false` closes with
 * code 1011 and is reported by the plugin's `error` event, and so is a throw or a rejection; with any
 * other value it passes the connection on, so that `promise.then(next)` works.
 */
type WSMiddleware = (
  socket: WSConnection,
  req: IncomingMessage,
  next: () => void,
) => void | Promise<void>;

/** A {@link WSMiddleware} that may also refuse a connection by what it calls `next` with. */
type WSRefusingMiddleware = (
  socket: WSConnection,
  req: IncomingMessage,
  next: (error?: unknown) => void,
) => void | Promise<void>;

/** The events of a {@link WSRoomManager} with the arguments of their listeners. */
interface WSRoomEvents {
  /** The first connection has entered a room. */
  'room:created': [room: string];
  /** The last connection has left a room. */
  'room:destroyed': [room: string];
}

/** The rooms of one plugin, reached from HTTP handlers as `ctx.wsRooms`. */
interface WSRoomManager {
  /**
   * Sends one message to everyone in the room, except `exclude` where it is given. A room without
   * members is no error.
   *
   * @throws {TypeError} if an argument is of another type.
   */
  broadcast(room: string, data: string | Buffer, exclude?: WSConnection): void;

  /** Names of the rooms that have members at the moment. */
  getRooms(): string[];

  /** Adds a listener for a room event. */
  on<E extends keyof WSRoomEvents>(event: E, listener: (...args: WSRoomEvents[E]) => void): this;

  /** Adds a listener for the next room event of that name. */
  once<E extends keyof WSRoomEvents>(event: E, listener: (...args: WSRoomEvents[E]) => void): this;

  /** Removes a listener. */
  off<E extends keyof WSRoomEvents>(event: E, listener: (...args: WSRoomEvents[E]) => void): this;
}

// ---------------------------------------------------------------------------
// The host application
// ---------------------------------------------------------------------------

/**
 * The request of a {@link Context}: Node's own, with what NextRush adds to it. A smaller host may
 * leave the additions out.
 */
interface ContextRequest extends IncomingMessage {
  /** Parsed body. */
  body?: unknown;
  /** Parameters of the matched route. */
  params?: Record<string, string>;
  /** Parsed query string. */
  query?: ParsedUrlQuery;
  /** Path without the query string. */
  path?: string;
  /** Address of the client. */
  ip?: string;
  /** `http` or `https`. */
  protocol?: string;
  /** Whether the request came over TLS. */
  secure?: boolean;
  /** URL before any rewriting. */
  originalUrl?: string;
}

/** Where NextRush looks for a file that it sends, and whether it sends an `ETag` with it. */
interface SendFileOptions {
  root?: string;
  etag?: boolean;
}

/**
 * The response of a {@link Context}: Node's own, with what NextRush adds to it. Every host has the
 * first four; NextRush has all of them.
 */
interface ContextResponse extends ServerResponse {
  /** Sets the status code. */
  status(code: number): ContextResponse;
  /** Sends a value as JSON and ends the response. */
  json(data: unknown): ContextResponse;
  /** Sends text, bytes, or an object as JSON, and ends the response. */
  send(data: string | Buffer | object): unknown;
  /** Sets a header. */
  set(name: string, value: string | number | string[]): ContextResponse;

  /** Sends HTML. */
  html?(data: string): ContextResponse;
  /** Sends plain text. */
  text?(data: string): ContextResponse;
  /** Sends comma-separated values. */
  csv?(data: string): ContextResponse;
  /** Sends XML. */
  xml?(data: string): ContextResponse;
  /** Pipes a stream into the response. */
  stream?(stream: NodeJS.ReadableStream, contentType?: string): void;
  /** Renders a template. */
  render?(
    templateOrName: string,
    data?: Record<string, unknown>,
    options?: { layout?: string },
  ): Promise<void>;
  /** Sends a file. */
  file?(path: string, options?: SendFileOptions): ContextResponse;
  /** Sends a file. */
  sendFile?(path: string, options?: SendFileOptions): ContextResponse;
  /** Sends a file to be saved by the client. */
  download?(path: string, filename?: string): ContextResponse;
  /** Redirects, with 302 by default. */
  redirect?(url: string, status?: number): ContextResponse;
  /** Redirects with 301. */
  redirectPermanent?(url: string): ContextResponse;
  /** Redirects with 307. */
  redirectTemporary?(url: string): ContextResponse;
  /** Sets a header. */
  header?(field: string, value: string): ContextResponse;
  /** Reads a header that has been set. */
  get?(name: string): string | number | string[] | undefined;
  /** Removes a header that has been set. */
  remove?(name: string): ContextResponse;
  /** Removes a header that has been set. NextRush returns the response, Node itself nothing. */
  // biome-ignore lint/suspicious/noConfusingVoidType: one method with two hosts
  removeHeader(field: string): ContextResponse | void;
  /** Sets `Content-Type`. */
  type?(type: string): ContextResponse;
  /** Sets `Content-Length`, in bytes. */
  length?(length: number): ContextResponse;
  /** Sets `ETag`. */
  etag?(etag: string): ContextResponse;
  /** Sets `Last-Modified`. */
  lastModified?(date: Date): ContextResponse;
  /** Sets a cookie. */
  cookie?(name: string, value: string, options?: object): ContextResponse;
  /** Expires a cookie. */
  clearCookie?(name: string, options?: object): ContextResponse;
  /** Allows caching, in seconds. */
  cache?(seconds: number): ContextResponse;
  /** Forbids caching. */
  noCache?(): ContextResponse;
  /** Sets CORS headers. */
  cors?(origin?: string): ContextResponse;
  /** Sets security headers. */
  security?(): ContextResponse;
  /** Asks for compression. */
  compress?(): ContextResponse;
  /** Sends a success envelope as JSON. */
  success?(data: unknown, message?: string): void;
  /** Sends an error envelope as JSON. */
  error?(message: string, code?: number, details?: unknown): void;
  /** Sends one page of a list as JSON. */
  paginate?(data: unknown[], page: number, limit: number, total: number): void;
  /** Content type of a file extension. */
  getContentTypeFromExtension?(ext: string): string;
  /** Content type of a file. */
  getSmartContentType?(filePath: string): string;
  /** `ETag` of a file's status. */
  generateETag?(stats: unknown): string;
  /** Turns rows into comma-separated values. */
  convertToCSV?(data: unknown[]): string;
  /** Adds a timing header. */
  time?(label?: string): ContextResponse;
  /** Value at a dotted path. */
  getNestedValue?(obj: unknown, path: string): unknown;
  /** Truthiness as templates see it. */
  isTruthy?(value: unknown): boolean;
}

/**
 * The context of one HTTP request, as the plugin meets it. Required is what the plugin relies on;
 * optional what NextRush has beyond that, listed so that its own `Context` can be cast to
 * {@link WSContext} (TypeScript admits `as` only where one side has all the other's members).
 */
interface Context {
  /** The request. */
  req: ContextRequest;
  /** The response. */
  res: ContextResponse;
  /** Request method, in upper case. */
  method: string;
  /** Request URL with its query string. */
  url: string;
  /** Path without the query string. */
  path: string;
  /** Parsed query string. */
  query: ParsedUrlQuery;
  /** Parameters of the matched route. */
  params: Record<string, string>;
  /** Parsed body; whatever the body parser made of it. */
  body: unknown;
  /** Request headers, in lower case. */
  headers: IncomingHttpHeaders;
  /** Identifies the request in logs. */
  id: string | undefined;
  /** Address of the client. */
  ip: string;
  /** Whether the request came over TLS. */
  secure: boolean;
  /** What middleware passes on to later middleware. */
  state: Record<string, unknown>;

  /** Identifies the request in logs, set by NextRush's request-id middleware. */
  requestId?: string;
  /** Logger of this request. */
  logger?: {
    log: (...args: unknown[]) => void;
    error: (...args: unknown[]) => void;
    warn: (...args: unknown[]) => void;
    info: (...args: unknown[]) => void;
  };
  /** When the request began, in milliseconds since the epoch. */
  startTime?: number;
  /** `http` or `https`. */
  protocol?: string;
  /** Host without the port. */
  hostname?: string;
  /** Host with the port. */
  host?: string;
  /** Protocol and host. */
  origin?: string;
  /** The whole URL. */
  href?: string;
  /** Query string with its question mark. */
  search?: string;
  /** Parsed query string. */
  searchParams?: URLSearchParams;
  /** Status code of the response. */
  status?: number;
  /** Headers of the response. */
  responseHeaders?: Record<string, string | number | string[]>;
  /** Throws an HTTP error. */
  throw?(status: number, message?: string): never;
  /** Throws an HTTP error unless the condition holds. */
  assert?(condition: unknown, status: number, message?: string): asserts condition;
  /** Whether the client's copy is up to date. */
  fresh?(): boolean;
  /** Whether the client's copy is out of date. */
  stale?(): boolean;
  /** Whether the method is idempotent. */
  idempotent?(): boolean;
  /** Whether the response may be cached. */
  cacheable?(): boolean;
  /** Sets a header of the response. */
  set?(name: string, value: string | number | string[]): void;
  /** Sends a file. */
  sendFile?(path: string, options?: SendFileOptions): void;
  /** Renders a template. */
  render?(
    templateOrName: string,
    data?: Record<string, unknown>,
    options?: { layout?: string },
  ): Promise<void>;
  /** Sends a value as JSON. */
  json?(data: unknown): void;
  /** Sends text, bytes, or an object as JSON. */
  send?(data: string | Buffer | object): void;
  /** Redirects, with 302 by default. */
  redirect?(url: string, statusCode?: number): void;
  /** Sets a cookie. */
  cookie?(name: string, value: string, options?: object): ContextResponse;
}

/**
 * The context of one HTTP request once the plugin is installed. All three fields are those of the
 * request that is being served, upgrade requests included. NextRush uses a context again for another
 * request: what a listener needs is taken out of it before (`const { ws } = ctx`).
 */
interface WSContext extends Context {
  /** Whether this is a WebSocket upgrade request (RFC 6455 §4.1) on a path of the plugin. */
  isWebSocket: boolean;
  /** The connection, once the upgrade has taken place; otherwise `undefined`. */
  ws?: WSConnection;
  /** The rooms of the plugin. */
  wsRooms: WSRoomManager;
}

/** Koa-style HTTP middleware: what comes after `await next()` runs on the way back. */
type HttpMiddleware = (ctx: Context, next: () => Promise<void>) => void | Promise<void>;

/** Handles the requests of one HTTP route. */
type HttpHandler = (ctx: Context) => void | Promise<void>;

/**
 * The least that the plugin needs of an application: `use`, for its own HTTP middleware. The
 * `http.Server` is taken from `getServer()` or `server`, or from `listen()` when that is called.
 */
interface HostApplication {
  /** Adds an HTTP middleware. */
  use(middleware: never): unknown;
}

/**
 * A NextRush v2 application, structurally: the framework's own class and its own `Application`
 * interface both fit without a cast.
 */
interface Application extends HostApplication {
  /** Adds an HTTP middleware; they run in the order of `use`. */
  use(middleware: HttpMiddleware): Application;
  /** Adds a route for GET. */
  get(path: string, handler: HttpHandler): Application;
  /** Adds a route for POST. */
  post(path: string, handler: HttpHandler): Application;
  /** Adds a route for PUT. */
  put(path: string, handler: HttpHandler): Application;
  /** Adds a route for DELETE. */
  delete(path: string, handler: HttpHandler): Application;
  /** Adds a route for PATCH. */
  patch(path: string, handler: HttpHandler): Application;
  /** Starts to listen and returns the `http.Server`. */
  listen(port?: number, host?: string | (() => void), callback?: () => void): unknown;
  /** The `http.Server`, which exists before `listen`. */
  getServer(): unknown;
  /** Stops to listen. Open WebSocket connections are closed with code 1001 first. */
  shutdown(): Promise<void>;
}

/** What the plugin adds to an application, or returns for a server. */
interface WebSocketMethods {
  /**
   * Adds a WebSocket route. Of several that match, the most specific one wins: exact, then
   * `:params`, then a trailing wildcard, in whatever order they were added.
   *
   * @param path Like {@link WebSocketPluginOptions.path}.
   * @param handler A {@link WSHandler}; it is also given the upgrade request.
   * @returns The application, or the methods themselves.
   * @throws {TypeError} for an invalid path, a handler that is not a function, and further arguments.
   * @throws {Error} if the path has a handler already, or is one of another plugin on the server.
   */
  ws(path: string, handler: WSRequestHandler): this;

  /**
   * Adds a WebSocket middleware, for all routes.
   *
   * @param middleware A {@link WSMiddleware}; its `next` also takes an error.
   * @returns The application, or the methods themselves.
   * @throws {TypeError} if `middleware` is not a function, and for further arguments.
   */
  wsUse(middleware: WSRefusingMiddleware): this;

  /**
   * Sends one text message to every connection in the room, or to every connection on every path
   * where no room is given. The room comes last here, and first in {@link WSConnection.broadcast}.
   *
   * @returns The application, or the methods themselves.
   * @throws {TypeError} if an argument is of another type.
   */
  wsBroadcast(message: string, room?: string): this;
}

/** An {@link Application} on which a {@link WebSocketPlugin} is installed. */
interface WebSocketApplication extends Application, WebSocketMethods {}

// In both of these the plugin's methods come first, so that they win over those of the same name
// that NextRush's own `Application` declares as optional, with handler types of its own.

/**
 * Gives an application the type that it has once the plugin is installed. It is the same object.
 *
 * @throws {TypeError} if no {@link WebSocketPlugin} is installed on it.
 */
declare function withWebSocket<T extends HostApplication>(app: T): WebSocketMethods & T;

/** Whether a {@link WebSocketPlugin} is installed on an application. */
declare function hasWebSocketSupport<T extends HostApplication>(
  app: T,
): app is WebSocketMethods & T;
/** Whether a value is an application on which a {@link WebSocketPlugin} is installed. */
declare function hasWebSocketSupport(app: unknown): app is WebSocketMethods;

// ---------------------------------------------------------------------------
// The plugin
// ---------------------------------------------------------------------------

/** Why an upgrade request was rejected, and what it was answered by. */
type WSRejectReason =
  /** Not GET: HTTP 405 (RFC 6455 §4.1). */
  | 'method'
  /** Not a valid handshake, `Host` included: HTTP 400 (RFC 6455 §4.2.1). */
  | 'badRequest'
  /** Another version than 13: HTTP 426 (RFC 6455 §4.4). */
  | 'version'
  /** A path that nobody serves: HTTP 404. */
  | 'path'
  /** An origin that is not allowed: HTTP 403. */
  | 'origin'
  /** `maxConnections` reached: HTTP 503. */
  | 'limit'
  /** `verifyClient` said no: HTTP 401, or the status that its result has. */
  | 'unauthorized'
  /** `verifyClient` or a `protocols` function threw or rejected: HTTP 500. */
  | 'verifyError'
  /** The plugin or its server is shutting down: HTTP 503. */
  | 'shuttingDown'
  /** `handshakeTimeoutMs` exceeded: HTTP 503. */
  | 'timeout'
  /** The application's HTTP middleware answered the request itself. */
  | 'application';

/** How the bytes of the open connections get in and out. */
interface WSTransportStats {
  /** Over a socket taken over from Node: plain TCP and unix sockets, except on Windows and in Bun. */
  adopted: number;
  /** Through a stream of Node's, on the JavaScript thread: TLS and everything else. */
  bridged: number;
}

/** What the server keeps for all connections together, in bytes. */
interface WSMemoryStats {
  /** Kept at this moment. */
  used: number;
  /** Most that may be kept: {@link WebSocketPluginOptions.maxBufferedBytes}. */
  limit: number;
  /** Connections closed because of that limit. */
  shed: number;
}

/** What {@link WebSocketPlugin.getStats} counts, from the plugin's construction on. */
interface WSStats {
  /** Connections open at the moment. */
  totalConnections: number;
  /** Names of the rooms that have members at the moment. */
  rooms: string[];
  /** Routes registered with `app.ws`. */
  handlers: number;
  /** Messages received. */
  messagesReceived: number;
  /** Messages sent, each delivery of a broadcast counted. */
  messagesSent: number;
  /** Payload bytes of the messages received. */
  bytesReceived: number;
  /** Bytes of the frames that carried the messages sent. */
  bytesSent: number;
  /** Messages dropped because they did not fit into `maxBackpressure`. */
  droppedMessages: number;
  /** Bytes queued for all connections together, at this moment. */
  bufferedAmount: number;
  /** Connections whose peer reads more slowly than it is written to, at this moment. */
  backpressuredConnections: number;
  /**
   * Connections whose end has been told, and whose descriptor is still open: for their last bytes, or
   * until the peer ends its side. They count against `maxConnections`; one that only waits for the
   * peer makes room.
   */
  closingConnections: number;
  /** What is kept for all connections together. */
  memory: WSMemoryStats;
  /** Open connections by the way their bytes take. */
  transports: WSTransportStats;
  /** Upgrade requests rejected, by reason. */
  rejected: Record<WSRejectReason, number>;
  /** The other servers; there with option `cluster` only. */
  cluster?: WSClusterStats;
}

/**
 * The events of a {@link WebSocketPlugin} with the arguments of their listeners. A listener runs in
 * the async context (`AsyncLocalStorage`) of the code that added it. What it throws or rejects with
 * is emitted as `error`, with the connection that the event is about, and the other listeners are
 * called all the same.
 */
interface WebSocketPluginEvents extends WSRoomEvents {
  /** A connection has been accepted; its middleware and handler run after this. */
  connection: [socket: WSConnection, req: IncomingMessage];
  /** A connection has ended. */
  close: [socket: WSConnection, code: number, reason: string];
  /**
   * Middleware, a handler or a listener has thrown or rejected, with the connection where there is
   * one. Printed to stderr where nobody listens.
   */
  error: [error: Error, socket?: WSConnection];
  /** Messages to and from other servers come and go, for the first time or again. */
  'cluster:up': [];
  /** They do not any more, until `cluster:up`. Local members are not concerned. */
  'cluster:down': [reason: string];
  /** Messages between servers were lost, or may have been. */
  'cluster:gap': [gap: WSClusterGap];
}

/** What {@link WebSocketPlugin.getMetadata} tells. */
interface WebSocketPluginMetadata {
  name: string;
  version: string;
  description: string;
}

/** What {@link WebSocketPlugin.getStatus} tells. */
interface WebSocketPluginStatus {
  name: string;
  version: string;
  /** Whether the plugin is installed on an application, or attached to a server. */
  installed: boolean;
  [detail: string]: unknown;
}

/** What {@link WebSocketPlugin.attach} can be told. */
interface WebSocketAttachOptions {
  /**
   * As {@link WebSocketPluginOptions.tls}, in its place.
   *
   * @default the option of the plugin
   */
  tls?: WebSocketTlsOptions;
}

/**
 * The WebSocket plugin of NextRush v2.
 *
 * It emits `connection`, `close`, `error`, `room:created` and `room:destroyed`, and tells the
 * application of each as `plugin:WebSocketPlugin:<event>`.
 *
 * @example
 * const wsPlugin = new WebSocketPlugin({ path: '/ws' });
 * wsPlugin.install(app);
 * withWebSocket(app).ws('/ws', (socket) => socket.onMessage((data) => socket.send(data)));
 */
declare class WebSocketPlugin extends EventEmitter {
  /**
   * @throws {TypeError} for an option of the wrong type, one that does not exist, or an invalid path
   * or origin.
   * @throws {RangeError} for a number out of its range.
   */
  constructor(options?: WebSocketPluginOptions);

  /** `'WebSocketPlugin'`. */
  readonly name: string;
  /** Version of this package. */
  readonly version: string;
  /** One line on what the plugin does. */
  readonly description: string;

  /**
   * Installs the plugin: adds `ws`, `wsUse` and `wsBroadcast` to the application and its HTTP
   * middleware to the chain, and takes over the WebSocket upgrades of its server.
   *
   * @throws {Error} if the plugin is installed or attached already, if another one on the same server
   * has one of its paths, or if the application has the methods of another WebSocket plugin.
   * @throws {TypeError} if `app` is not an application, or one of Express, whose middleware takes
   * other arguments: {@link WebSocketPlugin.attach} serves its server.
   */
  install(app: HostApplication): void;

  /**
   * Serves the WebSocket upgrades of a server without an application: a bare one, or that of
   * Express, Koa or Fastify. No HTTP middleware runs for them; `verifyClient` and `wsUse` decide.
   * Upgrades on other paths are left to other listeners, and get HTTP 404 where there are none.
   * Upgrades to other protocols are left to other listeners as well, and are served as ordinary
   * requests where there are none (RFC 9110 §7.8).
   *
   * @param server Plain or TLS, listening or not. HTTP/2 servers serve HTTP/1.1 clients only, and
   * need `allowHTTP1`.
   * @param options What is to hold for this server.
   * @returns The methods that {@link WebSocketPlugin.install} adds to an application.
   * @throws {Error} if the plugin is installed or attached already, or if another one on the same
   * server has one of its paths.
   * @throws {TypeError} if `server` is not a server.
   *
   * @example
   * const server = createServer();
   * const sockets = new WebSocketPlugin().attach(server);
   * sockets.ws('/echo', (socket) => socket.onMessage((data) => socket.send(data)));
   * server.listen(3000);
   */
  attach(
    server: HttpServer | HttpsServer | Http2SecureServer,
    options?: WebSocketAttachOptions,
  ): WebSocketMethods;

  /**
   * Renews certificates and everything else in {@link WebSocketPluginOptions.tls}: whoever connects from
   * now on gets these, and those who are connected stay as they are.
   *
   * @throws {Error} if no TLS is spoken here.
   * @throws {TypeError} as the constructor does; nothing has changed then.
   */
  setTls(tls: WebSocketTlsOptions): void;

  /**
   * Has the connections to the broker that are made from now on log in with another name or password.
   *
   * @throws {Error} without option `cluster`, or where that is an adapter.
   * @throws {TypeError} for an argument of another type.
   */
  setClusterCredentials(credentials: WSClusterCredentials): void;

  /** Second step of NextRush's plugin life cycle, after {@link WebSocketPlugin.install}. */
  init?(): void | Promise<void>;

  /**
   * Closes all connections with code 1001, rejects new ones, and resolves once every peer has
   * answered or {@link WebSocketPluginOptions.closeTimeoutMs} is over. Nothing of the plugin is left
   * on the server then: another one can take its place, and this one can be installed or attached
   * again.
   *
   * Also runs when the HTTP server closes and when the application emits `shutdown`; the plugin then
   * serves again once the server listens again, unless another plugin has been attached to it. A call
   * that comes after waits for that clean-up, and changes nothing about it.
   */
  cleanup(): Promise<void>;

  /** Whether the options are valid; always true, as the constructor throws otherwise. */
  validateConfig(): boolean;

  /** Whether the plugin is installed and accepts connections. */
  healthCheck(): Promise<boolean>;

  /** Name, version and description. */
  getMetadata(): WebSocketPluginMetadata;

  /**
   * Whether {@link WebSocketPlugin.install} or {@link WebSocketPlugin.attach} has been called, and
   * {@link WebSocketPlugin.cleanup} has not undone it.
   */
  isPluginInstalled(): boolean;

  /** The state of the plugin, for health pages and logs. */
  getStatus(): WebSocketPluginStatus;

  /** Counters and present numbers. Costs nothing while messages flow. */
  getStats(): WSStats;

  /** Adds a listener for an event of the plugin. */
  on<E extends keyof WebSocketPluginEvents>(
    event: E,
    listener: (...args: WebSocketPluginEvents[E]) => void,
  ): this;
  /** Adds a listener for the next event of that name. */
  once<E extends keyof WebSocketPluginEvents>(
    event: E,
    listener: (...args: WebSocketPluginEvents[E]) => void,
  ): this;
  /** Removes a listener. */
  off<E extends keyof WebSocketPluginEvents>(
    event: E,
    listener: (...args: WebSocketPluginEvents[E]) => void,
  ): this;
  /** Calls the listeners of an event; returns whether there were any. */
  emit<E extends keyof WebSocketPluginEvents>(event: E, ...args: WebSocketPluginEvents[E]): boolean;
}
