/** Socket.IO 4 on `node:http`, over WebSocket only; the paths of the others are namespaces. */
import http from 'node:http';
import https from 'node:https';
import { Server } from 'socket.io';
import { announce, createCommander, KEEP_ALIVE, onRequest, ROOM, settings } from './shared.js';

const server = settings.tls
  ? https.createServer(settings.tls, onRequest)
  : http.createServer(onRequest);
server.keepAliveTimeout = KEEP_ALIVE;
const io = new Server(server, {
  transports: ['websocket'],
  serveClient: false,
  ...settings.options,
});

io.of('/echo').on('connection', (socket) => {
  socket.on('m', (message) => socket.emit('m', message));
});

io.of('/room').on('connection', (socket) => socket.join(ROOM));

// Double quotes become single ones, so that the text needs no escapes in JSON: see `dialect.rs`.
const command = createCommander((message) =>
  io.of('/room').to(ROOM).emit('m', message.replaceAll('"', "'")),
);
io.of('/room-command').on('connection', (socket) => socket.on('m', command));

server.listen(0, '127.0.0.1', () => announce(server.address().port));
