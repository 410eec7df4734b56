/**
 * The server under soak, in a process of its own. Started by `run.mjs` with its options as JSON; by
 * messages between the processes it tells when it listens, answers `look` with its figures, and
 * ends by itself after `stop`.
 *
 * What clients find: `/pair/NAME/a` and `/pair/NAME/b` pass messages on to each other, those that
 * begin with `d` directly and those with `r` through a room; `/crowd` takes the commands below.
 */
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import process from 'node:process';
import { createApp } from '../examples/host/index.js';
import { WebSocketPlugin, withWebSocket } from '../index.mjs';
import { certificate } from './wire.mjs';

/** Message size in which `flood` sends, in bytes. */
const FLOOD_MESSAGE = Buffer.alloc(32 * 1024, 'flood');

/** What a listener throws that is asked to: every other error is a finding. */
const ASKED_TO_THROW = 'asked to throw';

const counts = { opened: 0, ended: 0, roomsCreated: 0, roomsDestroyed: 0, thrown: 0 };
/** @type {string[]} Errors that should not have been. */
const errors = [];

const app = createApp();
const plugin = new WebSocketPlugin({
  path: '/crowd',
  tls: certificate,
  ...JSON.parse(process.argv[2]),
});
plugin.install(app);
plugin.on('connection', () => {
  counts.opened += 1;
});
plugin.on('close', () => {
  counts.ended += 1;
});
plugin.on('room:created', () => {
  counts.roomsCreated += 1;
});
plugin.on('room:destroyed', () => {
  counts.roomsDestroyed += 1;
});
plugin.on('error', (error) => {
  if (error.message === ASKED_TO_THROW) counts.thrown += 1;
  else errors.push(String(error.stack));
});

const wsApp = withWebSocket(app);
app.get('/ping', (ctx) => {
  ctx.res.send('pong');
});

/** The ends of all pairs, by path. */
const ends = new Map();

wsApp.ws('/pair/:name/:side', (socket) => {
  const [, , name, side] = socket.url.split('/');
  const partner = `${name}/${side === 'a' ? 'b' : 'a'}`;
  const room = `pair ${name}`;
  ends.set(`${name}/${side}`, socket);
  socket.join(room);
  socket.onMessage((data) => {
    const directly = String.fromCharCode(Buffer.from(data.slice(0, 1))[0]) === 'd';
    if (directly) ends.get(partner)?.send(data);
    else socket.broadcast(room, data);
  });
  socket.onClose(() => ends.delete(`${name}/${side}`));
});

/** What a connection of the crowd may ask for: the word, then its arguments. */
const commands = {
  join: (socket, room) => socket.join(room),
  leave: (socket, room) => socket.leave(room),
  say: (socket, room, text) => socket.broadcast(room, text),
  echo: (socket, text) => socket.send(text),
  close: (socket) => socket.close(4000, 'as you wish'),
  flood(socket, bytes) {
    for (let sent = 0; sent < Number(bytes); sent += FLOOD_MESSAGE.length) {
      socket.send(FLOOD_MESSAGE);
    }
  },
  throw() {
    throw new Error(ASKED_TO_THROW);
  },
};

wsApp.ws('/crowd', (socket) => {
  socket.onMessage((data) => {
    const [command, ...args] = data.toString().split(' ');
    if (Object.hasOwn(commands, command)) commands[command](socket, ...args);
  });
});

/** Descriptors of this process; `undefined` where there is no /proc. */
function countDescriptors() {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
  }
}

/** The figures of the moment, after collecting garbage: what is held, not what is left over. */
function look() {
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  const { totalConnections, rooms, ...traffic } = plugin.getStats();
  return {
    ...counts,
    errors,
    rss,
    heapUsed,
    descriptors: countDescriptors(),
    connections: totalConnections,
    rooms: rooms.length,
    traffic,
  };
}

/** Nothing but the channel keeps the process afterwards, or something has been forgotten. */
async function stop() {
  app.getServer().close();
  await app.eventSystem.shutdown();
}

process.on('message', async (message) => {
  if (message === 'look') process.send(look());
  if (message !== 'stop') return;
  await plugin.cleanup();
  await stop();
  process.disconnect();
});
// Whoever started this is gone.
process.on('disconnect', stop);

const server = app.listen(0, '127.0.0.1');
if (!server.listening) await once(server, 'listening');
process.send({ listening: server.address().port });
