/** The kinds of scenarios: how each is run, and what counts in its report. */
import { certificate } from './certificate.mjs';
import { runLoad } from './generator.mjs';
import { measureJoinLeave } from './join-leave.mjs';
import { measureMemory } from './memory.mjs';

/**
 * @typedef {object} Timing
 * @property {number} seconds to measure
 * @property {number} warmup seconds of load before that
 */

/**
 * @typedef {object} Scenario
 * @property {string} name
 * @property {string} title
 * @property {number} seconds
 * @property {number} quickSeconds
 * @property {(timing: Timing) => number} duration seconds that a measurement takes, about
 * @property {(peer: import('./peers.mjs').Peer) => boolean} canMeasure
 * @property {() => import('./server.mjs').ServerSettings} [server] what the server has to be
 * @property {(server: import('./server.mjs').Server, timing: Timing) => Promise<any>} run to a report
 * @property {(report: any) => import('./measure.mjs').Result[]} results
 */

/** Seconds that every measurement takes besides: a server starts, the machine is watched. */
const START = 0.8;

/** Connections that open per second, about, with the slowest server. */
const OPENING = 5000;

const anybody = () => true;
const onlyOwnProcess = (/** @type {import('./peers.mjs').Peer} */ peer) =>
  peer.command !== undefined;

/**
 * The variants of a scenario that need a server set up for them.
 * @type {Record<'tls' | 'deflate', { title: string, server: NonNullable<Scenario['server']> }>}
 */
const variants = {
  tls: { title: ', TLS', server: () => ({ tls: certificate() }) },
  deflate: {
    title: ', permessage-deflate',
    server: () => ({ options: { perMessageDeflate: true } }),
  },
};

/** @typedef {keyof typeof variants} Variant */

/**
 * What a variant changes in a scenario.
 * @param {Variant | undefined} variant
 */
const asVariant = (variant) => ({
  prefix: variant ? `${variant}-` : '',
  suffix: variant ? variants[variant].title : '',
  server: variant && variants[variant].server,
  // A server that runs already is as it is.
  canMeasure: variant ? onlyOwnProcess : anybody,
});

/** Bytes for people: 20 B, 1 KiB. */
const bytes = (/** @type {number} */ size) => (size < 1024 ? `${size} B` : `${size / 1024} KiB`);

/**
 * How the load generator reaches a server, and whose CPU time it looks at.
 * @param {import('./server.mjs').Server} server
 * @param {string} [path]
 */
const access = ({ url, ca, pid }, path = '') => ({ url: url + path, ca, pid });

/**
 * The server's CPU time per thing.
 * @param {any} cpu
 * @param {number} count
 */
const cpuEach = (cpu, count) =>
  cpu?.server_us != null && count > 0 ? cpu.server_us / count : undefined;

/**
 * @param {object} shape
 * @param {number} shape.connections
 * @param {number} shape.inFlight
 * @param {number} shape.size
 * @param {boolean} [shape.burst]
 * @param {Variant} [shape.variant]
 * @returns {Scenario}
 */
export function echo({ connections, inFlight, size, burst = false, variant }) {
  const { prefix, suffix, ...needs } = asVariant(variant);
  // With one message in flight there is nothing that could be joined.
  const how = inFlight === 1 ? '' : burst ? ', burst' : ', one write each';
  const name = `${prefix}echo-${connections}x${inFlight}-${size}${burst ? '-burst' : ''}`;
  const title = `echo ${connections}×${inFlight}, ${bytes(size)}${how}${suffix}`;
  return {
    name,
    title,
    seconds: 1.6,
    quickSeconds: 1,
    duration: ({ seconds, warmup }) => START + warmup + seconds,
    ...needs,
    run: (server, timing) =>
      runLoad('echo', {
        ...access(server, '/echo'),
        deflate: variant === 'deflate',
        connections,
        inFlight,
        size,
        burst,
        ...timing,
      }),
    results: (report) => [
      {
        id: name,
        title,
        value: report.messages_per_second,
        unit: 'messages/s',
        better: 'more',
        cpu: cpuEach(report.cpu, report.messages),
        details: {
          'p50 µs': report.latency_us.p50,
          'p99 µs': report.latency_us.p99,
          'p999 µs': report.latency_us.p999,
          'bytes on the wire':
            variant === 'deflate' ? report.received / report.messages : undefined,
        },
      },
    ],
  };
}

/**
 * @param {object} shape
 * @param {number} shape.members
 * @param {number} shape.perCommand
 * @param {number} shape.size
 * @param {Variant} [shape.variant]
 * @returns {Scenario}
 */
export function broadcast({ members, perCommand, size, variant }) {
  const { prefix, suffix, ...needs } = asVariant(variant);
  const name = `${prefix}broadcast-${members}x${perCommand}-${size}`;
  const title = `broadcast ${members} members, ${perCommand} per command, ${bytes(size)}${suffix}`;
  return {
    name,
    title,
    seconds: 1.6,
    quickSeconds: 1,
    duration: ({ seconds, warmup }) => START + members / OPENING + warmup + seconds,
    ...needs,
    run: (server, timing) =>
      runLoad('broadcast', {
        ...access(server),
        deflate: variant === 'deflate',
        members,
        perCommand,
        size,
        ...timing,
      }),
    results: (report) => [
      {
        id: name,
        title,
        value: report.deliveries_per_second,
        unit: 'deliveries/s',
        better: 'more',
        cpu: cpuEach(report.cpu, report.deliveries),
        details: {
          'fan-out p50 ms': report.fanout_us.p50 / 1000,
          'p99 ms': report.fanout_us.p99 / 1000,
          lost: report.lost,
          'bytes on the wire':
            variant === 'deflate' ? report.received / report.deliveries : undefined,
        },
      },
    ],
  };
}

