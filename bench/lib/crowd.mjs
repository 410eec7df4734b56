/**
 * Very many connections to one server: several generators open them, each from source addresses of
 * its own, then all of them get broadcasts while one more asks for HTTP.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { access, clientOptions, openIdle, runLoad } from './generator.mjs';
import { difference, settledMemory } from './memory.mjs';

/** Connections of one generator: below the descriptors that a process may have nearly everywhere. */
const PER_GENERATOR = 18_000;

/** Source addresses that so many connections take (`PER_SOURCE` in `load/src/target.rs`). */
const SOURCES = 2;

/** Members of the generator that asks for HTTP and has the broadcasts made. */
const LEADERS = 500;

/** Descriptors that a server needs besides. */
const SPARE = 200;

/** Milliseconds for the last broadcast to reach everybody. */
const SETTLE = 1500;

/**
 * Why this many connections cannot be had in one process here, if they cannot.
 * @param {number} connections
 */
export function tooMany(connections) {
  const limit = descriptorLimit();
  return connections + SPARE > limit
    ? `a process may have ${limit} descriptors here (ulimit -Hn)`
    : undefined;
}

/** The hard limit, to which server and generators raise their soft one. */
function descriptorLimit() {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    const hard = /^Max open files +\S+ +(\S+)/m.exec(limits)?.[1];
    return hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
  } catch {
    return 0;
  }
}

/**
 * @param {import('./server.mjs').Server} server
 * @param {object} crowd
 * @param {number} crowd.connections
 * @param {number} crowd.rate broadcasts per second
 * @param {number} crowd.size bytes of a broadcast
 * @param {import('./scenarios.mjs').Timing} timing
 */
export async function measureCrowd(server, { connections, rate, size }, timing) {
  const baseline = await settledMemory(server, 'gc');
  /** @type {Awaited<ReturnType<typeof openIdle>>[]} */
  const generators = [];
  for (let left = connections - LEADERS; left > 0; left -= PER_GENERATOR) {
    generators.push(
      await openIdle({
        ...clientOptions(server, '/room'),
        connections: Math.min(left, PER_GENERATOR),
        firstSource: generators.length * SOURCES,
      }),
    );
  }
  const seconds = generators.reduce((sum, { opened }) => sum + opened.seconds, 0);
  const open = await settledMemory(server, 'gc');

  const lag = await runLoad('httplag', {
    ...access(server),
    firstSource: generators.length * SOURCES,
    members: LEADERS,
    rates: rate,
    size,
    driver: 'timer',
    ...timing,
  });
  await sleep(SETTLE);
  const ends = await Promise.all(generators.map(({ close }) => close()));
  const waiting = connections - LEADERS;
  // Everybody is in the same room: each has to have got what each of the leaders got.
  const expected = (lag.received_messages / LEADERS) * waiting;
  const received = ends.reduce((sum, { messages }) => sum + messages, 0);
  const [phase] = lag.phases;
  return {
    scenario: 'crowd',
    connections,
    generators: generators.length + 1,
    baseline,
    open_each: difference(open, baseline, waiting),
    opened_per_second: waiting / seconds,
    deliveries_per_second: phase.achieved * connections,
    phase,
    lost: Math.abs(expected - received),
    errors: lag.errors + ends.reduce((sum, { errors }) => sum + errors, 0),
    first_end: lag.first_end,
  };
}
