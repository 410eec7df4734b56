/**
 * The crowd: connections by `ws` that come, join rooms, say something, leave rooms and go, each
 * after a short life and in one of several ways.
 */
import { setTimeout as wait } from 'node:timers/promises';
import WebSocket from 'ws';
import { clientOptions, wsUrl } from './wire.mjs';

/** A life in milliseconds: at least, and the mean of what comes on top. */
const SHORTEST_LIFE = 200;
const MEAN_LIFE = 3000;

/** Milliseconds between two things that a connection does. */
const MEAN_PAUSE = 800;

/** Connections that come per second at the start, so that the crowd does not come at once. */
const ARRIVALS = 100;

const random = (below) => Math.floor(Math.random() * below);
const exponential = (mean) => -mean * Math.log(1 - Math.random());

/** What a connection does in its life. */
const deeds = [
  (room) => `join ${room}`,
  (room) => `join ${room}`,
  (room) => `leave ${room}`,
  (room) => `say ${room} ${'chatter'.repeat(random(100))}`,
  (room) => `say ${room} hello`,
  () => `echo ${'x'.repeat(random(20_000))}`,
];

/** How a connection goes, and which close codes it may then see. */
const departures = [
  { codes: [1000], go: (socket) => socket.close(1000) },
  { codes: [1005], go: (socket) => socket.close() },
  { codes: [4711], go: (socket) => socket.close(4711, 'enough of this') },
  { codes: [1006], go: (socket) => socket.terminate() },
  { codes: [4000], go: (socket) => socket.send('close') },
];

/** How long an end may take, in milliseconds. */
const END_LIMIT = 15_000;

/**
 * Starts the crowd.
 * @param {{ port: number, connections: number, rooms: number }} settings the rooms are `room-0`…
 */
export function startChurn({ port, connections, rooms }) {
  const figures = { opened: 0, messages: 0, failures: {} };
  let over = false;
  const anyRoom = () => `room-${random(rooms)}`;

  const count = (what) => {
    figures.failures[what] = (figures.failures[what] ?? 0) + 1;
  };

  async function liveOnce() {
    const socket = new WebSocket(wsUrl(port, '/crowd'), {
      ...clientOptions,
      perMessageDeflate: Math.random() < 0.1,
    });
    socket.on('message', () => {
      figures.messages += 1;
    });
    const ended = new Promise((resolve) => socket.on('close', resolve));
    const opened = await new Promise((resolve) => {
      socket.on('open', () => resolve(true));
      socket.on('error', (error) => {
        count(error.message);
        resolve(false);
      });
    });
    if (!opened) return;
    figures.opened += 1;
    const { codes, go } = departures[random(departures.length)];
    const early = await Promise.race([live(socket), ended]);
    if (early !== undefined) return count(`ended by the server with ${early}`);
    go(socket);
    const code = await Promise.race([ended, wait(END_LIMIT, 'no end', { ref: false })]);
    if (!codes.includes(code)) count(`${code} instead of ${codes}`);
    socket.terminate();
  }

  /** Says and does things until the life is over. */
  async function live(socket) {
    const until = performance.now() + SHORTEST_LIFE + exponential(MEAN_LIFE);
    socket.send(`join ${anyRoom()}`);
    while (performance.now() < until && !over && socket.readyState === WebSocket.OPEN) {
      await wait(exponential(MEAN_PAUSE));
      if (socket.readyState === WebSocket.OPEN) socket.send(deeds[random(deeds.length)](anyRoom()));
    }
  }

  async function liveOver(delay) {
    await wait(delay);
    while (!over) await liveOnce();
  }

  const lives = Array.from({ length: connections }, (_, index) =>
    liveOver((index * 1000) / ARRIVALS),
  );
  return {
    progress: () => `${figures.opened} connections came and went`,
    /** Lets everybody go and returns the figures. */
    async finish() {
      over = true;
      await Promise.all(lives);
      return figures;
    },
  };
}
