/** One measurement: a fresh server, a look at the machine, the scenario. */
import { foreignLoad } from './machine.mjs';
import { startServer } from './server.mjs';

/** Foreign load above which a measurement is repeated, in cores. */
const QUIET = 0.2;

/** How often at most. */
const REPEATS = 2;

/** A load generator that is busier than this, in cores, may itself be what limits the figure. */
const SATURATED = 0.9;

/**
 * One figure of a measurement.
 * @typedef {object} Result
 * @property {string} id what it is a figure of
 * @property {string} title the same for people
 * @property {number} value
 * @property {string} unit
 * @property {'more' | 'less'} better
 * @property {number} [cpu] the server's CPU time per message in µs, all threads
 * @property {number} [javascript] that of its JavaScript thread
 * @property {Record<string, number | undefined>} details by label with unit
 */

/**
 * @typedef {object} Sample
 * @property {string} scenario
 * @property {string} peer
 * @property {number} round
 * @property {Result[]} results
 * @property {number} errors
 * @property {string} firstError what they are, where there are any
 * @property {number} [foreign] load of others on the machine, in cores
 * @property {boolean} noisy whether that was too much, repeats included
 * @property {boolean} clientBound whether the load generator had no time left
 * @property {any} report what the load generator said
 */

/**
 * Measures; repeats where others keep the machine busy, and returns the quietest attempt.
 * @param {object} job
 * @param {import('./scenarios.mjs').Scenario} job.scenario
 * @param {import('./peers.mjs').Peer} job.peer
 * @param {number} job.round
 * @param {import('./scenarios.mjs').Timing} job.timing
 * @param {boolean} job.quietCheck
 * @param {(remark: string) => void} job.say
 * @returns {Promise<Sample>}
 */
export async function measure(job) {
  let best = await attempt(job);
  for (let repeat = 1; best.noisy && repeat <= REPEATS; repeat++) {
    const percent = Math.round((best.foreign ?? 0) * 100);
    job.say(`foreign load of ${percent} % of a core, measuring again (${repeat} of ${REPEATS})`);
    const next = await attempt(job);
    if ((next.foreign ?? 0) < (best.foreign ?? 0)) best = next;
  }
  return best;
}

/**
 * @param {Parameters<typeof measure>[0]} job
 * @returns {Promise<Sample>}
 */
async function attempt({ scenario, peer, round, timing, quietCheck }) {
  const server = await (scenario.start?.(peer) ?? startServer(peer, scenario.server?.()));
  try {
    const own = Object.values(server.pids ?? [server.pid]).filter((pid) => pid !== undefined);
    const before = quietCheck ? await foreignLoad(own) : undefined;
    const report = await scenario.run(server, timing);
    const loads = [before, ...(quietCheck ? foreignDuring(report) : [])].filter(
      (it) => it !== undefined,
    );
    const foreign = loads.length > 0 ? Math.max(...loads) : undefined;
    return {
      scenario: scenario.name,
      peer: peer.name,
      round,
      results: scenario.results(report),
      errors: report.errors + (report.lost ?? 0),
      firstError: report.first_end ?? report.first_error ?? 'lost or wrong messages',
      foreign,
      noisy: (foreign ?? 0) > QUIET,
      clientBound: cpuWindows(report).some(
        ({ cpu, seconds }) => cpu.generator_us / 1e6 / seconds > SATURATED,
      ),
      report,
    };
  } finally {
    await server.stop();
  }
}

/**
 * What others used in the measured windows, in cores. Unknown where the server's own share is.
 * @param {any} report
 * @returns {(number | undefined)[]}
 */
function foreignDuring(report) {
  return cpuWindows(report).map(({ cpu, seconds }) => {
    const { machine_us, generator_us, kernel_us } = cpu;
    const server_us = cpu.server_us ?? cpuOfProcesses(report);
    if (machine_us === null || server_us === null || kernel_us === null) return undefined;
    return Math.max(0, machine_us - server_us - generator_us - kernel_us) / 1e6 / seconds;
  });
}

/**
 * What several servers used together, in microseconds.
 * @param {any} report
 * @returns {number | null}
 */
function cpuOfProcesses({ processes = {} }) {
  const times = Object.values(processes).map(({ cpu_us }) => cpu_us);
  const known = times.length > 0 && !times.includes(null);
  return known ? times.reduce((sum, time) => sum + time, 0) : null;
}

/**
 * CPU times in microseconds, as the load generator reports them.
 * @typedef {object} CpuUse
 * @property {number | null} machine_us
 * @property {number | null} server_us
 * @property {number} generator_us
 * @property {number | null} kernel_us of the kernel's own threads
 */

/**
 * The measured windows of a report that have CPU times.
 * @param {any} report
 * @returns {{ seconds: number, cpu: CpuUse }[]}
 */
function cpuWindows(report) {
  const windows = report.phases ?? [report];
  return windows.filter((/** @type {any} */ { cpu }) => cpu !== undefined);
}
