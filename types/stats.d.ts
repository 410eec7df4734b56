/** What the plugin counts. */

import type { WSClusterStats } from './cluster.js';
import type { WebSocketPluginOptions } from './options.js';
import type { WebSocketPlugin } from './plugin.js';

/** Why an upgrade request was rejected, and what it was answered by. */
export type WSRejectReason =
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
  /** `maxConnectionsPerIp` reached: HTTP 429. */
  | 'address'
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
export interface WSTransportStats {
  /** Over a socket taken over from Node: plain TCP and unix sockets, except on Windows and in Bun. */
  adopted: number;
  /** Through a stream of Node's, on the JavaScript thread: TLS and everything else. */
  bridged: number;
}

/** What the server keeps for all connections together, in bytes. */
export interface WSMemoryStats {
  /** Kept at this moment. */
  used: number;
  /** Most that may be kept: {@link WebSocketPluginOptions.maxBufferedBytes}. */
  limit: number;
  /** Connections closed because of that limit. */
  shed: number;
}

/** What {@link WebSocketPluginOptions.messageRate} has done. */
export interface WSRateLimitedStats {
  /** Connections closed with 1008, by the policy `'close'`. */
  closed: number;
  /** Messages dropped, by the policy `'drop'`. */
  dropped: number;
  /** How often a connection was not read for a while. */
  paused: number;
}

/** What {@link WebSocketPlugin.getStats} counts, from the plugin's construction on. */
export interface WSStats extends WSNumbers {
  /** Names of the rooms that have members at the moment, oldest first. */
  rooms: string[];
}

/** {@link WSStats} without the names of rooms. */
export interface WSNumbers {
  /** Connections open at the moment. */
  totalConnections: number;
  /** Rooms that have members at the moment. */
  roomCount: number;
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
  /** Messages dropped: beyond `maxBackpressure`, or volatile and would have had to wait. */
  droppedMessages: number;
  /** What became of peers that sent more messages than they may. */
  rateLimited: WSRateLimitedStats;
  /** Connections refused because they did not begin with the PROXY header that they had to. */
  refusedProxyHeaders: number;
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
