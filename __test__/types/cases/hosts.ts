import type { Server } from 'node:http';
import {
  type Application,
  hasWebSocketSupport,
  type WebSocketApplication,
  WebSocketPlugin,
  type WSParams,
  type WSSocket,
  withWebSocket,
} from '../../../index.js';
import { createApp, NextRushApplication, type WSHandler } from '../fixtures/nextrush-shape.js';
import type { Same } from '../fixtures/same.js';

const app = createApp();
const appClass = new NextRushApplication();

// The framework's interface and its class are applications, without a cast.
const applications: Application[] = [app, appClass];
new WebSocketPlugin().install(app);
new WebSocketPlugin().install(appClass);
const wsApps: WebSocketApplication[] = [withWebSocket(app), withWebSocket(appClass)];

// They keep what they had, and the plugin's methods win over the framework's own types of them.
withWebSocket(app)
  .ws('/chat', (socket, req) => {
    const same: Same<typeof socket, WSSocket<WSParams<'/chat'>>> = true;
    socket.broadcast('room', req.url ?? '');
    void same;
  })
  .wsUse((socket, _req, next) => {
    socket.ping();
    next();
  })
  .wsBroadcast('text')
  .router()
  .get('/', () => {});
withWebSocket(appClass)
  .ws('/chat', (socket) => socket.markAlive())
  .emit('event');
withWebSocket(app).use(async (ctx, next) => {
  ctx.href.trim();
  await next();
});
withWebSocket(app).post('/orders', (ctx) => {
  ctx.json(ctx.body);
});

// A handler that was written against the framework's types is still one.
declare const frameworkHandler: WSHandler;
withWebSocket(app).ws('/chat', frameworkHandler);

// Before the check they have no `ws` to be called.
// @ts-expect-error optional in the framework's interface
app.ws('/chat', () => {});
// @ts-expect-error not declared by its class
appClass.ws('/chat', () => {});

if (hasWebSocketSupport(app)) {
  app.ws('/chat', (socket) => socket.broadcast('room', 'text')).router();
  const narrowed: WebSocketApplication = app;
  void narrowed;
} else {
  app.router();
}
if (hasWebSocketSupport(appClass)) {
  appClass.ws('/chat', (socket) => socket.broadcast('room', 'text')).emit('event');
}
for (const application of applications) {
  if (hasWebSocketSupport(application)) application.ws('/chat', (socket) => socket.ping());
}

// Any value may be asked.
declare const anything: unknown;
if (hasWebSocketSupport(anything)) anything.wsBroadcast('text');
// @ts-expect-error not without the check
anything.wsBroadcast('text');

// The smallest host: `use` of whatever kind, and its server somewhere.
const express = {
  server: {} as Server,
  use(_middleware: (req: object, res: object, next: () => void) => void) {
    return express;
  },
};
new WebSocketPlugin().install(express);
withWebSocket(express).ws('/chat', (socket, req) => socket.broadcast('room', req.url ?? '')).server;
// @ts-expect-error the smallest host has no routes
const whole: WebSocketApplication = withWebSocket(express);
// @ts-expect-error not an application
withWebSocket({ server: {} as Server });

export { whole, wsApps };
