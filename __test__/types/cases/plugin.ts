import type { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import {
  type WebSocketMethods,
  WebSocketPlugin,
  type WebSocketPluginOptions,
  type WSClusterStats,
  type WSConnection,
  type WSNumbers,
  type WSParams,
  type WSRejectReason,
  type WSRoomManager,
  type WSSocket,
  type WSStats,
} from '../../../index.js';
import type * as framework from '../fixtures/nextrush-shape.js';
import type { Same } from '../fixtures/same.js';

const plugin = new WebSocketPlugin();

// A plugin of the framework, and an EventEmitter.
const asPlugin: framework.Plugin = plugin;
const asEmitter: EventEmitter = plugin;
class Subclass extends WebSocketPlugin {}
new Subclass({ path: '/ws' }).install({} as framework.Application);

const made: Same<
  ConstructorParameters<typeof WebSocketPlugin>,
  [options?: WebSocketPluginOptions]
> = true;

// Life cycle.
const installed: boolean = plugin.isPluginInstalled();
const valid: boolean = plugin.validateConfig();
const healthy: Promise<boolean> = plugin.healthCheck();
const cleaned: Promise<void> = plugin.cleanup();
const started: void | Promise<void> = plugin.init?.();
const metadata: Same<
  Pick<ReturnType<WebSocketPlugin['getMetadata']>, 'name' | 'version' | 'description'>,
  { name: string; version: string; description: string }
> = true;
const status: Same<
  ReturnType<WebSocketPlugin['getStatus']>,
  {
    name: string;
    version: string;
    installed: boolean;
    shuttingDown: boolean;
    connections: number;
    cluster?: 'connecting' | 'up' | 'down' | 'closed';
  }
> = true;
const described: [string, string, string] = [plugin.name, plugin.version, plugin.description];
// @ts-expect-error cannot be renamed
plugin.name = 'other';
// @ts-expect-error nothing to install on
plugin.install();
// @ts-expect-error an application can `use` middleware
plugin.install({ listen() {} });
// @ts-expect-error an http.Server is no application
plugin.install({} as import('node:http').Server);

// What the plugin built into NextRush has.
const connections: WSConnection[] = plugin.getConnections();
const everyone: Same<ReturnType<WebSocketPlugin['getConnections']>, WSSocket[]> = true;
const documentedBroadcast: Same<
  WebSocketPlugin['broadcast'],
  (message: string, room?: string) => void
> = true;
plugin.broadcast('text');
plugin.broadcast('text', 'room');
// @ts-expect-error an object is not serialised
plugin.broadcast({ type: 'chat' });

// Servers without an application: what is returned has the methods, and they return it.
const sockets: WebSocketMethods = plugin.attach({} as import('node:http').Server);
plugin.attach({} as import('node:https').Server);
plugin.attach({} as import('node:http2').Http2SecureServer);
const chained: Same<typeof sockets, WebSocketMethods> = true;
sockets
  .ws('/chat', (socket, req) => {
    const same: Same<[typeof socket, typeof req], [WSSocket<WSParams<'/chat'>>, IncomingMessage]> =
      true;
    socket.send(req.url ?? '');
    return void same;
  })
  .wsUse((socket, _req, next) => {
    socket.join('room');
    next();
  })
  .wsBroadcast('text', 'room')
  .wsBroadcast('text');
// @ts-expect-error an application is no server
plugin.attach({} as framework.Application);
// @ts-expect-error speaks no HTTP
plugin.attach({} as import('node:net').Server);
// @ts-expect-error a port is no server
plugin.attach(3000);
// @ts-expect-error nothing to attach to
plugin.attach();

// Statistics.
const stats: Same<
  WSStats,
  {
    totalConnections: number;
    roomCount: number;
    rooms: string[];
    handlers: number;
    messagesReceived: number;
    messagesSent: number;
    bytesReceived: number;
    bytesSent: number;
    droppedMessages: number;
    rateLimited: { closed: number; dropped: number; paused: number };
    refusedProxyHeaders: number;
    bufferedAmount: number;
    backpressuredConnections: number;
    closingConnections: number;
    memory: { used: number; limit: number; shed: number };
    transports: { adopted: number; bridged: number };
    rejected: Record<WSRejectReason, number>;
    cluster?: WSClusterStats;
  }
> = true;
const returned: Same<ReturnType<WebSocketPlugin['getStats']>, WSStats> = true;
const asked = plugin.getStats({ rooms: false });
const numbers: Same<typeof asked, WSNumbers> = true;
const isWithout: Same<keyof WSStats, keyof WSNumbers | 'rooms'> = true;
const withRooms: WSStats[] = [plugin.getStats({}), plugin.getStats({ rooms: true })];
// @ts-expect-error they have been left out
plugin.getStats({ rooms: false }).rooms;
// @ts-expect-error there is no such option
plugin.getStats({ room: false });

// Who is where.
const rooms: Same<WebSocketPlugin['rooms'], WSRoomManager> = true;
const socketOfId: WSConnection | undefined = plugin.connections.get('id');
const connected: number = plugin.connections.size;
for (const socket of plugin.connections) socket.json({ rooms: socket.rooms });
const all: WSSocket[] = [...plugin.connections];
declare const ofUsers: WebSocketPlugin<{ user: string }>;
const users: string[] = ofUsers.rooms.members('room').map(({ data }) => data.user);
const user: string | undefined = ofUsers.connections.get('id')?.data.user;
// @ts-expect-error cannot be replaced
plugin.connections = new WebSocketPlugin().connections;
// @ts-expect-error cannot be set
plugin.connections.size = 0;
// @ts-expect-error may have ended
plugin.connections.get('id').send('hello');
// @ts-expect-error an id is a string
plugin.connections.get(5);
const reasons: Same<
  WSRejectReason,
  | 'method'
  | 'badRequest'
  | 'version'
  | 'path'
  | 'origin'
  | 'limit'
  | 'address'
  | 'unauthorized'
  | 'verifyError'
  | 'shuttingDown'
  | 'timeout'
  | 'application'
> = true;
plugin.getStats().rooms.length.toFixed();

// Other servers.
plugin.setClusterCredentials({ username: 'ada', password: 'secret' });
plugin.on('cluster:gap', ({ node, room, missed }) => {
  const same: Same<
    [typeof node, typeof room, typeof missed],
    [string, string | null, number | null]
  > = true;
  return same;
});
plugin.on('cluster:down', (reason) => reason.length).on('cluster:up', () => {});

// Events, with inference for inline listeners.
plugin
  .on('connection', (socket, req) => {
    const same: Same<[typeof socket, typeof req], [WSSocket, IncomingMessage]> = true;
    return same;
  })
  .once('close', (socket, code, reason) => {
    const same: Same<[typeof socket, typeof code, typeof reason], [WSSocket, number, string]> =
      true;
    return same;
  })
  .on('error', (error, socket) => {
    const same: Same<[typeof error, typeof socket], [Error, WSSocket | undefined]> = true;
    return same;
  })
  .on('room:created', (room) => room.trim())
  .off('room:destroyed', (room) => room.trim());
plugin.emit('room:created', 'room');
plugin.emit('error', new Error('on its own'));
// @ts-expect-error no such event
plugin.on('message', () => {});
// @ts-expect-error the socket comes first
plugin.on('close', (code: number) => code);
// @ts-expect-error without its arguments
plugin.emit('close');

export {
  all,
  asEmitter,
  asPlugin,
  chained,
  cleaned,
  connected,
  connections,
  described,
  documentedBroadcast,
  everyone,
  healthy,
  installed,
  isWithout,
  made,
  metadata,
  numbers,
  reasons,
  returned,
  rooms,
  socketOfId,
  started,
  stats,
  status,
  user,
  users,
  valid,
  withRooms,
};
