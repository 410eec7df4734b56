#!/usr/bin/env node
/**
 * Compares WebSocket servers on this machine: `node bench/run.mjs --help`.
 *
 * The map: `lib/options` reads the command line, `lib/prepare` installs and builds,
 * `lib/scenarios` says what is measured, `lib/peers` who is measured, `lib/measure` does one
 * measurement with `lib/server` and `lib/generator`, `lib/machine` watches the machine, and
 * `lib/statistics` and `lib/report` make the table.
 */
import process from 'node:process';
import { describeMachine } from './lib/machine.mjs';
import { measure } from './lib/measure.mjs';
import { parseOptions } from './lib/options.mjs';
import { selectPeers } from './lib/peers.mjs';
import { prepare } from './lib/prepare.mjs';
import { formatMarkdown, formatNumber, formatTable, writeJson } from './lib/report.mjs';
import { selectScenarios, timing } from './lib/scenarios.mjs';
import { summarize } from './lib/statistics.mjs';

/** @param {string} line progress and remarks; stdout has only the table */
const say = (line) => process.stderr.write(`${line}\n`);

let failures = 0;
const options = parseOptions(process.argv.slice(2));
try {
  await run();
} catch (error) {
  say(/** @type {Error} */ (error).message);
  process.exitCode = 1;
}

async function run() {
  const scenarios = selectScenarios(options);
  prepare(options, say);
  const peers = selectPeers(options, say);
  const samples = await measureAll(scenarios, peers);
  const rows = summarize(samples, peers[0].name);
  const machine = describeMachine(peers);

  process.stdout.write((options.markdown ? formatMarkdown : formatTable)(rows, machine));
  say(`\nAll samples: ${writeJson({ machine, options, rows, samples })}`);
  const wrong = failures > 0 || samples.some(({ errors }) => errors > 0);
  process.exitCode = wrong ? 1 : 0;
}

/**
 * Every scenario, round by round, the peers taking turns within a round.
 * @param {import('./lib/scenarios.mjs').Scenario[]} scenarios
 * @param {import('./lib/peers.mjs').Peer[]} peers
 */
async function measureAll(scenarios, peers) {
  /** @type {import('./lib/measure.mjs').Sample[]} */
  const collected = [];
  const total = scenarios.length * options.rounds * peers.length;
  let number = 0;
  for (const scenario of scenarios) {
    for (let round = 1; round <= options.rounds; round++) {
      for (const peer of peers) {
        const label = `[${++number}/${total}] ${scenario.title}, ${peer.name}, round ${round}`;
        if (!scenario.canMeasure(peer)) {
          say(`${label}: left out, needs a server of our own`);
          continue;
        }
        const sample = await attempt(scenario, peer, round, (remark) => say(`${label}: ${remark}`));
        if (sample) collected.push(sample);
      }
    }
  }
  return collected;
}

/**
 * One measurement. A server or a generator that fails costs this measurement, not the run.
 * @param {import('./lib/scenarios.mjs').Scenario} scenario
 * @param {import('./lib/peers.mjs').Peer} peer
 * @param {number} round
 * @param {(remark: string) => void} remark
 */
async function attempt(scenario, peer, round, remark) {
  const { quietCheck } = options;
  try {
    const job = {
      scenario,
      peer,
      round,
      timing: timing(scenario, options),
      quietCheck,
      say: remark,
    };
    const sample = await measure(job);
    remark(describe(sample));
    return sample;
  } catch (error) {
    failures++;
    remark(`FAILED: ${/** @type {Error} */ (error).message}`);
    return undefined;
  }
}

/** @param {import('./lib/measure.mjs').Sample} sample */
function describe(sample) {
  const values = sample.results.map(({ value, unit }) => `${formatNumber(value)} ${unit}`);
  const errors = sample.errors > 0 ? ` — ${sample.errors} ERRORS: ${sample.firstError}` : '';
  return values.join(' · ') + errors;
}
