/**
 * The addon on the small NextRush-shaped host of the examples, used as its own documentation does.
 * NEXTRUSH_WEBSOCKET_ROOT names another checkout to take both from.
 */
import https from 'node:https';
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createProbe } from './probe.js';
import { announce, createCommander, httpAnswers, KEEP_ALIVE, ROOM, settings } from './shared.js';

const root =
  process.env.NEXTRUSH_WEBSOCKET_ROOT ?? fileURLToPath(new URL('../..', import.meta.url));
const { WebSocketPlugin, withWebSocket } = createRequire(import.meta.url)(root);
const { createApp } = await import(pathToFileURL(path.join(root, 'examples/host/index.js')).href);

const app = createApp();
const server = settings.tls ? encrypt(app, settings.tls) : app.getServer();
server.keepAliveTimeout = KEEP_ALIVE;
const plugin = new WebSocketPlugin({
  path: ['/echo', '/room', '/room-command'],
  maxConnections: Infinity,
  maxRoomsPerConnection: Infinity,
  ...settings.options,
});
plugin.install(app);
const wsApp = withWebSocket(app);

wsApp.ws('/echo', (socket) => {
  socket.onMessage((data) => socket.send(data));
});

wsApp.ws('/room', (socket) => {
  socket.join(ROOM);
});

const command = createCommander((message) => wsApp.wsBroadcast(message, ROOM));
wsApp.ws('/room-command', (socket) => {
  socket.onMessage(command);
});

const probe = createProbe();
wsApp.ws('/probe', probe.onConnection);
app.get('/join-leave/:others', (ctx) => ctx.res.json(probe.measure(Number(ctx.params.others))));

for (const [route, answer] of Object.entries(httpAnswers)) {
  app.get(route, async (ctx) => {
    const body = await answer();
    if (typeof body === 'string') ctx.res.send(body);
    else ctx.res.json(body);
  });
}

server.listen(0, '127.0.0.1', () => announce(server.address().port));

/**
 * Puts the application behind a server that speaks TLS; the host makes one without.
 * @param {{ getServer: () => import('node:http').Server }} application
 * @param {{ cert: string, key: string }} certificate
 */
function encrypt(application, certificate) {
  const plain = application.getServer();
  const encrypted = https.createServer(certificate, (request, response) =>
    plain.emit('request', request, response),
  );
  application.getServer = () => encrypted;
  return encrypted;
}
