/** The connection as inline handlers get it: {@link WSConnection}, and what belongs around it. */

import type { IncomingMessage } from 'node:http';
import type { WSConnection } from './connection.js';
import type { WSListener } from './handlers.js';
import type { PerMessageDeflateOptions, WebSocketPluginOptions } from './options.js';

/**
 * What becomes of a message, as far as that is known when `send` returns: `'sent'` is on its way;
 * `'queued'` has to wait, as the peer reads more slowly than it is written to, or at least 64 KiB (or half
 * of {@link WebSocketPluginOptions.maxBackpressure}, where that is less) are in front of it; `'dropped'`
 * never arrives: the connection is closing, or the queue has no room for it, or it is volatile and would
 * have had to wait.
 */
export type WSSendResult = 'sent' | 'queued' | 'dropped';

/** How one message is to be sent. */
export interface WSSendOptions {
  /**
   * `false` sends it uncompressed where permessage-deflate was agreed on (RFC 7692 §6), for what is
   * compressed already, or secret beside text of the peer's. Otherwise
   * {@link PerMessageDeflateOptions.threshold} decides.
   *
   * @default true
   */
  compress?: boolean | undefined;
  /**
   * Drops the message where it would be `'queued'`: for what is worthless when it comes late, such as a
   * position.
   *
   * @default false
   */
  volatile?: boolean | undefined;
}

/** The events of one connection with the arguments of their listeners. */
export interface WSSocketEvents {
  message: [data: string | Buffer];
  close: [code: number, reason: string];
  drain: [];
  pong: [latencyMs: number];
}

/**
 * What {@link WSSocket.data} is unless it is said: an object with any properties. `any`, so that a
 * socket with data of a known type, be it an interface, is one of these as well.
 */
// biome-ignore lint/suspicious/noExplicitAny: see above
export type WSSocketData = Record<string, any>;

/**
 * A {@link WSConnection} with everything that belongs around it. It is the same object; `ws` infers
 * this type for the handlers that are written in place.
 *
 * @typeParam Params What the path of the route names, such as `{ room: string }` for `/chat/:room`.
 * @typeParam Data The type of {@link WSSocket.data}.
 */
export interface WSSocket<
  Params extends object = Record<string, string>,
  Data extends object = WSSocketData,
> extends WSConnection,
    AsyncIterable<string | Buffer> {
  /** What the path of the route names, decoded; a trailing wildcard is `'*'`. Empty without a route. */
  readonly params: Params;

  /** Whatever the application knows of this connection: an empty object at first. */
  data: Data;

  /**
   * The upgrade request. Who reads it before messages are delivered, which begins when the handler has
   * returned (or its promise has settled, or after {@link WebSocketPluginOptions.handshakeTimeoutMs}),
   * keeps it for good; otherwise it is let go then, as it takes several kilobytes, and `undefined`.
   */
  readonly request: IncomingMessage | undefined;

  /**
   * The subprotocol that was agreed on, or an empty string.
   * See {@link WebSocketPluginOptions.protocols}.
   */
  readonly protocol: string;

  /**
   * The IP address of the client: that of its socket, as `req.socket.remoteAddress` has it, or what a
   * proxy says that {@link WebSocketPluginOptions.trustProxy} trusts. `undefined` once the connection has
   * ended, and where there is none, as for a unix socket.
   */
  readonly remoteAddress: string | undefined;

  /** Names of the rooms that the connection is in, in no order; none once it has ended. */
  readonly rooms: string[];

  /**
   * Bytes queued for this connection that the operating system has not taken yet: frames of `send`
   * and of broadcasts, with their headers.
   */
  readonly bufferedAmount: number;

  /**
   * As {@link WSConnection.send}, with options, and tells what becomes of the message. Takes any bytes.
   *
   * @throws {TypeError} for data or an option of another type.
   */
  send(data: string | Buffer | Uint8Array | ArrayBuffer, options?: WSSendOptions): WSSendResult;

  /**
   * Sends a value as JSON in a text message.
   *
   * @throws {TypeError} for a value that `JSON.stringify` makes no text of, and what it throws itself.
   */
  json(value: unknown, options?: WSSendOptions): WSSendResult;

  /** As {@link WSConnection.onMessage}. */
  onMessage(listener: WSListener<WSSocketEvents['message']>): void;

  /** As {@link WSConnection.onClose}. */
  onClose(listener: WSListener<WSSocketEvents['close']>): void;

  /**
   * Adds a listener that is called when the operating system has taken all that waited for the peer
   * ({@link WSSocket.bufferedAmount} is 0), after the last `send` has returned `'queued'` or `'dropped'`:
   * once for any number of them, and soon where that has happened before the listener was added.
   *
   * @throws {TypeError} if `listener` is not a function.
   */
  onDrain(listener: WSListener<WSSocketEvents['drain']>): void;

  /**
   * Adds a listener for pongs that answer a ping, of the heartbeat or of {@link WSConnection.ping}, sent
   * since there is a listener. It gets the time from the ping on in milliseconds, with fractions.
   *
   * @throws {TypeError} if `listener` is not a function.
   */
  onPong(listener: WSListener<WSSocketEvents['pong']>): void;

  /**
   * Removes a listener that `onMessage`, `onClose`, `onDrain` or `onPong` has added; the latest, where it
   * was added several times. From inside of a listener it counts from the next event on. Does nothing
   * where it is none.
   *
   * @throws {TypeError} for another event, or if `listener` is not a function.
   */
  off<E extends keyof WSSocketEvents>(event: E, listener: WSListener<WSSocketEvents[E]>): void;

  /**
   * Cuts the connection at once, without a closing handshake; what is queued is lost, and `onClose` is
   * told 1006, unless the peer was first to close.
   */
  terminate(): void;

  /**
   * Keeps messages back until {@link WSSocket.resume}, from the next one on; so does `onClose`, where the
   * peer closes behind them. Beyond some 64 KiB the peer is not read any more, so that TCP slows it down,
   * and is not overdue for a pong. To end the connection drops what is kept.
   */
  pause(): void;

  /**
   * Takes {@link WSSocket.pause} back. What was kept is delivered first, as soon as whoever calls this is
   * done.
   */
  resume(): void;

  /**
   * The messages from now on, one at a time, until the connection has ended: `for await (const data of
   * socket)`. The peer is slowed down where the loop is slower. Leaving the loop leaves the connection
   * open. Asked by a handler, or by middleware, it has messages that would wait for the handler otherwise;
   * those that it does not take go on waiting. Several iterators get all messages each, and listeners
   * as well, at the pace of the slowest.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<string | Buffer>;
}
