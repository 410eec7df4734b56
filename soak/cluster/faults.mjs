/** What is done to the nodes and to the broker. */
import { setTimeout as wait } from 'node:timers/promises';
import { now } from './message.mjs';

/**
 * After so long without a word a node is taken for dead, and a little for that to be told, in
 * milliseconds. It begins anew where the broker could not be heard.
 */
export const SILENCE = 20_000;

/**
 * The faults of a minute, by the second in which they begin. Nobody leaves while a node that was killed
 * has not been missed, as who leaves cannot tell of that.
 * @type {{ second: number, what: string, does: (place: Place) => unknown, killed?: boolean, loses?: boolean }[]}
 * `loses`: what is under way may be lost
 */
const FAULTS = [
  { second: 4, what: 'node leaves, and a new one comes', does: ({ nodes }) => nodes.restart(0) },
  {
    second: 9,
    what: 'broker ends the connections that subscribe',
    does: ({ broker }) => broker.command('CLIENT KILL TYPE pubsub'),
    loses: true,
  },
  {
    second: 14,
    what: 'node is killed, and a new one comes',
    does: ({ nodes }) => nodes.replaceKilled(2),
    killed: true,
    loses: true,
  },
  {
    second: 19,
    what: 'broker stands still for 3 s',
    async does({ broker }) {
      broker.freeze();
      await wait(3000);
      broker.thaw();
    },
  },
  {
    second: 26,
    what: 'broker ends all connections, twice',
    async does({ broker }) {
      for (let time = 0; time < 2; time++) {
        await broker.command('CLIENT KILL TYPE normal SKIPME yes');
        await broker.command('CLIENT KILL TYPE pubsub');
        await wait(50);
      }
    },
    loses: true,
  },
  {
    second: 36,
    what: 'broker is killed, and comes back after 1 s',
    async does({ broker }) {
      await broker.stop('SIGKILL');
      await wait(1000);
      await broker.start();
    },
    loses: true,
  },
  { second: 44, what: 'node leaves, and a new one comes', does: ({ nodes }) => nodes.restart(1) },
  {
    second: 49,
    what: 'broker restarts',
    async does({ broker }) {
      await broker.stop();
      await broker.start();
    },
    loses: true,
  },
  { second: 56, what: 'node leaves, and a new one comes', does: ({ nodes }) => nodes.restart(2) },
];

/** @typedef {{ nodes: any, broker: import('../../scripts/redis-server.mjs').RedisServer }} Place */

/**
 * Minutes with all of them.
 * @param {Place & { minutes: number, say: (line: string) => Promise<void> }} run
 * @returns {Promise<(import('./account.mjs').Fault & { killed: boolean })[]>} when each was
 */
export async function runFaults({ minutes, say, ...place }) {
  const start = now();
  const done = [];
  for (let minute = 0; minute < minutes; minute++) {
    for (const { second, what, does, killed = false, loses = false } of FAULTS) {
      await wait(Math.max(0, start + (minute * 60 + second) * 1000 - now()));
      await say(`${Math.round((now() - start) / 1000)} s: ${what}`);
      const from = now();
      await does(place);
      done.push({ what, from, until: now(), killed, loses });
    }
    await wait(Math.max(0, start + (minute + 1) * 60_000 - now()));
  }
  return done;
}
