/** Memory of idle connections: opened, closed, and once more. */
import { setTimeout as sleep } from 'node:timers/promises';
import { clientOptions, openIdle } from './generator.mjs';
import { getJson } from './http.mjs';
import { residentBytes } from './machine.mjs';

/** Connections that are opened and closed first, so that code and caches are in the baseline. */
const REHEARSAL = 500;

/** Looks at the memory per reading; the smallest counts. Allocators give back in the background. */
const LOOKS = 4;

/** Milliseconds from a garbage collection, or else from a request, to the look. */
const PAUSE = 200;

/**
 * What happens before a look: nothing, so that what lies about counts; a garbage collection; or one
 * after which V8 also gives back what it has no use for at rest.
 * @typedef {'memory' | 'gc' | 'shrink'} Before
 */

/**
 * The memory by what happened before the look.
 * @typedef {Partial<Record<Before, Memory>>} State
 */

/**
 * Two rounds of opening and closing. What the first one leaves behind may be caches that are used
 * again; what the second one adds to that is lost.
 * @param {import('./server.mjs').Server} server
 * @param {object} what
 * @param {number} what.connections
 * @param {Before[]} what.looks in this order
 */
export async function measureMemory(server, { connections, looks }) {
  const options = { ...clientOptions(server, '/echo'), connections };
  const rehearsal = await openIdle({ ...options, connections: REHEARSAL });
  await rehearsal.close();
  const baseline = await readAll(server, looks);
  const first = await openAndClose(server, looks, options);
  const second = await openAndClose(server, looks, options);
  const each = (/** @type {State} */ after, /** @type {State} */ before) =>
    Object.fromEntries(
      looks.map((look) => [look, difference(after[look], before[look], connections)]),
    );
  return {
    scenario: 'idle',
    connections,
    baseline,
    first,
    second,
    open_each: each(first.open, baseline),
    closed_each: each(first.closed, baseline),
    growth_each: each(second.closed, first.closed),
    errors: first.errors + second.errors,
  };
}

/**
 * @param {import('./server.mjs').Server} server
 * @param {Before[]} looks
 * @param {import('./generator.mjs').LoadOptions} options
 */
async function openAndClose(server, looks, options) {
  const { close } = await openIdle(options);
  const open = await readAll(server, looks);
  const { errors } = await close();
  const closed = await readAll(server, looks);
  return { open, closed, errors };
}

/**
 * @param {import('./server.mjs').Server} server
 * @param {Before[]} looks
 * @returns {Promise<State>}
 */
async function readAll(server, looks) {
  /** @type {State} */
  const state = {};
  for (const look of looks) state[look] = await settledMemory(server, look);
  return state;
}

/**
 * Bytes: `resident` is the whole process as Linux sees it, the others are what the server's
 * `process.memoryUsage()` says.
 * @typedef {Record<string, number>} Memory
 */

/**
 * What each of `count` things takes.
 * @param {Memory} after
 * @param {Memory} before
 * @param {number} count
 */
export function difference(after, before, count) {
  const parts = Object.keys(before).map((part) => [part, (after[part] - before[part]) / count]);
  return Object.fromEntries(parts);
}

/**
 * The least of several looks.
 * @param {import('./server.mjs').Server} server
 * @param {Before} before
 * @returns {Promise<Memory>}
 */
export async function settledMemory(server, before) {
  let least = { resident: Number.POSITIVE_INFINITY };
  for (let look = 0; look < LOOKS; look++) {
    const { heapTotal, heapUsed, external, arrayBuffers } = await getJson(server, `/${before}`);
    await sleep(PAUSE);
    const resident = residentBytes(/** @type {number} */ (server.pid));
    if (resident < least.resident) {
      least = { resident, heapTotal, heapUsed, external, arrayBuffers };
    }
  }
  return least;
}
