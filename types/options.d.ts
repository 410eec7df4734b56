/** What the plugin can be told. */

import type { IncomingMessage } from 'node:http';
import type { WSClusterAdapter, WSClusterOptions } from './cluster.js';
import type { WSConnection } from './connection.js';
import type { WSLogger } from './observability.js';
import type { WebSocketPlugin } from './plugin.js';
import type { WSRefusal, WSVerifyClient } from './refusal.js';
import type { WSSocket } from './socket.js';
import type { WSMemoryStats, WSStats } from './stats.js';
import type { WebSocketTlsOptions } from './tls.js';

/**
 * What {@link WebSocketPlugin} can be told. Every option is optional, and `undefined` means its
 * default. All of them are checked by the constructor: a wrong type throws a `TypeError`, a number
 * out of range (negative, fractional, `NaN`) a `RangeError`; both name the option, the value and
 * what is accepted. A name that is no option throws a `TypeError` that asks for the nearest one.
 */
export interface WebSocketPluginOptions {
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
  path?: string | string[] | undefined;

  /**
   * Milliseconds between two ping frames to a connection (RFC 6455 §5.5.2), at most 2147483647.
   * `0` turns the heartbeat off; a peer that vanishes without a word is then never noticed.
   *
   * @default 30000
   */
  heartbeatMs?: number | undefined;

  /**
   * Milliseconds after which a connection that has not answered a ping is ended, with code 1001
   * (1006 where not even the close frame can be sent). Any frame of the peer counts as an answer.
   * At most 2147483647; `0` waits for ever.
   *
   * @default 45000
   */
  pongTimeoutMs?: number | undefined;

  /**
   * Upper limit of connections open at the same time, those still being verified included. One
   * more is answered by HTTP 503. `Infinity` means no limit.
   *
   * @default 10000
   */
  maxConnections?: number | undefined;

  /**
   * Upper limit of connections of one address open at the same time, counted as for
   * {@link WebSocketPluginOptions.maxConnections}. One more is answered by HTTP 429. Addresses of IPv6
   * count as one where their first 64 bits are the same, as whoever has one of them has them all; an
   * IPv4 address counts the same over a socket for both kinds. Connections without an address, over unix
   * sockets, are not counted. At least 1; `Infinity` means no limit.
   *
   * Behind a proxy, {@link WebSocketPluginOptions.trustProxy} says whose addresses these are.
   *
   * @default Infinity
   */
  maxConnectionsPerIp?: number | undefined;

  /**
   * Whose `X-Forwarded-For` is believed, as in Express: `true`, everybody's; a number, that of so many
   * proxies in front of this server; a string or an array, that of proxies with these addresses,
   * subnets such as `10.0.0.0/8`, or `loopback`, `linklocal` and `uniquelocal`. What is found so is
   * {@link WSSocket.remoteAddress}, and what `maxConnectionsPerIp` counts. `req.socket` stays as it is.
   *
   * With `true` a client can say whatever it likes, unless a proxy replaces the header.
   *
   * @default false
   */
  trustProxy?: boolean | number | string | string[] | undefined;

  /**
   * Upper limit of one incoming message in bytes, counted over all of its fragments and before
   * they are buffered. A longer one closes the connection with code 1009 (RFC 6455 §7.4.1). At
   * least 1, at most 536870888: JavaScript has no longer strings.
   *
   * @default 1048576
   */
  maxMessageSize?: number | undefined;

  /**
   * How many messages one connection may send. They are counted before JavaScript sees them, so that a
   * flood costs the JavaScript thread nothing.
   *
   * Without it only the bounds on memory hold: peers send as fast as JavaScript takes their messages.
   *
   * @default undefined
   */
  messageRate?: WSMessageRate | undefined;

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
  allowOrigins?: (string | RegExp)[] | undefined;

