/** Without NextRush: the package's own types of it, none of which is `any`. */

import type {
  Application,
  Context,
  ContextRequest,
  ContextResponse,
  WebSocketApplication,
  WSContext,
  WSHandler,
  WSSocket,
} from 'nextrush-websocket';
import { hasWebSocketSupport, WebSocketPlugin, withWebSocket } from 'nextrush-websocket';
import type { Application as ExampleHost } from '../../../examples/host/index.js';

type IsAny<T> = 0 extends 1 & T ? true : false;
const known: [
  IsAny<Application>,
  IsAny<Context>,
  IsAny<ContextRequest>,
  IsAny<ContextResponse>,
  IsAny<WebSocketApplication>,
] = [false, false, false, false, false];

declare const app: Application;
new WebSocketPlugin().install(app);

const wsApp: WebSocketApplication = withWebSocket(app);
wsApp
  .ws('/chat/:room', (socket) => socket.params.room)
  .wsUse((_socket, _req, next) => next())
  .on('plugin:WebSocketPlugin:connection', (socket: WSSocket) => socket.ping())
  .get('/', (ctx) => {
    ctx.res.status(200).json({ path: ctx.path });
  })
  .listen(3000);
const applications: Application[] = [wsApp, {} as ExampleHost];
const ws: (path: string, handler: WSHandler) => Application = wsApp.ws;
app.use(async (ctx, next) => {
  (ctx as WSContext).wsRooms.broadcast('room', ctx.path);
  await next();
});
// @ts-expect-error no such member
app.router();
// @ts-expect-error no such member
wsApp.missing;
// @ts-expect-error not installed
app.ws('/chat', () => {});
if (hasWebSocketSupport(app)) app.ws('/chat', (socket) => socket.ping()).get('/', () => {});

export { applications, known, ws };
