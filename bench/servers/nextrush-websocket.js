/**
 * The addon on the small NextRush-shaped host of the examples, used as its own documentation does.
 * NEXTRUSH_WEBSOCKET_ROOT names another checkout to take both from. With TLS it encrypts on its I/O
 * threads, or is behind an `https.Server` where that is asked for.
 */
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createProbe } from './probe.js';
import {
  announce,
  createCommander,
  httpAnswers,
  KEEP_ALIVE,
  onRequest,
  ROOM,
  settings,
} from './shared.js';

const root =
  process.env.NEXTRUSH_WEBSOCKET_ROOT ?? fileURLToPath(new URL('../..', import.meta.url));
const { WebSocketPlugin, withWebSocket } = createRequire(import.meta.url)(root);
const { createApp } = await import(pathToFileURL(path.join(root, 'examples/host/index.js')).href);

const plugin = new WebSocketPlugin({
  path: ['/echo', '/room', '/room-command'],
  maxConnections: Infinity,
  maxRoomsPerConnection: Infinity,
  ...(settings.tls && !settings.behindHttps ? { tls: settings.tls } : {}),
  ...(settings.broker ? { cluster: { url: settings.broker.url } } : {}),
  ...settings.options,
});
const { server, sockets } = settings.bareHttp ? attach() : install();
server.keepAliveTimeout = KEEP_ALIVE;

sockets.ws('/echo', (socket) => {
  socket.onMessage((data) => socket.send(data));
});

sockets.ws('/room', (socket) => {
  socket.join(ROOM);
});

const command = createCommander((message) => sockets.wsBroadcast(message, ROOM));
sockets.ws('/room-command', (socket) => {
  socket.onMessage(command);
});

server.listen(0, '127.0.0.1', () => announce(server.address().port));

/** The plugin as most use it: on an application. */
function install() {
  const app = createApp();
  const plain = app.getServer();
  if (settings.behindHttps && settings.tls) {
    // The host makes no server with TLS itself.
    const encrypted = https.createServer(settings.tls, (request, response) =>
      plain.emit('request', request, response),
    );
    app.getServer = () => encrypted;
  }
  plugin.install(app);
  const sockets = withWebSocket(app);

  const probe = createProbe();
  sockets.ws('/probe', probe.onConnection);
  app.get('/join-leave/:others', (ctx) => ctx.res.json(probe.measure(Number(ctx.params.others))));

  for (const [route, answer] of Object.entries(httpAnswers)) {
    app.get(route, async (ctx) => {
      const body = await answer();
      if (typeof body === 'string') ctx.res.send(body);
      else ctx.res.json(body);
    });
  }
  return { server: app.getServer(), sockets };
}

/** The plugin on a server that answers HTTP requests by itself, as those of other peers do. */
function attach() {
  const server =
    settings.behindHttps && settings.tls
      ? https.createServer(settings.tls, onRequest)
      : http.createServer(onRequest);
  return { server, sockets: plugin.attach(server) };
}
