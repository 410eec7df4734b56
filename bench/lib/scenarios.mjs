/** What is measured: the catalogue of scenarios, and what counts in each one's report. */
import { runLoad } from './generator.mjs';
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
 * @property {boolean} inDefault whether it runs without --all
 * @property {number} seconds
 * @property {number} quickSeconds
 * @property {(peer: import('./peers.mjs').Peer) => boolean} canMeasure
 * @property {(server: import('./server.mjs').Server, timing: Timing) => Promise<any>} run
 * @property {(report: any) => import('./measure.mjs').Result[]} results
 */

/** Seconds of load before a measurement: enough for V8 to have compiled what is hot. */
const WARMUP = 0.7;

/** The same with --quick. */
const QUICK_WARMUP = 0.4;

const anybody = () => true;
const onlyOwnProcess = (/** @type {import('./peers.mjs').Peer} */ peer) =>
  peer.command !== undefined;

/** Bytes for people: 20 B, 1 KiB. */
const bytes = (/** @type {number} */ size) => (size < 1024 ? `${size} B` : `${size / 1024} KiB`);

/**
 * The server's CPU time per thing.
 * @param {any} cpu
 * @param {number} count
 */
const cpuEach = (cpu, count) =>
  cpu?.server_us != null && count > 0 ? cpu.server_us / count : undefined;

/**
 * @param {{ connections: number, inFlight: number, size: number, burst?: boolean }} shape
 * @param {{ inDefault?: boolean }} [options]
 * @returns {Scenario}
 */
function echo({ connections, inFlight, size, burst = false }, { inDefault = false } = {}) {
  // With one message in flight there is nothing that could be joined.
  const how = inFlight === 1 ? '' : burst ? ', burst' : ', one write each';
  const name = `echo-${connections}x${inFlight}-${size}${burst ? '-burst' : ''}`;
  const title = `echo ${connections}×${inFlight}, ${bytes(size)}${how}`;
  return {
    name,
    title,
    inDefault,
    seconds: 2,
    quickSeconds: 1,
    canMeasure: anybody,
    run: (server, timing) =>
      runLoad('echo', {
        url: `${server.url}/echo`,
        pid: server.pid,
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
        },
      },
    ],
  };
}

/**
 * @param {{ members: number, perCommand: number, size: number }} shape
 * @param {{ inDefault?: boolean }} [options]
 * @returns {Scenario}
 */
function broadcast({ members, perCommand, size }, { inDefault = false } = {}) {
  const name = `broadcast-${members}x${perCommand}-${size}`;
  const title = `broadcast ${members} members, ${perCommand} per command, ${bytes(size)}`;
  return {
    name,
    title,
    inDefault,
    seconds: 2,
    quickSeconds: 1,
    canMeasure: anybody,
    run: (server, timing) =>
      runLoad('broadcast', {
        url: server.url,
        pid: server.pid,
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
        },
      },
    ],
  };
}

/**
 * @param {{ connections: number }} shape
 * @param {{ inDefault?: boolean }} [options]
 * @returns {Scenario}
 */
function idle({ connections }, { inDefault = false } = {}) {
  const name = `idle-${connections}`;
  const title = `idle, ${connections} connections`;
  const figure = (/** @type {string} */ suffix, /** @type {number} */ value) => ({
    id: name + suffix.replaceAll(' ', '-'),
    title: title + suffix,
    value,
    unit: 'bytes each',
    better: /** @type {const} */ ('less'),
    details: {},
  });
  return {
    name,
    title,
    inDefault,
    seconds: 0,
    quickSeconds: 0,
    canMeasure: onlyOwnProcess,
    run: (server) => measureMemory(server, connections),
    results: (report) => [
      {
        ...figure('', report.bytes_each),
        details: {
          'of it JS heap': report.heap_bytes_each,
          'second time': report.bytes_each_second_round,
          'baseline MiB': report.baseline.resident / 2 ** 20,
        },
      },
      {
        ...figure(' after close', report.bytes_each_after_close),
        details: { 'more after the second close': report.bytes_each_growth },
      },
    ],
  };
}

/**
 * @param {{ concurrency: number }} shape
 * @param {{ inDefault?: boolean }} [options]
 * @returns {Scenario}
 */
