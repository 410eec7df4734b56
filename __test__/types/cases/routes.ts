import type { IncomingMessage } from 'node:http';
import {
  type WebSocketApplication,
  WebSocketPlugin,
  type WebSocketPluginConstructorOptions,
  type WSHandler,
  type WSMiddleware,
  type WSParams,
  type WSRefusal,
  type WSRouteOptions,
  type WSSocket,
  type WSVerifyClient,
} from '../../../index.js';
import type { Same } from '../fixtures/same.js';

declare const wsApp: WebSocketApplication;
declare const handler: WSHandler;
declare const middleware: WSMiddleware;

// All of them at once, and none.
wsApp.ws(
  '/own',
  {
    heartbeatMs: 0,
    maxConnections: Infinity,
    maxMessageSize: 64 * 1024,
    allowOrigins: [/^https:\/\/.*\.example\.com$/i, 'http://localhost:*'],
    verifyClient: (req) => {
      const same: Same<typeof req, IncomingMessage> = true;
      return same;
    },
    protocols: ['chat.v2', 'chat.v1'],
    perMessageDeflate: { threshold: 512 },
    use: [middleware, (socket, req, next) => next(socket.id + req.url)],
  },
  handler,
);
wsApp.ws('/own', {}, handler);
wsApp.ws('/own', undefined, handler);
wsApp.ws('/own', { heartbeatMs: undefined, verifyClient: undefined, use: undefined }, handler);

// What is written in place gets all of a connection, and what the path names.
wsApp.ws('/rooms/:room', { maxMessageSize: 1 }, (socket, req) => {
  const same: Same<
    [typeof socket, typeof req],
    [WSSocket<WSParams<'/rooms/:room'>>, IncomingMessage]
  > = true;
  socket.join(socket.params.room);
  return void same;
});
wsApp.ws<{ user: string }>(
  '/own',
  {
    use: [
      (socket, _req, next) => {
        socket.data.user = 'ada';
        next();
      },
    ],
  },
  (socket) => void socket.data.user.length,
);

// @ts-expect-error no option of a route
wsApp.ws('/own', { path: '/other' }, handler);
// @ts-expect-error middleware belongs into an option
wsApp.ws('/own', middleware, handler);
// @ts-expect-error a list of them
wsApp.ws('/own', { use: middleware }, handler);
// @ts-expect-error a route has a handler
wsApp.ws('/own', {});

// What verifyClient refuses with.
const refusals: WSRefusal[] = [
  { status: 401, headers: { 'WWW-Authenticate': 'Basic', 'Set-Cookie': ['a', 'b'] } },
  { status: 429, headers: { 'Retry-After': 30, 'X-None': undefined }, body: undefined },
  { status: 403, headers: [['X', 'a']], body: { code: 1 } },
  { status: 403, headers: new Map([['X', 'a']]), body: Buffer.from('no') },
  { status: 403, headers: new Headers(), body: 'no' },
  new Response('no', { status: 403 }),
];
new WebSocketPlugin({
  path: '/own',
  verifyClient: async (req) => req.url === '/' || { status: 404, body: 'no' },
});
new WebSocketPlugin({ verifyClient: () => new Response('no', { status: 403 }) });
const verifyClient: WSVerifyClient = () => ({ status: 403 });
const refusing: WebSocketPluginConstructorOptions = { verifyClient, debug: true };
new WebSocketPlugin(refusing);
new WebSocketPlugin({
  // @ts-expect-error neither a verdict nor a refusal
  verifyClient: () => ({ headers: {} }),
});

const options: WSRouteOptions = {
  verifyClient: async (req) => req.url === '/' || { status: 404, body: 'no' },
};
void options;
void refusals;
// @ts-expect-error a refusal has a status
const noStatus: WSRefusal = { headers: {} };
void noStatus;
