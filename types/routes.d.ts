/** What a route can be told. */

import type { IncomingMessage } from 'node:http';
import type { WebSocketMethods } from './application.js';
import type { WSSocketMiddleware } from './handlers.js';
import type { PerMessageDeflateOptions, WebSocketPluginOptions, WSMessageRate } from './options.js';
import type { WSVerifyClient } from './refusal.js';
import type { WSSocketData } from './socket.js';

/**
 * What {@link WebSocketMethods.ws} can be told of a route. Every option takes the place of the plugin's
 * for the connections of this route, and `undefined` means the plugin's. They are checked when the route
 * is added, as {@link WebSocketPluginOptions} are by the constructor.
 *
 * @typeParam Data The type of the `data` of its connections, as its middleware sees it.
 */
export interface WSRouteOptions<Data extends object = WSSocketData> {
  /** As {@link WebSocketPluginOptions.heartbeatMs}; `0` turns the heartbeat off on this route. */
  heartbeatMs?: number | undefined;

  /**
   * Most connections of this route at the same time, those still being verified included. They count
   * against {@link WebSocketPluginOptions.maxConnections} as well, which is the limit of all routes
   * together. One more is answered by HTTP 503.
   *
   * @default Infinity
   */
  maxConnections?: number | undefined;

  /** As {@link WebSocketPluginOptions.maxMessageSize}. */
  maxMessageSize?: number | undefined;

  /** As {@link WebSocketPluginOptions.messageRate}, in its place as a whole. */
  messageRate?: WSMessageRate | undefined;

  /** As {@link WebSocketPluginOptions.allowOrigins}; an empty list accepts every origin. */
  allowOrigins?: (string | RegExp)[] | undefined;

  /** As {@link WebSocketPluginOptions.verifyClient}, which is not called on this route then. */
  verifyClient?: WSVerifyClient | undefined;

  /** As {@link WebSocketPluginOptions.protocols}. */
  protocols?: string[] | ((offered: string[], req: IncomingMessage) => string | false) | undefined;

  /** As {@link WebSocketPluginOptions.perMessageDeflate}; nothing is taken over from the plugin's. */
  perMessageDeflate?: boolean | PerMessageDeflateOptions | undefined;

  /**
   * Middleware of this route, in order. It runs after that of {@link WebSocketMethods.wsUse}, and before
   * the handler.
   *
   * @default []
   */
  use?: readonly WSSocketMiddleware<Data>[] | undefined;
}
