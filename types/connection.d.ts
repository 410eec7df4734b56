/** One connection, as the reference has it. */

import type { WebSocketMethods } from './application.js';
import type { WebSocketPluginOptions } from './options.js';
import type { WSSocket } from './socket.js';

/**
 * One WebSocket connection, as middleware, handlers and events get it. It is the same object at
 * every stage, so what middleware attaches to it is there in the handler. These are the members that
 * code written for any WebSocket plugin of NextRush relies on; {@link WSSocket} has all of them.
 */
export interface WSConnection {
  /** Identifies the connection among all others: a version 4 UUID. */
  id: string;

  /**
   * The URL of the upgrade request, path and query without a host, in the normal form by which it was
   * routed: see {@link WebSocketPluginOptions.path}.
   */
  url: string;

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
   * Sends one message: a string as a text message, a Buffer as a binary one (RFC 6455 §5.6).
   * Does nothing once the connection is closing or closed, as in browsers. The bytes are copied.
   *
   * @throws {TypeError} if `data` is of any other type, or is memory shared with other threads.
   */
  send(data: string | Buffer): void;

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
