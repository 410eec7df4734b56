/** What an application has once the plugin is installed. */

import type {
  WSConnection,
  WSHandler,
  WSMiddleware,
  WSRefusingMiddleware,
  WSRequestHandler,
} from './connection.js';
import type { Application, Context } from './host.js';
import type { WebSocketPluginOptions } from './options.js';
import type { WebSocketPlugin } from './plugin.js';
import type { WSRoomManager } from './rooms.js';

/**
 * The context of one HTTP request once the plugin is installed. All three fields are those of the
 * request that is being served, upgrade requests included. NextRush uses a context again for another
 * request: what a listener needs is taken out of it before (`const { ws } = ctx`).
 */
export interface WSContext extends Context {
  /** Whether this is a WebSocket upgrade request (RFC 6455 §4.1) on a path of the plugin. */
  isWebSocket: boolean;
  /** The connection, once the upgrade has taken place; otherwise `undefined`. */
  ws?: WSConnection;
  /** The rooms of the plugin. */
  wsRooms: WSRoomManager;
}

/** What the plugin adds to an application, or returns for a server. */
export interface WebSocketMethods {
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
export interface WebSocketApplication extends Application, WebSocketMethods {}
