// The package by its name, from an ES module.
import type {
  Application,
  Context,
  ContextRequest,
  ContextResponse,
  HostApplication,
  PerMessageDeflateOptions,
  WebSocketApplication,
  WebSocketMethods,
  WebSocketPluginOptions,
  WSConnection,
  WSContext,
  WSHandler,
  WSMiddleware,
  WSRejectReason,
  WSRoomManager,
  WSStats,
} from 'nextrush-websocket';
import { hasWebSocketSupport, WebSocketPlugin, withWebSocket } from 'nextrush-websocket';

const options: WebSocketPluginOptions = { path: '/ws' };
const plugin: WebSocketPlugin = new WebSocketPlugin(options);
const stats: WSStats = plugin.getStats();

export function setUp(app: Application): WebSocketApplication {
  plugin.install(app);
  if (!hasWebSocketSupport(app)) throw new Error('not installed');
  return withWebSocket(app);
}

// @ts-expect-error parts that no signature shows stay inside
export type { HttpHandler } from 'nextrush-websocket';
export type {
  Context,
  ContextRequest,
  ContextResponse,
  HostApplication,
  PerMessageDeflateOptions,
  WebSocketMethods,
  WSConnection,
  WSContext,
  WSHandler,
  WSMiddleware,
  WSRejectReason,
  WSRoomManager,
};
export { stats };
