/** Who is called with a connection. */

import type { IncomingMessage } from 'node:http';
import type { WSConnection } from './connection.js';
import type { WebSocketPluginOptions } from './options.js';
import type { WSSocket, WSSocketData } from './socket.js';

/**
 * Handles the connections of one `app.ws` route. It runs once the middleware has let the
 * connection pass. A throw or a rejection closes the connection with code 1011 and is reported by
 * the plugin's `error` event.
 */
export type WSHandler = (socket: WSConnection) => void | Promise<void>;

/**
 * Runs before the handler, in the order of `app.wsUse`. `next()` passes the connection on, also
 * when it is called later; only its first call counts. Without it the handler does not run, and
 * after {@link WebSocketPluginOptions.handshakeTimeoutMs} the connection is closed with code 1008.
 * Closing the socket ends the chain. `next(error)` with an Error, a string or `false` closes with
 * code 1011 and is reported by the plugin's `error` event, and so is a throw or a rejection; with any
 * other value it passes the connection on, so that `promise.then(next)` works.
 */
export type WSMiddleware = (
  socket: WSConnection,
  req: IncomingMessage,
  next: () => void,
) => void | Promise<void>;

/** A {@link WSMiddleware} that may also refuse a connection by what it calls `next` with. */
export type WSRefusingMiddleware = (
  socket: WSConnection,
  req: IncomingMessage,
  next: (error?: unknown) => void,
) => void | Promise<void>;

/**
 * A function that is called with the arguments of an event. It may be async, and what it returns
 * otherwise does not matter: `(data) => socket.send(data)` is one.
 */
export type WSListener<Args extends unknown[]> =
  | ((...args: Args) => void)
  | ((...args: Args) => Promise<void>);

/**
 * A {@link WSHandler} that gets all of a connection, and the upgrade request.
 *
 * @typeParam Params As of {@link WSSocket}.
 * @typeParam Data As of {@link WSSocket}.
 */
export type WSSocketHandler<
  Params extends object = Record<string, string>,
  Data extends object = WSSocketData,
> = WSListener<[socket: WSSocket<Params, Data>, req: IncomingMessage]>;

/**
 * A {@link WSRefusingMiddleware} that gets all of a connection.
 *
 * @typeParam Data As of {@link WSSocket}.
 */
export type WSSocketMiddleware<Data extends object = WSSocketData> = WSListener<
  [
    socket: WSSocket<Record<string, string>, Data>,
    req: IncomingMessage,
    next: (error?: unknown) => void,
  ]
>;