function connect({ concurrency }, { inDefault = false } = {}) {
  const title = `connect and close, ${concurrency} at a time`;
  return {
    name: 'connect',
    title,
    inDefault,
    seconds: 2,
    quickSeconds: 1,
    canMeasure: anybody,
    run: (server, timing) =>
      runLoad('connect', { url: `${server.url}/echo`, pid: server.pid, concurrency, ...timing }),
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
 * @param {{ members: number, rates: number[], size: number, driver: 'timer' | 'commands' }} shape
 * @param {{ inDefault?: boolean }} [options]
 * @returns {Scenario}
 */
function httplag({ members, rates, size, driver }, { inDefault = false } = {}) {
  const name = driver === 'timer' ? 'httplag' : `httplag-${driver}`;
  const title = `HTTP p99, ${members} members`;
  return {
    name,
    title,
    inDefault,
    seconds: 2.5,
    quickSeconds: 1.5,
    canMeasure: anybody,
    run: (server, timing) =>
      runLoad('httplag', {
        url: server.url,
        pid: server.pid,
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

const always = { inDefault: true };

/**
 * The catalogue, in the order of measurement.
 * @type {Scenario[]}
 */
export const scenarios = [
  echo({ connections: 1, inFlight: 1, size: 20 }, always),
  echo({ connections: 1, inFlight: 16, size: 20 }),
  echo({ connections: 64, inFlight: 1, size: 20 }, always),
  echo({ connections: 500, inFlight: 1, size: 20 }),
  echo({ connections: 64, inFlight: 16, size: 20 }, always),
  echo({ connections: 64, inFlight: 16, size: 20, burst: true }, always),
  echo({ connections: 500, inFlight: 16, size: 20, burst: true }),
  echo({ connections: 64, inFlight: 1, size: 1024 }),
  echo({ connections: 64, inFlight: 16, size: 1024 }),
  echo({ connections: 64, inFlight: 16, size: 1024, burst: true }, always),
  echo({ connections: 64, inFlight: 1, size: 16384 }),
  echo({ connections: 64, inFlight: 16, size: 16384 }),
  echo({ connections: 64, inFlight: 16, size: 16384, burst: true }, always),
  broadcast({ members: 1000, perCommand: 1, size: 64 }, always),
  broadcast({ members: 1000, perCommand: 10, size: 64 }),
  broadcast({ members: 5000, perCommand: 1, size: 64 }, always),
  broadcast({ members: 5000, perCommand: 1, size: 1024 }),
  broadcast({ members: 10_000, perCommand: 1, size: 64 }),
  broadcast({ members: 10_000, perCommand: 10, size: 64 }, always),
  idle({ connections: 10_000 }, always),
  connect({ concurrency: 32 }, always),
  httplag({ members: 10_000, rates: [0, 5, 20], size: 64, driver: 'timer' }, always),
  httplag({ members: 10_000, rates: [5, 20], size: 64, driver: 'commands' }),
];

/**
 * The scenarios that the command line asks for.
 * @param {import('./options.mjs').Options} options
 */
export function selectScenarios({ scenarios: wanted, all }) {
  if (wanted.length === 0) return scenarios.filter((scenario) => all || scenario.inDefault);
  const named = (/** @type {Scenario} */ { name }, /** @type {string} */ start) =>
    name === start || name.startsWith(`${start}-`);
  const unknown = wanted.filter((start) => !scenarios.some((scenario) => named(scenario, start)));
  if (unknown.length > 0) throw new Error(`no scenario ${unknown.join(', ')}; see --list`);
  const exact = (/** @type {string} */ start) => scenarios.some(({ name }) => name === start);
  return scenarios.filter((scenario) =>
    wanted.some((start) => (exact(start) ? scenario.name === start : named(scenario, start))),
  );
}

/**
 * @param {Scenario} scenario
 * @param {import('./options.mjs').Options} options
 * @returns {Timing}
 */
export function timing(scenario, { quick, seconds }) {
  return {
    seconds: seconds ?? (quick ? scenario.quickSeconds : scenario.seconds),
    warmup: quick ? QUICK_WARMUP : WARMUP,
  };
}
