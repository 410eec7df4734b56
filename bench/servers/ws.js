/** The `ws` package on `node:http` or `node:https`, used as its own documentation does. */
import http from 'node:http';
import https from 'node:https';
import { WebSocket, WebSocketServer } from 'ws';
import { announce, createCommander, KEEP_ALIVE, onRequest, settings } from './shared.js';

const server = settings.tls
  ? https.createServer(settings.tls, onRequest)
  : http.createServer(onRequest);
server.keepAliveTimeout = KEEP_ALIVE;
const wss = new WebSocketServer({ server, perMessageDeflate: false, ...settings.options });

/** @type {Set<WebSocket>} */
const room = new Set();

const command = createCommander((message) => {
  for (const client of room) {
    if (client.readyState === WebSocket.OPEN) client.send(message);
  }
});

/** @type {Record<string, (socket: WebSocket) => void>} */
const routes = {
  '/echo': (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  },
  '/room': (socket) => {
    room.add(socket);
    socket.on('close', () => room.delete(socket));
  },
  '/room-command': (socket) => {
    socket.on('message', (data) => command(data.toString()));
  },
};

wss.on('connection', (socket, request) => {
  socket.on('error', () => {});
  const route = routes[request.url ?? ''];
  if (route) route(socket);
  else socket.close(1008, 'no such path');
});

server.listen(0, '127.0.0.1', () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  announce(port);
});
