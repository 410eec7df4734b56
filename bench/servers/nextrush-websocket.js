/**
 * The addon on the small NextRush-shaped host of the examples, used as its own documentation does.
 * NEXTRUSH_WEBSOCKET_ROOT names another checkout to take both from.
 */
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { announce, createCommander, httpAnswers, ROOM } from './shared.js';

const root =
  process.env.NEXTRUSH_WEBSOCKET_ROOT ?? fileURLToPath(new URL('../..', import.meta.url));
const { WebSocketPlugin, withWebSocket } = createRequire(import.meta.url)(root);
const { createApp } = await import(pathToFileURL(path.join(root, 'examples/host/index.js')).href);

const app = createApp();
const plugin = new WebSocketPlugin({
  path: ['/echo', '/room', '/room-command'],
  maxConnections: Infinity,
  heartbeatMs: 30_000,
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

for (const [route, answer] of Object.entries(httpAnswers)) {
  app.get(route, (ctx) => {
    const body = answer();
    if (typeof body === 'string') ctx.res.send(body);
    else ctx.res.json(body);
  });
}

const server = app.listen(0, '127.0.0.1');
if (!server.listening) await new Promise((resolve) => server.once('listening', resolve));
announce(server.address().port);
