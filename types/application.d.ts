/** What an application has once the plugin is installed. */

import type { WSConnection } from './connection.js';
import type {
  WSHandler,
  WSListener,
  WSMiddleware,
  WSSocketHandler,
  WSSocketMiddleware,
} from './handlers.js';
import type { HostApplication } from './host.js';
import type { Application, Context } from './nextrush.js';
import type { WebSocketPluginOptions } from './options.js';
import type { WSParams } from './params.js';
import type { WebSocketPlugin, WebSocketPluginEvents } from './plugin.js';
import type { WSRoomManager } from './rooms.js';
import type { WSRouteOptions } from './routes.js';
import type { WSSocket, WSSocketData } from './socket.js';

/**
 * The context of one HTTP request once the plugin is installed. All three fields are those of the
 * request that is being served, upgrade requests included. NextRush uses a context again for another
 * request: what a listener needs is taken out of it before (`const { ws } = ctx`).
 */
export interface WSContext extends Context {
  /** Whether this is a WebSocket upgrade request (RFC 6455 §4.1) on a path of the plugin. */
  isWebSocket: boolean;
  /** The connection, once the upgrade has taken place; otherwise `undefined`. */
  ws?: WSSocket;
  /** The rooms of the plugin. */
  wsRooms: WSRoomManager;
}

/**
 * What the plugin adds to an application, or returns for a server. A function that is written in
 * place gets a {@link WSSocket}. The signatures of the reference stand last: those are what
 * `Parameters` and `ReturnType` see.
 *
 * @typeParam Data The type of {@link WSSocket.data}, for all routes.
 */
export interface WebSocketMethods<Data extends object = WSSocketData> {
  /**
   * Adds a WebSocket route. Of several that match, the most specific one wins: exact, then
   * `:params`, then a trailing wildcard, in whatever order they were added.
   *
   * @param path Like {@link WebSocketPluginOptions.path}. The type of {@link WSSocket.params} comes of it.
   * @param handler A {@link WSHandler}; it is also given the upgrade request.
   * @returns The application, or the methods themselves.
   * @throws {TypeError} for an invalid path, a handler that is not a function, and further arguments.
   * @throws {Error} if the path has a handler already, or is one of another plugin on the server.
   *
   * @example
   * wsApp.ws('/chat/:room', (socket) => socket.join(socket.params.room));
   */
  ws<Path extends string>(path: Path, handler: WSSocketHandler<WSParams<Path>, Data>): this;
  /**
   * Adds a WebSocket route whose {@link WSSocket.data} is of a type of its own.
   *
   * @typeParam RouteData The type of {@link WSSocket.data}.
   * @typeParam Path The path once more, for the type of {@link WSSocket.params}.
   *
   * @example
   * wsApp.ws<{ user: User }>('/chat', (socket) => socket.json(socket.data.user));
   */
  ws<RouteData extends object, Path extends string = string>(
    path: Path,
    handler: WSSocketHandler<WSParams<Path>, RouteData>,
  ): this;
  /**
   * Adds a WebSocket route with options of its own, which take the place of the plugin's.
   *
   * @param options Checked now: what is wrong with them throws a `TypeError` or `RangeError`.
   *
   * @example
   * wsApp.ws('/upload', { maxMessageSize: 16 * 1024 * 1024, use: [signedIn] }, (socket) => {});
   */
  ws<Path extends string>(
    path: Path,
    options: WSRouteOptions<Data> | undefined,
    handler: WSSocketHandler<WSParams<Path>, Data>,
  ): this;
  /**
   * The same, with {@link WSSocket.data} of a type of its own.
   *
   * @typeParam RouteData The type of {@link WSSocket.data}.
   * @typeParam Path The path once more, for the type of {@link WSSocket.params}.
   */
  ws<RouteData extends object, Path extends string = string>(
    path: Path,
    options: WSRouteOptions<RouteData> | undefined,
    handler: WSSocketHandler<WSParams<Path>, RouteData>,
  ): this;
  /** Adds a WebSocket route. */
  ws(path: string, handler: WSHandler): this;

  /**
   * Adds a WebSocket middleware, for all routes.
   *
   * @param middleware A {@link WSMiddleware}; its `next` also takes an error.
   * @returns The application, or the methods themselves.
   * @throws {TypeError} if `middleware` is not a function, and for further arguments.
   */
  wsUse(middleware: WSSocketMiddleware<Data>): this;
  /**
   * Adds a WebSocket middleware that fills in {@link WSSocket.data}.
   *
   * @typeParam SocketData The type of {@link WSSocket.data}.
   */
  wsUse<SocketData extends object>(middleware: WSSocketMiddleware<SocketData>): this;
  /** Adds a WebSocket middleware. */
  wsUse(middleware: WSMiddleware): this;

  /**
   * Sends one text message to every connection in the room, or to every connection on every path
   * where no room is given. The room comes last here, and first in {@link WSConnection.broadcast}.
   *
   * @returns The application, or the methods themselves.
   * @throws {TypeError} if an argument is of another type.
   */
  wsBroadcast(message: string, room?: string): this;
}

/** What an application emits: each event of the plugin by a name of its own, with its arguments. */
export type WebSocketApplicationEvents<Data extends object = WSSocketData> = {
  [E in keyof WebSocketPluginEvents as `plugin:WebSocketPlugin:${E}`]: WebSocketPluginEvents<Data>[E];
};

/** How an application that is an EventEmitter, as that of NextRush is, tells of the plugin's events. */
export interface WebSocketApplicationEmitter<Data extends object = WSSocketData> {
  /** Adds a listener for an event of the plugin. */
  on<E extends keyof WebSocketApplicationEvents>(
    event: E,
    listener: WSListener<WebSocketApplicationEvents<Data>[E]>,
  ): this;
  /** Adds a listener for the next event of that name. */
  once<E extends keyof WebSocketApplicationEvents>(
    event: E,
    listener: WSListener<WebSocketApplicationEvents<Data>[E]>,
  ): this;
  /** Removes a listener. */
  off<E extends keyof WebSocketApplicationEvents>(
    event: E,
    listener: WSListener<WebSocketApplicationEvents<Data>[E]>,
  ): this;
}

/**
 * An {@link Application} on which a {@link WebSocketPlugin} is installed: NextRush's own with all that
 * it has, where NextRush is installed.
 *
 * @typeParam Data As of {@link WebSocketMethods}.
 */
export type WebSocketApplication<Data extends object = WSSocketData> = WebSocketMethods<Data> &
  WebSocketApplicationEmitter<Data> &
  // NextRush declares them as well, as optional and with connections that have less.
  Omit<Application, keyof WebSocketMethods>;

/**
 * What an application of a type of its own is once a {@link WebSocketPlugin} is installed on it. The
 * plugin's methods come first, so that they win over those of the same name that it may declare.
 */
export type WithWebSocket<App extends HostApplication> = [App, Application] extends [
  Application,
  App,
]
  ? WebSocketApplication
  : App extends Application | { on: unknown }
    ? WebSocketMethods & WebSocketApplicationEmitter & App
    : WebSocketMethods & App;
