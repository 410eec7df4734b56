/** The kinds of scenarios: how each is run, and what counts in its report. */
import { certificate } from './certificate.mjs';
import { measureCrowd, tooMany } from './crowd.mjs';
import { access, runLoad } from './generator.mjs';
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
 * @property {() => string | undefined} [cannotRun] why it cannot be run on this machine, if so
 * @property {Variant} [variant]
 * @property {() => import('./server.mjs').ServerSettings} [server] what the server has to be
 * @property {(peer: import('./peers.mjs').Peer) => Promise<import('./server.mjs').Server>} [start]
 * starts it where that is not all
 * @property {(server: import('./server.mjs').Server, timing: Timing) => Promise<any>} run to a report
 * @property {(report: any) => import('./measure.mjs').Result[]} results
 */

/** Seconds that every measurement takes besides: a server starts, the machine is watched. */
const START = 0.8;

/** Connections that open per second, about, with the slowest server. */
const OPENING = 5000;

/** The same with TLS. */
const OPENING_TLS = 1200;

const anybody = () => true;
const onlyOwnProcess = (/** @type {import('./peers.mjs').Peer} */ peer) =>
  peer.command !== undefined;
const onlyAddon = (/** @type {import('./peers.mjs').Peer} */ peer) => peer.isAddon === true;

/**
 * Has a server answer HTTP, and so the requests of upgrades, without a framework, as those of other
 * peers do.
 * @param {Scenario['server']} [server] what it needs besides
 * @returns {NonNullable<Scenario['server']>}
 */
const withoutFramework = (server) => () => ({ ...server?.(), bareHttp: true });

/**
 * The variants of a scenario that need a server set up for them.
 * @type {Record<'tls' | 'deflate', {
 *   title: string,
 *   server: NonNullable<Scenario['server']>,
 *   canMeasure: Scenario['canMeasure'],
 * }>}
 */
const variants = {
  tls: {
    title: ', TLS',
    server: () => ({ tls: certificate() }),
    canMeasure: (peer) => onlyOwnProcess(peer) && peer.speaksTls !== false,
  },
  deflate: {
    title: ', permessage-deflate',
    server: () => ({ options: { perMessageDeflate: true } }),
    canMeasure: onlyOwnProcess,
  },
};

/** @typedef {keyof typeof variants} Variant */

/**
 * What a variant changes in a scenario.
 * @param {Variant | undefined} variant
 * @param {Scenario['canMeasure']} [canMeasure] whom the scenario can measure without a variant
 */
function asVariant(variant, canMeasure = anybody) {
  if (variant === undefined) return { prefix: '', suffix: '', needs: { canMeasure } };
  const { title, server, ...needs } = variants[variant];
  return { prefix: `${variant}-`, suffix: title, needs: { variant, server, ...needs } };
}

/** Bytes for people: 20 B, 1 KiB. */
const bytes = (/** @type {number} */ size) => (size < 1024 ? `${size} B` : `${size / 1024} KiB`);

/**
 * The server's CPU time per thing in µs: of all threads, and of the one that runs JavaScript.
 * @param {any} cpu
 * @param {number} count
 */
function cpuEach(cpu, count) {
  const each = (/** @type {number | null | undefined} */ time) =>
    time != null && count > 0 ? time / count : undefined;
  return { cpu: each(cpu?.server_us), javascript: each(cpu?.javascript_us) };
}

/**
 * @param {object} shape
 * @param {number} shape.connections
 * @param {number} shape.inFlight
 * @param {number} shape.size
 * @param {boolean} [shape.burst]
 * @param {('p50' | 'p99' | 'p999')[]} [shape.quantiles] of the latency that are figures of their own
 * @param {Variant} [shape.variant]
 * @returns {Scenario}
 */
