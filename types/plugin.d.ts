/** The plugin. */

import { EventEmitter } from 'node:events';
import type { Server as HttpServer, IncomingMessage } from 'node:http';
import type { Http2SecureServer } from 'node:http2';
import type { Server as HttpsServer } from 'node:https';
import type { WebSocketMethods } from './application.js';
import type { WSClusterCredentials, WSClusterGap, WSClusterStats } from './cluster.js';
import type { WSConnections } from './connections.js';
import type { WSListener } from './handlers.js';
import type { HostApplication } from './host.js';
import type { WSRejection } from './observability.js';
import type {
  WebSocketAttachOptions,
  WebSocketPluginConstructorOptions,
  WebSocketPluginOptions,
} from './options.js';
import type { WSRoomEvents, WSRoomManager } from './rooms.js';
import type { WSSocket, WSSocketData } from './socket.js';
import type { WSNumbers, WSStats } from './stats.js';
import type { WebSocketTlsOptions } from './tls.js';

/**
 * The events of a {@link WebSocketPlugin} with the arguments of their listeners. A listener runs in
 * the async context (`AsyncLocalStorage`) of the code that added it. What it throws or rejects with
 * is emitted as `error`, with the connection that the event is about, and the other listeners are
 * called all the same.
 *
 * @typeParam Data The type of {@link WSSocket.data}.
 */
export interface WebSocketPluginEvents<Data extends object = WSSocketData> extends WSRoomEvents {
  /** A connection has been accepted; its middleware and handler run after this. */
  connection: [socket: WSSocket<Record<string, string>, Data>, req: IncomingMessage];
  /** A connection has ended. */
  close: [socket: WSSocket<Record<string, string>, Data>, code: number, reason: string];
  /**
   * Middleware, a handler or a listener has thrown or rejected, with the connection where there is
   * one. Goes to the logger, or to stderr, where nobody listens.
   */
  error: [error: Error, socket?: WSSocket<Record<string, string>, Data>];
  /** An upgrade request was refused. Told after the answer to it was written. */
  rejected: [rejection: WSRejection];
  /** Messages to and from other servers come and go, for the first time or again. */
  'cluster:up': [];
  /** They do not any more, until `cluster:up`. Local members are not concerned. */
  'cluster:down': [reason: string];
  /** Messages between servers were lost, or may have been. */
  'cluster:gap': [gap: WSClusterGap];
}

/** How {@link WebSocketPlugin.cleanup} closes connections. */
export interface WebSocketCleanupOptions {
  /**
   * Milliseconds within which connections are closed one after the other, at most 2147483647. `0` closes
   * all of them at once.
   *
   * @default 0
   */
  overMs?: number | undefined;
  /**
   * Code of the close frames (RFC 6455 §7.4.1), as {@link WSConnection.close} takes it. 1012 tells clients
   * that the service restarts.
   *
   * @default 1001
   */
  code?: number | undefined;
  /**
   * Reason in the close frames, at most 123 bytes of UTF-8.
   *
   * @default 'server is shutting down'
   */
  reason?: string | undefined;
}

/** What {@link WebSocketPlugin.getMetadata} tells. */
export interface WebSocketPluginMetadata {
  name: string;
  version: string;
  description: string;
}

/** What {@link WebSocketPlugin.getStatus} tells. */
export interface WebSocketPluginStatus {
  name: string;
  version: string;
  /** Whether the plugin is installed on an application, or attached to a server. */
  installed: boolean;
  /** Whether it is being cleaned up, or has been and waits for its server to listen again. */
  shuttingDown: boolean;
  /** Connections that are open or closing at the moment. */
  connections: number;
  /** The state of the other servers; there with option `cluster` only. */
  cluster?: WSClusterStats['state'];
}

/**
 * The WebSocket plugin of NextRush v2.
 *
 * It emits `connection`, `close`, `error`, `room:created` and `room:destroyed`, and tells the
 * application of each as `plugin:WebSocketPlugin:<event>`.
 *
 * @typeParam Data The type of {@link WSSocket.data}.
 *
 * @example
 * const wsPlugin = new WebSocketPlugin({ path: '/ws' });
 * wsPlugin.install(app);
 * withWebSocket(app).ws('/ws', (socket) => socket.onMessage((data) => socket.send(data)));
 */
