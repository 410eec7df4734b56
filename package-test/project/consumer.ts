/** What applications write with the types, under every check that a compiler has. */
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:http';
import type {
  HostApplication,
  WebSocketPluginOptions,
  WSClusterAdapter,
  WSConnection,
  WSHandler,
  WSMiddleware,
} from 'nextrush-websocket';
import { hasWebSocketSupport, WebSocketPlugin, withWebSocket } from 'nextrush-websocket';
import { clusterContract } from 'nextrush-websocket/cluster-contract';
import { natsAdapter } from 'nextrush-websocket/cluster-nats';
import { workersAdapter } from 'nextrush-websocket/cluster-workers';

interface User {
  name: string;
}

const options: WebSocketPluginOptions = {
  path: ['/chat', '/rooms/*'],
  allowOrigins: ['https://example.com', /\.example\.com$/],
  verifyClient: async (req: IncomingMessage) => req.headers.authorization !== undefined,
  perMessageDeflate: { threshold: 1024 },
};

const handler: WSHandler = (socket: WSConnection) => {
  const user: User = { name: socket.url };
  socket.join('lobby');
  socket.onMessage((data: string | Buffer) => socket.send(`${user.name}: ${data.toString()}`));
  socket.onClose((code: number, reason: string) => console.log(code, reason));
};

const middleware: WSMiddleware = (socket, req, next) => {
  if (req.headers.cookie) next();
  else socket.close(1008, 'no cookie');
};

export function serve(app: HostApplication): number {
  const plugin = new WebSocketPlugin(options);
  plugin.install(app);
  withWebSocket(app).wsUse(middleware).ws('/chat', handler);
  plugin.on('error', (error: Error, socket?: WSConnection) => console.error(error, socket?.id));
  const bare = new WebSocketPlugin();
  bare.attach(createServer()).ws('/echo', handler);
  return hasWebSocketSupport(app) ? plugin.getStats().rooms.length : 0;
}

export const adapter = (): WSClusterAdapter => workersAdapter();
export { clusterContract, natsAdapter };
