/** The connection as inline handlers get it: {@link WSConnection}, and what belongs around it. */

import type { IncomingMessage } from 'node:http';
import type { WSConnection } from './connection.js';
import type { WSListener } from './handlers.js';
import type { PerMessageDeflateOptions, WebSocketPluginOptions } from './options.js';

/**
 * What became of a message, as far as that is known when `send` returns: `'sent'` is on its way with
 * nothing of this connection in front of it, `'queued'` waits since the peer reads more slowly than
 * it is written to, `'dropped'` will never arrive.
 */
export type WSSendResult = 'sent' | 'queued' | 'dropped';

/** How one message is to be sent. */
export interface WSSendOptions {
  /**
   * Whether it is compressed, where permessage-deflate was agreed on.
   *
   * @default true from {@link PerMessageDeflateOptions.threshold} on
   */
  compress?: boolean | undefined;
  /**
   * Drops the message where others of this connection still wait: for what is worthless when it comes
   * late, such as a position.
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
   * The upgrade request. Who reads it until the handler has returned (or its promise has settled) keeps
   * it for good; otherwise it is let go then, as it takes several kilobytes, and `undefined`.
   */
  readonly request: IncomingMessage | undefined;

  /**
   * The subprotocol that was agreed on, or an empty string.
   * See {@link WebSocketPluginOptions.protocols}.
   */
  readonly protocol: string;

  /** The address of the peer, and `undefined` once the connection has ended or where there is none. */
  readonly remoteAddress: string | undefined;

  /** Names of the rooms that the connection is in, in no order. */
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
   * Adds a listener that is called when the peer has taken all that waited for it, after some `send` has
   * returned `'queued'` or `'dropped'`.
   *
   * @throws {TypeError} if `listener` is not a function.
   */
  onDrain(listener: WSListener<WSSocketEvents['drain']>): void;

  /**
   * Adds a listener for pongs, with the time from their ping on in milliseconds.
   *
   * @throws {TypeError} if `listener` is not a function.
   */
  onPong(listener: WSListener<WSSocketEvents['pong']>): void;

  /**
   * Removes a listener that `onMessage`, `onClose`, `onDrain` or `onPong` has added; the latest, where it
   * was added several times. Does nothing where it is none.
   *
   * @throws {TypeError} for another event, or if `listener` is not a function.
   */
  off<E extends keyof WSSocketEvents>(event: E, listener: WSListener<WSSocketEvents[E]>): void;

  /** Cuts the connection at once, without a closing handshake; `onClose` is told 1006. */
  terminate(): void;

  /**
   * Reads no more of the peer until {@link WSSocket.resume}: TCP slows it down. No listener hears of a
   * message meanwhile; what had been read already is kept. Pings go out all the same, and a peer that
   * is not read is not overdue.
   */
  pause(): void;

  /** Takes {@link WSSocket.pause} back. What was kept is delivered first. */
  resume(): void;

  /**
   * The messages from now on, one at a time, until the connection has ended: `for await (const data of
   * socket)`. The peer is slowed down where the loop is slower. Leaving the loop leaves the connection
   * open.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<string | Buffer>;
}