/**
 * The cost of one delivery by the size of the room. A scenario for each size, so that each has a
 * fresh server.
 * @param {number} members
 * @returns {Scenario}
 */
export function linear(members) {
  const name = `linear-${members}`;
  return {
    ...broadcast({ members, perCommand: 1, size: 64 }),
    name,
    title: `cost of a delivery, ${members} members`,
    canMeasure: onlyOwnProcess,
    results: (report) => [
      {
        id: name,
        title: `cost of a delivery, ${members} members`,
        value: cpuEach(report.cpu, report.deliveries) ?? Number.NaN,
        unit: 'CPU µs',
        better: 'less',
        details: {
          'fan-out p50 ms': report.fanout_us.p50 / 1000,
          'of it µs per member': report.fanout_us.p50 / members,
          lost: report.lost,
        },
      },
    ],
  };
}

/**
 * @param {number} connections
 * @returns {Scenario}
 */
export function idle(connections) {
  const name = `idle-${connections}`;
  const title = `idle, ${connections} connections`;
  const figure = (/** @type {string} */ suffix, /** @type {Record<string, number>} */ each) => ({
    id: name + suffix.replaceAll(' ', '-'),
    title: title + suffix,
    value: each.resident,
    unit: 'bytes each',
    better: /** @type {const} */ ('less'),
    details: { 'of it JS heap': each.heapUsed, external: each.external },
  });
  return {
    name,
    title,
    seconds: 0,
    quickSeconds: 0,
    // Five readings of a second, two openings, two closings.
    duration: () => START + 5 + (4 * connections) / OPENING,
    canMeasure: onlyOwnProcess,
    run: (server) => measureMemory(server, connections),
    results: ({ baseline, open_each, closed_each, growth_each }) => {
      const [open, closed] = [figure('', open_each), figure(' after close', closed_each)];
      return [
        { ...open, details: { ...open.details, 'baseline MiB': baseline.resident / 2 ** 20 } },
        {
          ...closed,
          details: { ...closed.details, 'more after the second close': growth_each.resident },
        },
      ];
    },
  };
}

/**
 * @param {number} concurrency
 * @returns {Scenario}
 */
export function connect(concurrency) {
  const title = `connect and close, ${concurrency} at a time`;
  return {
    name: 'connect',
    title,
    seconds: 2,
    quickSeconds: 1,
    duration: ({ seconds, warmup }) => START + warmup + seconds,
    canMeasure: anybody,
    run: (server, timing) =>
      runLoad('connect', { ...access(server, '/echo'), concurrency, ...timing }),
    results: (report) => [
      {
        id: 'connect',
        title,
        value: report.connections_per_second,
        unit: 'connections/s',
        better: 'more',
        cpu: cpuEach(report.cpu, report.connections),
        details: { 'handshake p50 µs': report.handshake_us.p50, 'p99 µs': report.handshake_us.p99 },
      },
    ],
  };
}

/**
 * @param {object} shape
 * @param {number} shape.members
 * @param {number[]} shape.rates broadcasts per second
 * @param {number} shape.size
 * @param {'timer' | 'commands'} shape.driver who keeps the time of the broadcasts
 * @returns {Scenario}
 */
export function httplag({ members, rates, size, driver }) {
  const name = driver === 'timer' ? 'httplag' : `httplag-${driver}`;
  const title = `HTTP p99, ${members} members`;
  return {
    name,
    title,
    seconds: 2.5,
    quickSeconds: 1.5,
    // Each rate ends with a pause, and some servers are late.
    duration: ({ seconds, warmup }) =>
      START + members / OPENING + rates.length * (warmup + seconds + 1.5),
    canMeasure: anybody,
    run: (server, timing) =>
      runLoad('httplag', {
        ...access(server),
        members,
        rates: rates.join(),
        size,
        driver,
        ...timing,
      }),
    results: (report) =>
      report.phases.map((/** @type {any} */ phase) => ({
        id: `${name}-${phase.rate}`,
        title: `${title}, ${phase.rate} broadcasts/s${driver === 'timer' ? '' : ` by ${driver}`}`,
        value: phase.http_us.p99 / 1000,
        unit: 'ms',
        better: 'less',
        cpu: cpuEach(phase.cpu, phase.deliveries),
        details: {
          'p50 ms': phase.http_us.p50 / 1000,
          'loop delay p99 ms': phase.loop_delay?.p99_ms,
          'max ms': phase.loop_delay?.max_ms,
          'broadcasts/s': phase.rate > 0 ? phase.achieved : undefined,
        },
      })),
  };
}

/**
 * @param {import('./join-leave.mjs').Case[]} cases
 * @returns {Scenario}
 */
export function joinLeave(cases) {
  return {
    name: 'join-leave',
    title: 'join and leave',
    seconds: 0,
    quickSeconds: 0,
    duration: () => cases.reduce((sum, { members }) => sum + 0.3 + (2 * members) / OPENING, START),
    canMeasure: (peer) => peer.hasRooms === true,
    run: (server) => measureJoinLeave(server, cases),
    results: (report) =>
      report.results.map((/** @type {any} */ { members, others, ns_each, close_ms }) => ({
        id: `join-leave-${members}-${others}`,
        title: `join and leave a room of ${members}, in ${others} other rooms`,
        value: ns_each / 1000,
        unit: 'µs',
        better: 'less',
        details: { 'close handshake ms': close_ms },
      })),
  };
}
