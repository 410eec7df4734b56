// Where this cannot be found: npm install --save-dev @types/node
/// <reference types="node" />

import type { WebSocketApplication, WebSocketMethods, WithWebSocket } from './types/application.js';
import type { HostApplication } from './types/host.js';
import type { Application } from './types/nextrush.js';
import type { WebSocketPlugin } from './types/plugin.js';

export type {
  WebSocketApplication,
  WebSocketApplicationEmitter,
  WebSocketApplicationEvents,
  WebSocketMethods,
  WithWebSocket,
  WSContext,
} from './types/application.js';
export type {
  WSClusterAdapter,
  WSClusterAdapterEvents,
  WSClusterCredentials,
  WSClusterGap,
  WSClusterOptions,
  WSClusterStats,
  WSClusterTlsOptions,
} from './types/cluster.js';
export type { WSConnection } from './types/connection.js';
export type { WSConnections } from './types/connections.js';
export type {
  WSHandler,
  WSListener,
  WSMiddleware,
  WSRefusingMiddleware,
  WSSocketHandler,
  WSSocketMiddleware,
} from './types/handlers.js';
export type { HostApplication } from './types/host.js';
export type { Application, Context, ContextRequest, ContextResponse } from './types/nextrush.js';
export type {
  WSDiagnostics,
  WSLogFields,
  WSLogFunction,
  WSLogger,
  WSLoggerMethods,
  WSLogLevel,
  WSRejection,
} from './types/observability.js';
export type {
  PerMessageDeflateOptions,
  WebSocketAttachOptions,
  WebSocketPluginConstructorOptions,
  WebSocketPluginOptions,
  WSMessageRate,
  WSProxyProtocolOptions,
} from './types/options.js';
export type { WSParams } from './types/params.js';
export type {
  WebSocketCleanupOptions,
  WebSocketPluginEvents,
  WebSocketPluginMetadata,
  WebSocketPluginStatus,
} from './types/plugin.js';
export { WebSocketPlugin } from './types/plugin.js';
export type { WSHeaderValue, WSRefusal, WSVerifyClient } from './types/refusal.js';
export type { WSBroadcastOptions, WSRoomEvents, WSRoomManager } from './types/rooms.js';
export type { WSRouteOptions } from './types/routes.js';
export type {
  WSSendOptions,
  WSSendResult,
  WSSocket,
  WSSocketData,
  WSSocketEvents,
} from './types/socket.js';
export type { WSNumbers, WSRateLimitedStats, WSRejectReason, WSStats } from './types/stats.js';
export type { WebSocketTlsIdentity, WebSocketTlsOptions } from './types/tls.js';

/**
 * Gives an application the type that it has once the plugin is installed. It is the same object.
 *
 * @throws {TypeError} if no {@link WebSocketPlugin} is installed on it.
 */
export declare function withWebSocket<App extends HostApplication>(app: App): WithWebSocket<App>;
/**
 * Gives an application the type that it has once the plugin is installed, with data of a type of its
 * own on all connections.
 */
export declare function withWebSocket<Data extends object>(
  app: Application,
): WebSocketApplication<Data>;
/** Gives an application the type that it has once the plugin is installed. */
export declare function withWebSocket(app: Application): WebSocketApplication;

/** Whether a {@link WebSocketPlugin} is installed on an application. */
export declare function hasWebSocketSupport<App extends HostApplication>(
  app: App,
): app is WithWebSocket<App> & App;
/** Whether a value is an application on which a {@link WebSocketPlugin} is installed. */
export declare function hasWebSocketSupport(app: unknown): app is WebSocketMethods;
/** Whether a {@link WebSocketPlugin} is installed on an application. */
export declare function hasWebSocketSupport(app: Application): app is WebSocketApplication;
