/** Socket.IO 4 on `node:http`, over WebSocket only; the paths of the others are namespaces. */
import http from 'node:http';
import https from 'node:https';
import process from 'node:process';
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
if (settings.broker) io.adapter(await joinedBy(settings.broker));

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

/** What joins this server to others, as the documentation of Socket.IO has it. */
async function joinedBy({ url, adapter }) {
  const { createAdapter, createShardedAdapter } = await import('@socket.io/redis-adapter');
  const { createClient } = await import('redis');
  const publisher = createClient({ url });
  const subscriber = publisher.duplicate();
  for (const client of [publisher, subscriber]) {
    client.on('error', (error) => process.stderr.write(`${error.stack}\n`));
    await client.connect();
  }
  const create = adapter === 'sharded' ? createShardedAdapter : createAdapter;
  return create(publisher, subscriber);
}