  /**
   * Decides whether a client may connect, after all the cheaper checks. `true` lets it in, and so
   * does a user, which is any other truthy value that does not say no. A falsy result is answered by
   * HTTP 401, and so is an Error, a function, an empty array, an object whose `ok`, `success`,
   * `allowed`, `authorized` or `authenticated` is falsy or whose `valid` is `false`, and one with an
   * `error` or `errors`. An object with a `status` or
   * `statusCode` from 200 to 599, as a `Response` has it, is answered by that, and by the headers and the
   * body that it has: {@link WSRefusal}. A throw or a rejection is answered by HTTP 500. Frames that the
   * client sends meanwhile are kept. Limited by {@link WebSocketPluginOptions.handshakeTimeoutMs}.
   *
   * @default () => true
   */
  verifyClient?: ((req: IncomingMessage) => Promise<boolean> | boolean) | undefined;

  /**
   * Logs each decision (accepted, rejected and why, closed with which code) in one line: to stdout, or to
   * {@link WebSocketPluginOptions.logger}.
   *
   * @default false
   */
  debug?: boolean | undefined;

  /**
   * Takes what is printed otherwise: errors that nobody listens to, and with
   * {@link WebSocketPluginOptions.debug} the decisions. A function is called with level, message and
   * fields; of an object the method of the level is, with fields and message as pino takes them, or with
   * one text where the object has a method `log`, as the console. Every message is one printable line.
   * A logger that throws or rejects harms nobody: an error that it does not take is printed on stderr.
   *
   * @default console
   * @throws {TypeError} from the constructor for anything else.
   */
  logger?: WSLogger | undefined;

  /**
   * Milliseconds from the arrival of an upgrade request for the HTTP middleware and
   * {@link WebSocketPluginOptions.verifyClient} together, and again for the WebSocket middleware.
   * More ends the attempt: by HTTP 503 before the upgrade, with close code 1008 after it. Also how
   * long an upgrade may go unanswered that is left to another listener of the server, which is
   * answered by HTTP 404 then. At least 1, at most 2147483647.
   *
   * @default 10000
   */
  handshakeTimeoutMs?: number | undefined;

  /**
   * Milliseconds that the peer has to answer a close frame (RFC 6455 §7.1.1) before the
   * connection is cut. At least 1, at most 2147483647.
   *
   * @default 5000
   */
  closeTimeoutMs?: number | undefined;

  /**
   * Upper limit of the bytes queued for one connection that reads more slowly than it is written
   * to. What happens then is up to {@link WebSocketPluginOptions.backpressurePolicy}. At least 1;
   * `Infinity` means no limit.
   *
   * @default 16777216
   */
  maxBackpressure?: number | undefined;

  /**
   * What happens to a message that does not fit into
   * {@link WebSocketPluginOptions.maxBackpressure}: `'close'` ends the connection with code 1008,
   * `'drop'` drops that message and counts it in {@link WSStats.droppedMessages}.
   *
   * @default 'close'
   */
  backpressurePolicy?: 'close' | 'drop' | undefined;

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
  maxBufferedBytes?: number | undefined;

  /**
   * Threads that read, parse, compress and write. A connection stays on one of them. One is best up
   * to a few cores; more pay off where one thread is busy all the time. From 1 to 64.
   *
   * @default 1
   */
  ioThreads?: number | undefined;

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
  protocols?: string[] | ((offered: string[], req: IncomingMessage) => string | false) | undefined;

  /**
   * Compression by permessage-deflate (RFC 7692), for clients that offer it. `true` means all
   * defaults of {@link PerMessageDeflateOptions}. Compressing and inflating never happens on the
   * JavaScript thread. With context take-over, which is the default, a connection that has sent and
   * received compressed messages keeps about 360 KiB.
   *
   * @default false
   */
  perMessageDeflate?: boolean | PerMessageDeflateOptions | undefined;

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
  tls?: WebSocketTlsOptions | undefined;

  /**
   * Whether connections begin with a header of the PROXY protocol, version 1 or 2, by which a load
   * balancer says who the client is: `true` for all of them, or `trusted` for those from the addresses of
   * the load balancers. `req.socket.remoteAddress` and {@link WSSocket.remoteAddress} are the client's
   * then, for HTTP requests as well. A connection without the header, or whose header has not come within
   * {@link WebSocketPluginOptions.handshakeTimeoutMs}, is closed and counted in
   * {@link WSStats.refusedProxyHeaders}. The server goes on to take headers, whatever becomes of the
   * plugin.
   *
   * For a plain `http.Server`, also with option `tls`; not for a server of `node:https`, and not in Bun.
   *
   * @default false
   */
  proxyProtocol?: boolean | WSProxyProtocolOptions | undefined;

