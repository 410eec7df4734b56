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
 * Two rounds of opening and closing. The first one pays for what the connections leave behind
 * once (V8's young generation grows to some 30 MB while 10,000 upgrades come in, and stays so);
 * the second one shows what they take from a server that has been through it.
 * @param {import('./server.mjs').Server} server
 * @param {number} connections
 */
export async function measureMemory(server, connections) {
  const options = { url: `${server.url}/echo`, connections };
  const closeRehearsal = await openIdle({ ...options, connections: REHEARSAL });
  await closeRehearsal();
  const baseline = await settledBytes(server);
  const first = await openAndClose(server, options);
  const second = await openAndClose(server, options);
  const each = (/** @type {number} */ bytes) => bytes / connections;
  return {
    scenario: 'idle',
    connections,
    baseline,
    first,
    second,
    bytes_each: each(first.open.resident - baseline.resident),
    heap_bytes_each: each(first.open.heap - baseline.heap),
    bytes_each_second_round: each(second.open.resident - first.closed.resident),
    bytes_each_after_close: each(first.closed.resident - baseline.resident),
    bytes_each_growth: each(second.closed.resident - first.closed.resident),
    errors: first.errors + second.errors,
  };
}

/**
 * @param {import('./server.mjs').Server} server
 * @param {{ url: string, connections: number }} options
 */
async function openAndClose(server, options) {
  const close = await openIdle(options);
  const open = await settledBytes(server);
  const { errors } = await close();
  const closed = await settledBytes(server);
  return { open, closed, errors };
}

/**
 * Resident memory and JavaScript heap in use after garbage collection.
 * @param {import('./server.mjs').Server} server
 */
async function settledBytes({ url, pid }) {
  let resident = Number.POSITIVE_INFINITY;
  let heap = Number.POSITIVE_INFINITY;
  for (let look = 0; look < LOOKS; look++) {
    const response = await fetch(`${url.replace('ws:', 'http:')}/gc`);
    const usage = await response.json();
    await sleep(PAUSE);
    resident = Math.min(resident, residentBytes(/** @type {number} */ (pid)));
    heap = Math.min(heap, usage.heapUsed);
  }
  return { resident, heap };
}
