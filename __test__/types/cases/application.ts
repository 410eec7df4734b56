import type { IncomingMessage } from 'node:http';
import type {
  Application,
  WebSocketApplication,
  WSConnection,
  WSHandler,
  WSMiddleware,
  WSParams,
  WSSocket,
} from '../../../index.js';
import type { Same } from '../fixtures/same.js';

declare const wsApp: WebSocketApplication;

// The documented types.
const handlerType: Same<WSHandler, (socket: WSConnection) => void | Promise<void>> = true;
const middlewareType: Same<
  WSMiddleware,
  (socket: WSConnection, req: IncomingMessage, next: () => void) => void | Promise<void>
> = true;

// The documented signatures, as values.
const ws: (path: string, handler: WSHandler) => Application = wsApp.ws;
const wsUse: (middleware: WSMiddleware) => Application = wsApp.wsUse;
const wsBroadcast: (message: string, room?: string) => Application = wsApp.wsBroadcast;

// ws
declare const handler: WSHandler;
wsApp.ws('/chat', handler);
wsApp.ws('/chat', () => {});
wsApp.ws('/chat', (socket) => {
  const same: Same<typeof socket, WSSocket<WSParams<'/chat'>>> = true;
  void same;
});
wsApp.ws('/chat', (socket, req) => {
  const same: Same<[typeof socket, typeof req], [WSSocket<WSParams<'/chat'>>, IncomingMessage]> =
    true;
  void same;
});
wsApp.ws('/chat', async (socket, req) => {
  await Promise.resolve();
  socket.send(req.headers.host ?? '');
});
// @ts-expect-error not a pattern object
wsApp.ws(/chat/, handler);
// @ts-expect-error a route has a handler
wsApp.ws('/chat');
// @ts-expect-error there is no third argument
wsApp.ws('/chat', (_socket: WSConnection, _req: IncomingMessage, _next: () => void) => {});
// @ts-expect-error a handler on its own takes the socket only
const twoArguments: WSHandler = (_socket, _req) => {};

// wsUse
wsApp.wsUse((socket, req, next) => {
  const same: Same<
    [typeof socket, typeof req, typeof next],
    [WSSocket, IncomingMessage, (error?: unknown) => void]
  > = true;
  void same;
  next();
});
wsApp.wsUse(async (_socket, _req, next) => {
  await Promise.resolve();
  next();
});
// @ts-expect-error applies to all paths
wsApp.wsUse('/chat', (_socket: WSConnection, _req: IncomingMessage, next: () => void) => next());
wsApp.wsUse((_socket, _req, next) => {
  if (Math.random() < 0.5) next(new Error('no'));
  else Promise.resolve(true).then(next, next);
});
const documentedMiddleware: WSMiddleware = (_socket, _req, next) => {
  // @ts-expect-error `next` of the documented type takes no error
  next(new Error('no'));
};
wsApp.wsUse(documentedMiddleware);

// wsBroadcast
wsApp.wsBroadcast('text');
wsApp.wsBroadcast('text', 'room');
wsApp.wsBroadcast('text', undefined);
// @ts-expect-error an object is not serialised
wsApp.wsBroadcast({ type: 'chat' });
// @ts-expect-error one room at a time
wsApp.wsBroadcast('text', ['a', 'b']);

// Everything is chainable, across the plugin's methods and the application's own.
wsApp
  .ws('/a', handler)
  .wsUse((_socket, _req, next) => next())
  .wsBroadcast('text')
  .get('/', (ctx) => {
    ctx.res.status(200).json({ path: ctx.path });
  })
  .listen(3000, () => {});

// An application without the plugin has none of them.
declare const app: Application;
// @ts-expect-error not installed
app.ws('/chat', handler);
// @ts-expect-error not installed
app.wsBroadcast('text');
// @ts-expect-error not installed
const installed: WebSocketApplication = app;

export { handlerType, installed, middlewareType, twoArguments, ws, wsBroadcast, wsUse };
