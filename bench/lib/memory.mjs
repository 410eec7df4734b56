/** Memory of idle connections: opened, closed, and once more, with the garbage collected each time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { openIdle } from './generator.mjs';
import { residentBytes } from './machine.mjs';

/** Connections that are opened and closed first, so that code and caches are in the baseline. */
const REHEARSAL = 500;

/** Looks at the memory per reading; the smallest counts. Allocators give back in the background. */
const LOOKS = 4;

/** Milliseconds from a garbage collection to the look. */
const PAUSE = 200;

/**
 * Two rounds of opening and closing. What the first one leaves behind may be caches that are used
 * again; what the second one adds to that is lost.
 * @param {import('./server.mjs').Server} server
 * @param {number} connections
 */
export async function measureMemory(server, connections) {
  const options = { url: `${server.url}/echo`, ca: server.ca, connections };
  const closeRehearsal = await openIdle({ ...options, connections: REHEARSAL });
  await closeRehearsal();
  const baseline = await settledMemory(server);
  const first = await openAndClose(server, options);
  const second = await openAndClose(server, options);
  const each = (/** @type {Memory} */ after, /** @type {Memory} */ before) => {
    const parts = Object.keys(before).map((part) => [
      part,
      (after[part] - before[part]) / connections,
    ]);
    return Object.fromEntries(parts);
  };
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
 * @param {import('./generator.mjs').LoadOptions} options
 */
async function openAndClose(server, options) {
  const close = await openIdle(options);
  const open = await settledMemory(server);
  const { errors } = await close();
  const closed = await settledMemory(server);
  return { open, closed, errors };
}

/**
 * Bytes: `resident` is the whole process as Linux sees it, the others are what the server's
 * `process.memoryUsage()` says.
 * @typedef {Record<string, number>} Memory
 */

/**
 * The memory after garbage collection.
 * @param {import('./server.mjs').Server} server
 * @returns {Promise<Memory>}
 */
async function settledMemory({ url, pid }) {
  let least = { resident: Number.POSITIVE_INFINITY };
  for (let look = 0; look < LOOKS; look++) {
    const response = await fetch(`${url.replace('ws:', 'http:')}/gc`);
    const { heapTotal, heapUsed, external, arrayBuffers } = await response.json();
    await sleep(PAUSE);
    const resident = residentBytes(/** @type {number} */ (pid));
    if (resident < least.resident) {
      least = { resident, heapTotal, heapUsed, external, arrayBuffers };
    }
  }
  return least;
}
