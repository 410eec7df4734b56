/** Memory of idle connections: opened, kept, closed, with the garbage collected each time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { openIdle } from './generator.mjs';
import { residentBytes } from './machine.mjs';

/** Connections that are opened and closed first, so that code and caches are in the baseline. */
const REHEARSAL = 500;

/** Looks at the memory per reading; the smallest counts. The allocator gives back in the background. */
const LOOKS = 4;

/** Milliseconds from a garbage collection to the look. */
const PAUSE = 200;

/**
 * @param {import('./server.mjs').Server} server
 * @param {number} connections
 */
export async function measureMemory(server, connections) {
  const url = `${server.url}/echo`;
  const closeRehearsal = await openIdle({ url, connections: REHEARSAL });
  await closeRehearsal();
  const baseline = await settledBytes(server);
  const close = await openIdle({ url, connections });
  const open = await settledBytes(server);
  const { errors } = await close();
  const closed = await settledBytes(server);
  return {
    scenario: 'idle',
    connections,
    baseline_bytes: baseline,
    open_bytes: open,
    closed_bytes: closed,
    bytes_each: (open - baseline) / connections,
    bytes_each_after_close: (closed - baseline) / connections,
    errors,
  };
}

/**
 * Resident memory after garbage collection.
 * @param {import('./server.mjs').Server} server
 */
async function settledBytes({ url, pid }) {
  let smallest = Number.POSITIVE_INFINITY;
  for (let look = 0; look < LOOKS; look++) {
    await fetch(`${url.replace('ws:', 'http:')}/gc`).then((response) => response.text());
    await sleep(PAUSE);
    smallest = Math.min(smallest, residentBytes(/** @type {number} */ (pid)));
  }
  return smallest;
}