  /**
   * Most rooms that one connection may be in; {@link WSConnection.join} throws a RangeError beyond.
   * At least 1; `Infinity` means no limit.
   *
   * @default 10000
   */
  maxRoomsPerConnection?: number | undefined;

  /**
   * Longest name of a room in UTF-16 units, as `length` counts them; {@link WSConnection.join}
   * throws a RangeError beyond. At least 1; `Infinity` means no limit.
   *
   * @default 65536
   */
  maxRoomNameLength?: number | undefined;

  /**
   * Joins this server with others: what is broadcast on one of them reaches the members on all of
   * them, by way of Redis, Valkey or whatever an adapter speaks to. Members on this server never wait
   * for it.
   *
   * @default undefined
   */
  cluster?: WSClusterOptions | WSClusterAdapter | undefined;
}

/** How many messages one connection may send. */
export interface WSMessageRate {
  /** Messages a second in the long run, whole ones, however many frames they have. 1 to 1000000. */
  perSecond: number;

  /**
   * Messages at once, after a silence. 1 to 1000000.
   *
   * @default perSecond
   */
  burst?: number | undefined;

  /**
   * What a message meets that comes too early: `'close'` ends the connection with code 1008, `'drop'`
   * drops the message, `'pause'` reads nothing of the peer until there is room for it, so that TCP slows
   * it down and nothing is lost. {@link WSStats.rateLimited} counts all three.
   *
   * Pings, pongs and fragments of less than 1 KiB have an allowance of their own, sixteen times as much
   * and at least 1024 at once. What is beyond it is closed for by `'close'`, and waits otherwise, as it
   * cannot be dropped.
   *
   * @default 'close'
   */
  policy?: 'close' | 'drop' | 'pause' | undefined;
}

/** Which connections begin with a PROXY header. */
export interface WSProxyProtocolOptions {
  /**
   * Those from these addresses: addresses, subnets such as `10.0.0.0/8`, or `loopback`, `linklocal` and
   * `uniquelocal`. Whoever connects from elsewhere is served without a header.
   *
   * @default everybody's
   */
  trusted?: string | string[] | undefined;
}

/**
 * {@link WebSocketPluginOptions} as the constructor takes them: `verifyClient` may also refuse a client in
 * words of its own.
 */
export interface WebSocketPluginConstructorOptions
  extends Omit<WebSocketPluginOptions, 'verifyClient'> {
  /** As {@link WebSocketPluginOptions.verifyClient}. */
  verifyClient?: WSVerifyClient | undefined;
}

/** Parameters of permessage-deflate (RFC 7692 §7). */
export interface PerMessageDeflateOptions {
  /**
   * Messages with a shorter payload, in bytes, are sent as they are.
   *
   * @default 1024
   */
  threshold?: number | undefined;

  /**
   * Compression level, from 0 (none) to 9 (smallest).
   *
   * @default 6
   */
  level?: number | undefined;

  /**
   * Compress each message on its own: worse compression, but no compressor per connection, and a
   * broadcast is compressed once for everyone.
   *
   * @default false
   */
  serverNoContextTakeover?: boolean | undefined;

  /**
   * Ask clients to compress each message on its own, so that nothing is kept per connection.
   *
   * @default false
   */
  clientNoContextTakeover?: boolean | undefined;

  /**
   * Base-2 logarithm of the largest window that this side compresses with, 9 to 15.
   *
   * @default 15
   */
  serverMaxWindowBits?: number | undefined;

  /**
   * Base-2 logarithm of the largest window that clients may compress with, 9 to 15. Clients that
   * cannot be told so get no compression.
   *
   * @default undefined
   */
  clientMaxWindowBits?: number | undefined;
}

/** What {@link WebSocketPlugin.attach} can be told. */
export interface WebSocketAttachOptions {
  /**
   * As {@link WebSocketPluginOptions.tls}, in its place.
   *
   * @default the option of the plugin
   */
  tls?: WebSocketTlsOptions | undefined;
}
