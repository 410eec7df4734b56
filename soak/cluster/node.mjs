/**
 * A node of the cluster, in a process of its own. Started by `../cluster.mjs` with its settings as JSON.
 *
 * What it says is written into its journal before it is broadcast, and so is what it is told of the
 * cluster: a line as JSON each, which outlives a SIGKILL. It leaves on SIGTERM as a server should:
 * clean-up, and then nothing keeps the process.
 */
import { once } from 'node:events';
import { openSync, writeSync } from 'node:fs';
import process from 'node:process';
import { createApp } from '../../examples/host/index.js';
import { WebSocketPlugin, withWebSocket } from '../../index.mjs';
import { compose, EVERYBODY, now, roomName, roomNumber } from './message.mjs';

/** @type {{ node: number, broker: string, journal: string }} */
const settings = JSON.parse(process.argv[2]);
const journal = openSync(settings.journal, 'a');

/** @param {string} what @param {object} details */
function note(what, details = {}) {
  writeSync(journal, `${JSON.stringify({ what, at: now(), ...details })}\n`);
}

const app = createApp();
const plugin = new WebSocketPlugin({
  path: '/member/:id',
  maxConnections: Infinity,
  cluster: { url: settings.broker },
});
plugin.install(app);
plugin.on('error', (error) => note('error', { error: String(error.stack) }));
plugin.on('cluster:up', () => note('up'));
plugin.on('cluster:down', (reason) => note('down', { reason }));
plugin.on('cluster:gap', ({ node, room, missed }) =>
  note('gap', { node, room: room === null ? null : roomNumber(room), missed }),
);

/** How many messages have been said, by room. */
const said = new Map();

/** Numbers a message, and has it broadcast. `except` is the member who does not get it. */
function say(room, broadcast, except) {
  const number = (said.get(room) ?? 0) + 1;
  said.set(room, number);
  note('say', { room, number, except });
  broadcast(compose(settings.node, room, number));
}

const wsApp = withWebSocket(app);
app.get('/say/:room', (ctx) => {
  const room = Number(ctx.params.room);
  say(room, (message) => ctx.wsRooms.broadcast(roomName(room), message));
  ctx.res.send('said');
});
app.get('/say-to-everybody', (ctx) => {
  say(EVERYBODY, (message) => wsApp.wsBroadcast(message));
  ctx.res.send('said');
});

/** What a member may ask for, with a room. */
const commands = {
  join(socket, room) {
    socket.join(roomName(room));
    socket.send(`= joined ${room}`);
  },
  leave(socket, room) {
    socket.leave(roomName(room));
    socket.send(`= left ${room}`);
  },
  say(socket, room, member) {
    say(room, (message) => socket.broadcast(roomName(room), message), member);
  },
};

wsApp.ws('/member/:id', (socket) => {
  const member = Number(socket.url.split('/').at(-1));
  socket.send(`= welcome ${settings.node}`);
  socket.onMessage((data) => {
    const [command, room] = data.toString().split(' ');
    commands[command](socket, Number(room), member);
  });
});

let leaving = false;
async function leave() {
  if (leaving) return;
  leaving = true;
  note('leaving');
  await plugin.cleanup();
  app.getServer().close();
  await app.eventSystem.shutdown();
  note('left');
  if (process.connected) process.disconnect();
}

process.on('SIGTERM', leave);
process.on('message', (message) => {
  if (message !== 'look') return;
  const { totalConnections, rooms, cluster } = plugin.getStats();
  process.send({ stats: { connections: totalConnections, rooms: rooms.length, ...cluster } });
});
// Whoever started this is gone.
process.on('disconnect', leave);

const server = app.listen(0, '127.0.0.1');
if (!server.listening) await once(server, 'listening');
const { nodeId } = plugin.getStats().cluster;
note('started', { nodeId });
process.send({ listening: server.address().port, nodeId });