export declare class WebSocketPlugin<Data extends object = WSSocketData> extends EventEmitter {
  /**
   * @throws {TypeError} for an option of the wrong type, one that does not exist, or an invalid path
   * or origin.
   * @throws {RangeError} for a number out of its range.
   */
  constructor(options?: WebSocketPluginConstructorOptions);
  constructor(options?: WebSocketPluginOptions);

  /** `'WebSocketPlugin'`. */
  readonly name: string;
  /** Version of this package. */
  readonly version: string;
  /** One line on what the plugin does. */
  readonly description: string;

  /** The rooms, and who is in them: the same object as `ctx.wsRooms`. */
  readonly rooms: WSRoomManager<Data>;
  /** Who is connected. */
  readonly connections: WSConnections<Data>;

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
  ): WebSocketMethods<Data>;

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
   * Closes all connections, with code 1001 unless `options` say otherwise, rejects new ones, and
   * resolves once every peer has answered or {@link WebSocketPluginOptions.closeTimeoutMs} is over.
   * Nothing of the plugin is left on the server then: another one can take its place, and this one can
   * be installed or attached again.
   *
   * With `overMs` they are closed one after the other, in random order, within that time:
   * {@link WebSocketPlugin.healthCheck} is false and new ones are rejected at once, and those that have
   * not been closed yet are served on. A call without `overMs`, and the application's `shutdown`, then
   * close all that are left at once; another call with `overMs` only waits.
   *
   * Also runs when the HTTP server closes and when the application emits `shutdown`; the plugin then
   * serves again once the server listens again, unless another plugin has been attached to it. A call
   * that comes after waits for that clean-up, and changes nothing about it.
   *
   * Rejects with a `TypeError` or a `RangeError` for an argument that it does not accept; nothing is
   * closed then.
   */
  cleanup(options?: WebSocketCleanupOptions): Promise<void>;

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

  /**
   * The connections that are open or closing at the moment, in an array of the caller's own. Those that
   * middleware has not let pass yet are among them.
   */
  getConnections(): WSSocket<Record<string, string>, Data>[];

  /**
   * Does what {@link WebSocketMethods.wsBroadcast} does, without an application at hand: sends one text
   * message to every connection in the room, or to every connection where no room is given.
   *
   * @throws {TypeError} if an argument is of another type.
   */
  broadcast(message: string, room?: string): void;

  /** The state of the plugin, for health pages and logs. */
  getStatus(): WebSocketPluginStatus;

  /**
   * Counters and present numbers. Costs nothing while messages flow.
   *
   * @param options `rooms: false` leaves out the names of the rooms, of which there may be many.
   * @throws {TypeError} for an option of another type, and for one that does not exist.
   */
  getStats(options: { rooms: false }): WSNumbers;
  getStats(options?: { rooms?: boolean | undefined } | undefined): WSStats;

  /**
   * The same and more as OpenMetrics text, for Prometheus and all that read what it reads: histograms of
   * message sizes, of the time of an upgrade, and of the time that events wait for the JavaScript thread;
   * connections that have ended, by close code. To be served as
   * `application/openmetrics-text; version=1.0.0; charset=utf-8`.
   */
  metrics(): string;

  /** Adds a listener for an event of the plugin. */
  on<E extends keyof WebSocketPluginEvents>(
    event: E,
    listener: WSListener<WebSocketPluginEvents<Data>[E]>,
  ): this;
  /** Adds a listener for the next event of that name. */
  once<E extends keyof WebSocketPluginEvents>(
    event: E,
    listener: WSListener<WebSocketPluginEvents<Data>[E]>,
  ): this;
  /** Removes a listener. */
  off<E extends keyof WebSocketPluginEvents>(
    event: E,
    listener: WSListener<WebSocketPluginEvents<Data>[E]>,
  ): this;
  /** Calls the listeners of an event; returns whether there were any. */
  emit<E extends keyof WebSocketPluginEvents>(
    event: E,
    ...args: WebSocketPluginEvents<Data>[E]
  ): boolean;
}
