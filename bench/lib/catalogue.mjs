/** What can be measured, and what of it a command line asks for. */
import { across, local, unconcerned } from './cluster-scenarios.mjs';
import { presets } from './presets.mjs';
import {
  broadcast,
  connect,
  crowd,
  echo,
  httplag,
  idle,
  joinLeave,
  linear,
  requests,
} from './scenarios.mjs';

/** @typedef {import('./scenarios.mjs').Scenario} Scenario */

/** Seconds of load before a measurement: enough for V8 to have compiled what is hot. */
const WARMUP = 0.7;

/** The same with --quick. */
const QUICK_WARMUP = 0.4;

/**
 * One scenario for every combination, the last list changing fastest.
 * @template {Record<string, readonly unknown[]>} Lists
 * @param {Lists} lists
 * @returns {{ [Name in keyof Lists]: Lists[Name][number] }[]}
 */
function combinations(lists) {
  let rows = /** @type {any[]} */ ([{}]);
  for (const [name, values] of Object.entries(lists)) {
    rows = rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value })));
  }
  return rows;
}

const echoes = combinations({
  size: [20, 1024, 16_384],
  connections: [1, 4, 64, 500],
  how: [{ inFlight: 1 }, { inFlight: 16 }, { inFlight: 16, burst: true }],
})
  .map(({ how, ...shape }) => ({ ...shape, ...how }))
  .map((shape) => echo({ ...shape, quantiles: quantilesOf(shape) }));

/**
 * What is worth a figure of its own: how long a lone message takes, and how long the unluckiest
 * wait where many connections have much under way.
 * @param {{ size: number, connections: number, inFlight: number, burst?: boolean }} shape
 * @returns {('p50' | 'p99' | 'p999')[]}
 */
function quantilesOf({ size, connections, inFlight, burst }) {
  if (connections < 64) return inFlight === 1 ? ['p50'] : [];
  return burst && size >= 1024 ? ['p99', 'p999'] : [];
}

const broadcasts = combinations({
  members: [1000, 5000, 10_000],
  perCommand: [1, 10],
  size: [64, 1024],
}).map(broadcast);

/** @type {import('./scenarios.mjs').Variant[]} */
const variants = ['deflate', 'tls'];

/** @type {Scenario[]} in the order of measurement */
export const scenarios = [
  ...echoes,
  ...broadcasts,
  ...variants.flatMap((variant) => {
    // Short messages are not compressed.
    const [short, shorter] = variant === 'deflate' ? [1024, 1024] : [64, 20];
    return [
      echo({ connections: 64, inFlight: 1, size: shorter, variant }),
      echo({ connections: 64, inFlight: 16, size: shorter, burst: true, variant }),
      broadcast({ members: 1000, perCommand: 1, size: short, variant }),
    ];
  }),
  ...[100, 300, 1000, 3000, 10_000, 18_000].map(linear),
  joinLeave([
    ...[10, 1000, 10_000].map((members) => ({ members, others: 10 })),
    ...[100, 1000, 10_000].map((others) => ({ members: 10, others })),
  ]),
  idle({ connections: 10_000 }),
  idle({ connections: 10_000, collect: false }),
  idle({ connections: 10_000, variant: 'tls' }),
  crowd({ connections: 18_000, rate: 1 }),
  crowd({ connections: 100_000, rate: 1 }),
  connect({ concurrency: 32 }),
  connect({ concurrency: 32, application: true }),
  connect({ concurrency: 32, variant: 'tls' }),
  requests({ connections: 64 }),
  requests({ connections: 64, variant: 'tls' }),
  httplag({ members: 10_000, rates: [0, 5, 20], size: 64, driver: 'timer' }),
  httplag({ members: 10_000, rates: [5, 20], size: 64, driver: 'commands' }),
  httplag({ members: 5000, rates: [0, 20], size: 64, driver: 'timer', variant: 'tls' }),
  across({ members: 1, size: 64 }),
  across({ members: 1, size: 64, perCommand: 20 }),
  across({ members: 10, size: 64, perCommand: 20 }),
  across({ members: 1000, size: 64 }),
  across({ members: 1000, size: 1024 }),
  across({ members: 1000, size: 64, perCommand: 10 }),
  across({ members: 1000, size: 64, rate: 20 }),
  unconcerned({ size: 64 }),
  local({ members: 1, perCommand: 20 }),
  local({ members: 10, perCommand: 1 }),
  local({ members: 10, perCommand: 20 }),
  local({ members: 1000, perCommand: 1 }),
];

/**
 * The scenarios that the command line asks for.
 * @param {import('./options.mjs').Options} options
 */
export function selectScenarios({ scenarios: wanted, preset, all }) {
  if (wanted.length === 0) {
    const names = new Set(presets[preset].scenarios);
    return scenarios.filter(({ name }) => all || names.has(name));
  }
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
 * @returns {import('./scenarios.mjs').Timing}
 */
export function timing(scenario, { quick, seconds }) {
  return {
    seconds: seconds ?? (quick ? scenario.quickSeconds : scenario.seconds),
    warmup: quick ? QUICK_WARMUP : WARMUP,
  };
}
