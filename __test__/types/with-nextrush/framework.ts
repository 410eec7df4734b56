/** With NextRush installed: its own types everywhere, and nothing has to be cast. */

import { type Application, type Context, createApp } from 'nextrush';
import type * as ours from 'nextrush-websocket';
import {
  hasWebSocketSupport,
  type WebSocketApplication,
  WebSocketPlugin,
  type WSConnection,
  type WSContext,
  type WSHandler,
  type WSMiddleware,
  type WSSocket,
  withWebSocket,
} from 'nextrush-websocket';

type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

const app = createApp();
new WebSocketPlugin().install(app);

// What is exported by the same names is the framework's.
const types: Same<[ours.Application, ours.Context], [Application, Context]> = true;
const request: Same<[ours.ContextRequest, ours.ContextResponse], [Context['req'], Context['res']]> =
  true;

// The application has all that the framework's has.
const wsApp: WebSocketApplication = withWebSocket(app);
wsApp.use(wsApp.json());
wsApp.use(
  '/users',
  wsApp.router().get('/:id', (ctx) => ctx.json(ctx.params)),
);
wsApp.ws('/chat', (socket) => socket.send('welcome')).get('/', (ctx) => ctx.json(ctx.searchParams));
const application: Application = wsApp;
const returned: Same<ReturnType<typeof withWebSocket>, WebSocketApplication> = true;
const taken: Same<Parameters<typeof withWebSocket>, [app: Application]> = true;
const casts: ((app: Application) => WebSocketApplication)[] = [withWebSocket];
const guards: ((app: Application) => app is WebSocketApplication)[] = [hasWebSocketSupport];
const exact: Same<typeof wsApp, WebSocketApplication> = true;
const inferred = withWebSocket(createApp());
const alike: Same<typeof inferred, WebSocketApplication> = true;

// The documented signatures, with the framework's application.
const ws: (path: string, handler: WSHandler) => Application = wsApp.ws;
const wsUse: (middleware: WSMiddleware) => Application = wsApp.wsUse;
const wsBroadcast: (message: string, room?: string) => Application = wsApp.wsBroadcast;
const parameters: Same<Parameters<typeof wsApp.ws>, [path: string, handler: WSHandler]> = true;

// Handlers that were written against the framework's own types.
const handler: NonNullable<Application['ws']> extends (path: string, handler: infer H) => unknown
  ? H
  : never = (socket, req) => socket.send(req.url ?? '');
wsApp.ws('/chat/:room', handler);

// The context is the framework's, and a little more.
const context: Context = {} as WSContext;
app.use(async (ctx, next) => {
  const { isWebSocket, ws, wsRooms } = ctx as WSContext;
  const same: Same<typeof ws, WSSocket | undefined> = true;
  if (isWebSocket && same) ws?.send((ctx as WSContext).href);
  wsRooms.broadcast('room', ctx.path);
  await next();
});

if (hasWebSocketSupport(app)) {
  app.ws('/chat', (socket) => socket.broadcast('room', 'text')).get('/', () => {});
  const narrowed: WebSocketApplication = app;
  void narrowed;
} else {
  app.router();
}

// The plugin's events, as the application tells them.
wsApp
  .on('plugin:WebSocketPlugin:connection', (socket, req) => socket.send(req.url ?? ''))
  .on('plugin:WebSocketPlugin:close', async (socket, code, reason) => {
    const same: Same<[typeof socket, typeof code, typeof reason], [WSSocket, number, string]> =
      true;
    await Promise.resolve(same);
  })
  .once('plugin:WebSocketPlugin:room:created', (room) => room.trim());
// @ts-expect-error no such event
wsApp.on('plugin:WebSocketPlugin:message', () => {});

// Data of a type of its own, everywhere.
const typed: WebSocketApplication<{ name: string }> = withWebSocket<{ name: string }>(app);
typed
  .ws('/chat/:room', (socket) => socket.join(socket.params.room + socket.data.name))
  .on('plugin:WebSocketPlugin:close', (socket) => socket.data.name.trim());

// The reference, word by word.
wsApp.ws('/echo', (socket: WSConnection) => {
  socket.onMessage((data: string | Buffer) => {
    socket.send(`Echo: ${data}`);
  });
});

export {
  alike,
  application,
  casts,
  context,
  exact,
  guards,
  parameters,
  request,
  returned,
  taken,
  types,
  ws,
  wsBroadcast,
  wsUse,
};
