/// <reference types="node" />

import type { WebSocketMethods } from './types/application.js';
import type { HostApplication } from './types/host.js';
import type { WebSocketPlugin } from './types/plugin.js';

export type { WebSocketApplication, WebSocketMethods, WSContext } from './types/application.js';
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
export type {
  WSHandler,
  WSListener,
  WSMiddleware,
  WSRefusingMiddleware,
  WSSocketHandler,
  WSSocketMiddleware,
} from './types/handlers.js';
export type {
  Application,
  Context,
  ContextRequest,
  ContextResponse,
  HostApplication,
} from './types/host.js';
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
  WebSocketPluginOptions,
} from './types/options.js';
export type { WSParams } from './types/params.js';
export type {
  WebSocketCleanupOptions,
  WebSocketPluginEvents,
  WebSocketPluginMetadata,
  WebSocketPluginStatus,
} from './types/plugin.js';
export { WebSocketPlugin } from './types/plugin.js';
export type {
  WSHeaderValue,
  WSRefusal,
  WSRefusingOptions,
  WSVerifyClient,
} from './types/refusal.js';
export type { WSRoomEvents, WSRoomManager } from './types/rooms.js';
export type { WSRouteOptions } from './types/routes.js';
export type {
  WSSendOptions,
  WSSendResult,
  WSSocket,
  WSSocketData,
  WSSocketEvents,
} from './types/socket.js';
export type { WSRejectReason, WSStats } from './types/stats.js';
export type { WebSocketTlsIdentity, WebSocketTlsOptions } from './types/tls.js';

// In both of these the plugin's methods come first, so that they win over those of the same name
// that NextRush's own `Application` declares as optional, with handler types of its own.

/**
 * Gives an application the type that it has once the plugin is installed. It is the same object.
 *
 * @throws {TypeError} if no {@link WebSocketPlugin} is installed on it.
 */
export declare function withWebSocket<T extends HostApplication>(app: T): WebSocketMethods & T;

/** Whether a {@link WebSocketPlugin} is installed on an application. */
export declare function hasWebSocketSupport<T extends HostApplication>(
  app: T,
): app is WebSocketMethods & T;
/** Whether a value is an application on which a {@link WebSocketPlugin} is installed. */
export declare function hasWebSocketSupport(app: unknown): app is WebSocketMethods;
