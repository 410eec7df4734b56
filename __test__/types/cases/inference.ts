/** What functions that are written in place are given, and that all others fit still. */

import type { IncomingMessage } from 'node:http';
import {
  type WebSocketMethods,
  WebSocketPlugin,
  type WSConnection,
  type WSHandler,
  type WSMiddleware,
  type WSParams,
  type WSSocket,
  type WSSocketHandler,
  type WSSocketMiddleware,
} from '../../../index.js';
import type { Same } from '../fixtures/same.js';

interface User {
  name: string;
}

declare const wsApp: WebSocketMethods;
declare const path: string;
declare const either: '/chat/:room' | '/users/:user';
declare const template: `/${string}/:room`;

// The names in a path.
const names: Same<
  [
    WSParams<'/chat'>,
    WSParams<'/chat/:room'>,
    WSParams<'/chat/:room/'>,
    WSParams<'/:a/b/:c_1/*'>,
    WSParams<'/files/*'>,
    WSParams<'*'>,
    WSParams<string>,
    WSParams<typeof template>,
  ],
  [
    Record<never, string>,
    { room: string },
    { room: string },
    { a: string; c_1: string; '*': string },
    { '*': string },
    { '*': string },
    Record<string, string>,
    Record<string, string>,
  ]
> = true;

// A handler that is written in place gets them, whatever it returns.
wsApp.ws('/chat/:room', (socket) => socket.params.room);
wsApp.ws('/chat/:room', (socket, req) => {
  const same: Same<
    [typeof socket.params, typeof socket.data, typeof req],
    // biome-ignore lint/suspicious/noExplicitAny: nothing is known of it
    [{ room: string }, Record<string, any>, IncomingMessage]
  > = true;
  void same;
});
wsApp.ws('/chat/:room', async (socket) => {
  for await (const message of socket) {
    const same: Same<typeof message, string | Buffer> = true;
    void same;
  }
});
wsApp.ws('/echo', (socket) => socket.onMessage((data) => socket.send(data)));
wsApp.ws('/welcome', (socket) => socket.send('welcome'));
wsApp.ws('/none', () => {});
wsApp.ws(path, (socket) => {
  const same: Same<typeof socket.params, Record<string, string>> = true;
  void same;
});
wsApp.ws(either, (socket) => {
  if ('room' in socket.params) socket.join(socket.params.room);
});
// @ts-expect-error the path does not name it
wsApp.ws('/chat/:room', (socket) => socket.params.user);
// @ts-expect-error the path names nothing
wsApp.ws('/chat', (socket) => socket.params.room);

// Data of a type that the route tells, the path once more if its names are wanted as well.
wsApp.ws<{ user: User }>('/chat/:room', (socket) => {
  const same: Same<
    [typeof socket.params, typeof socket.data],
    [Record<string, string>, { user: User }]
  > = true;
  socket.data.user = { name: 'ada' };
  void same;
});
wsApp.ws<User>(path, (socket) => socket.data.name);
wsApp.ws<{ user: User }, '/chat/:room'>('/chat/:room', (socket) => {
  socket.join(`${socket.params.room} ${socket.data.user.name}`);
});
// @ts-expect-error there is no such data
wsApp.ws<{ user: User }>('/chat', (socket) => socket.data.users);

// Functions that have types of their own, the documented ones and richer ones.
declare const documented: WSHandler;
declare const withRequest: (socket: WSConnection, req: IncomingMessage) => Promise<void>;
declare const any: WSSocketHandler;
declare const ofRoom: WSSocketHandler<{ room: string }>;
declare const ofUser: (socket: WSSocket<Record<string, string>, User>) => void;
wsApp.ws('/chat/:room', documented).ws(path, documented).ws('/chat', documented);
wsApp.ws('/chat/:room', withRequest).ws(path, withRequest);
wsApp.ws('/chat/:room', (socket: WSConnection) => socket.join('room'));
wsApp.ws('/chat/:room', (socket: WSConnection, _req: IncomingMessage) => socket.join('room'));
wsApp.ws('/chat/:room', any).ws('/chat', any).ws(path, any);
wsApp.ws('/chat/:room', ofRoom).ws('/chat/:room', ofUser).ws(path, ofUser);
// @ts-expect-error the path does not name it
wsApp.ws('/chat', ofRoom);
// @ts-expect-error nobody knows whether it does
wsApp.ws(path, ofRoom);

// Middleware.
declare const documentedMiddleware: WSMiddleware;
declare const login: WSSocketMiddleware<User>;
wsApp.wsUse(documentedMiddleware).wsUse(login);
wsApp.wsUse((socket, req, next) => {
  const same: Same<
    [typeof socket, typeof req, typeof next],
    [WSSocket, IncomingMessage, (error?: unknown) => void]
  > = true;
  socket.data.user = 'ada';
  return same && next();
});
wsApp.wsUse<{ user: User }>((socket, _req, next) => {
  socket.data.user = { name: 'ada' };
  // @ts-expect-error a user has a name
  socket.data.user = {};
  next();
});
wsApp.wsUse(async (socket: WSConnection, _req: IncomingMessage, next: () => void) => {
  socket.join('room');
  next();
});

// Whoever wraps them sees the documented signatures.
const seen: Same<
  [Parameters<WebSocketMethods['ws']>, Parameters<WebSocketMethods['wsUse']>],
  [[path: string, handler: WSHandler], [middleware: WSMiddleware]]
> = true;

// Data of a type that the plugin tells.
const plugin = new WebSocketPlugin<{ user: User }>({ path: '/ws' });
plugin
  .on('connection', (socket) => socket.data.user.name)
  .on('close', (socket, code) => socket.data.user.name.padEnd(code))
  .on('error', async (_error, socket) => {
    await Promise.resolve(socket?.data.user.name);
  });
plugin
  .attach({} as import('node:http').Server)
  .wsUse((socket, _req, next) => {
    socket.data.user = { name: 'ada' };
    next();
  })
  .ws('/chat/:room', (socket) => socket.join(socket.params.room + socket.data.user.name))
  .ws<{ admin: User }>('/admin', (socket) => socket.data.admin.name)
  .ws('/chat', documented);
const anyPlugin: WebSocketPlugin = plugin;

// A connection of any kind is what the reference calls one.
const connections: WSConnection[] = [
  {} as WSSocket,
  {} as WSSocket<{ room: string }>,
  {} as WSSocket<{ room: string }, User>,
];
const sockets: WSSocket[] = [
  {} as WSSocket<{ room: string }>,
  {} as WSSocket<Record<never, string>, User>,
];

export { anyPlugin, connections, names, seen, sockets };