export function echo({ connections, inFlight, size, burst = false, quantiles = [], variant }) {
  const { prefix, suffix, needs } = asVariant(variant);
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
        ...cpuEach(report.cpu, report.messages),
        details: {
          'p50 µs': report.latency_us.p50,
          'p99 µs': report.latency_us.p99,
          'p999 µs': report.latency_us.p999,
          'bytes on the wire':
            variant === 'deflate' ? report.received / report.messages : undefined,
        },
      },
      ...quantiles.map((quantile) => ({
        id: `${name}-${quantile}`,
        title: `${title}: ${quantile}`,
        value: report.latency_us[quantile],
        unit: 'µs',
        better: /** @type {const} */ ('less'),
        details: {},
      })),
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
  const { prefix, suffix, needs } = asVariant(variant);
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
        ...cpuEach(report.cpu, report.deliveries),
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
        value: cpuEach(report.cpu, report.deliveries).cpu ?? Number.NaN,
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
 * @param {object} shape
 * @param {number} shape.connections
 * @param {boolean} [shape.collect] whether garbage is collected before each look at the memory
 * @param {'tls'} [shape.variant]
 * @returns {Scenario}
 */
export function idle({ connections, collect = true, variant }) {
  const { prefix, suffix, needs } = asVariant(variant, onlyOwnProcess);
  const name = `${prefix}idle-${connections}${collect ? '' : '-uncollected'}`;
  const title = `idle, ${connections} connections${collect ? '' : ', no collection forced'}${suffix}`;
  const figure = (/** @type {string} */ state, /** @type {Record<string, number>} */ each) => ({
    id: name + state.replaceAll(' ', '-'),
    title: title + state,
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
    // Five or ten readings of a second, two openings, two closings.
    duration: () =>
      START + (collect ? 10 : 5) + (4 * connections) / (variant ? OPENING_TLS : OPENING),
    ...needs,
    server: withoutFramework(needs.server),
    run: (server) =>
      measureMemory(server, { connections, looks: collect ? ['gc', 'shrink'] : ['memory'] }),
    results: ({ baseline, open_each, closed_each, growth_each }) => {
      // What lies about after a close says nothing about what was held.
      if (!collect) return [figure('', open_each.memory)];
      const [open, closed] = [figure('', open_each.gc), figure(' after close', closed_each.shrink)];
      const mebibytes = baseline.gc.resident / 2 ** 20;
      const further = { 'once V8 has shrunk': open_each.shrink.resident };
      const growth = { 'more after the second close': growth_each.shrink.resident };
      return [
        { ...open, details: { ...further, ...open.details, 'baseline MiB': mebibytes } },
        { ...closed, details: { ...closed.details, ...growth } },
      ];
    },
  };
}

/**
 * @param {object} shape
 * @param {number} shape.concurrency
 * @param {boolean} [shape.application] whether each upgrade goes through the middleware and the routes
 * of an application first
 * @param {'tls'} [shape.variant]
 * @returns {Scenario}
 */
export function connect({ concurrency, application = false, variant }) {
  const { prefix, suffix, needs } = asVariant(variant, application ? onlyAddon : anybody);
  const name = `${prefix}connect${application ? '-application' : ''}`;
  const how = application ? ', through an application' : '';
  const title = `connect and close, ${concurrency} at a time${how}${suffix}`;
  return {
    name,
    title,
    seconds: 2,
    quickSeconds: 1,
    duration: ({ seconds, warmup }) => START + warmup + seconds,
    ...needs,
    server: application ? needs.server : withoutFramework(needs.server),
    run: (server, timing) =>
      runLoad('connect', { ...access(server, '/echo'), concurrency, ...timing }),
    results: (report) => [
      {
        id: name,
        title,
        value: report.connections_per_second,
        unit: 'connections/s',
        better: 'more',
        ...cpuEach(report.cpu, report.connections),
        details: { 'handshake p50 µs': report.handshake_us.p50, 'p99 µs': report.handshake_us.p99 },
      },
    ],
  };
}

/**
 * HTTP alone: what it costs on a server that also serves WebSockets.
 * @param {object} shape
 * @param {number} shape.connections
 * @param {'tls'} [shape.variant]
 * @returns {Scenario}
 */
export function requests({ connections, variant }) {
  const { prefix, suffix, needs } = asVariant(variant);
  const name = `${prefix}http-${connections}`;
  const title = `HTTP GET, ${connections} connections kept alive${suffix}`;
  return {
    name,
    title,
    seconds: 2,
    quickSeconds: 1,
    duration: ({ seconds, warmup }) => START + warmup + seconds,
    ...needs,
    server: withoutFramework(needs.server),
    run: (server, timing) =>
      runLoad('requests', { ...access(server, '/ping'), connections, ...timing }),
    results: (report) => [
      {
        id: name,
        title,
        value: report.requests_per_second,
        unit: 'requests/s',
        better: 'more',
        ...cpuEach(report.cpu, report.requests),
        details: { 'p50 µs': report.latency_us.p50, 'p99 µs': report.latency_us.p99 },
      },
    ],
  };
}

/**
 * @param {object} shape
 * @param {number} shape.connections
 * @param {number} shape.rate broadcasts per second
 * @returns {Scenario}
 */
export function crowd({ connections, rate }) {
  const name = `crowd-${connections}`;
  const title = `${connections} connections`;
  return {
    name,
    title,
    seconds: 5,
    quickSeconds: 2,
    duration: ({ seconds, warmup }) => START + warmup + seconds + 8 + (2 * connections) / OPENING,
    canMeasure: onlyOwnProcess,
    server: withoutFramework(),
    cannotRun: () => tooMany(connections),
    run: (server, timing) => measureCrowd(server, { connections, rate, size: 64 }, timing),
    results: ({ phase, open_each, opened_per_second, deliveries_per_second }) => [
      {
        id: `${name}-http`,
        title: `${title}, ${rate} broadcast/s to all: HTTP p99`,
        // With the requests that a stall kept from being sent: with one broadcast a second, it hits
        // fewer than one of a hundred requests otherwise, however long it is.
        value: phase.http_corrected_us.p99 / 1000,
        unit: 'ms',
        better: 'less',
        ...cpuEach(phase.cpu, deliveries_per_second * phase.seconds),
        details: {
          'p50 ms': phase.http_corrected_us.p50 / 1000,
          'longest ms': phase.http_us.max / 1000,
          'loop delay p99 ms': phase.loop_delay?.p99_ms,
          'max ms': phase.loop_delay?.max_ms,
          'broadcasts/s': phase.achieved,
        },
      },
      {
        id: name,
        title: `${title}: memory`,
        value: open_each.resident,
        unit: 'bytes each',
        better: 'less',
        details: { 'of it JS heap': open_each.heapUsed },
      },
      {
        id: `${name}-open`,
        title: `${title}: opening`,
        value: opened_per_second,
        unit: 'connections/s',
        better: 'more',
        details: {},
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
 * @param {'tls'} [shape.variant]
 * @returns {Scenario}
 */
export function httplag({ members, rates, size, driver, variant }) {
  const { prefix, suffix, needs } = asVariant(variant);
  const name = `${prefix}httplag${driver === 'timer' ? '' : `-${driver}`}`;
  const title = `HTTP p99, ${members} members`;
  return {
    name,
    title: title + suffix,
    seconds: 2.5,
    quickSeconds: 1.5,
    // Each rate ends with a pause, and some servers are late.
    duration: ({ seconds, warmup }) =>
      START + members / (variant ? OPENING_TLS : OPENING) + rates.length * (warmup + seconds + 1.5),
    ...needs,
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
        title: `${title}, ${phase.rate} broadcasts/s${driver === 'timer' ? '' : ` by ${driver}`}${suffix}`,
        value: phase.http_us.p99 / 1000,
        unit: 'ms',
        better: 'less',
        ...cpuEach(phase.cpu, phase.deliveries),
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
    canMeasure: onlyAddon,
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
