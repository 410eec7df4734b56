#!/usr/bin/env node
/**
 * Compares WebSocket servers on this machine: `node bench/run.mjs --help`.
 *
 * The map: `lib/options` reads the command line, `lib/prepare` installs and builds,
 * `lib/catalogue`, `lib/presets` and `lib/scenarios` say what is measured, `lib/peers` who is
 * measured, `lib/measure` does one measurement with `lib/server` and `lib/generator`, `lib/machine`
 * watches the machine, `lib/statistics` and `lib/report` make the table, and `lib/docs` the page.
 */
import process from 'node:process';
import { selectScenarios, timing } from './lib/catalogue.mjs';
import { describeMachine } from './lib/machine.mjs';
import { measure } from './lib/measure.mjs';
import { parseOptions } from './lib/options.mjs';
import { selectPeers } from './lib/peers.mjs';
import { prepare } from './lib/prepare.mjs';
import { presets } from './lib/presets.mjs';
import { formatMarkdown, formatNumber, formatTable, writeJson } from './lib/report.mjs';
import { summarize } from './lib/statistics.mjs';

/** @param {string} line progress and remarks; stdout has only the table */
const say = (line) => process.stderr.write(`${line}\n`);

let failures = 0;
const options = parseOptions(process.argv.slice(2));
try {
  await (options.redraw ? redraw() : run());
} catch (error) {
  say(/** @type {Error} */ (error).message);
  process.exitCode = 1;
}

async function run() {
  const scenarios = selectScenarios(options);
  prepare(options, say);
  const peers = selectPeers(options, say);
  const { jobs, leftOut } = plan(scenarios, peers);
  say(`${jobs.length} measurements, about ${minutes(jobs)} min on a quiet machine`);
  const samples = await measureAll(jobs);
  const rows = summarize(samples, peers[0].name);
  const machine = describeMachine(peers);

  process.stdout.write((options.markdown ? formatMarkdown : formatTable)(rows, machine));
  say(`\nAll samples: ${writeJson({ machine, options, rows, samples })}`);
  const wrong = failures > 0 || samples.some(({ errors }) => errors > 0);
  process.exitCode = wrong ? 1 : 0;
  const { rounds, quietCheck } = options;
  if (!options.docs) return;
  const { beside } = await import('./lib/docs/index.mjs');
  const results = { machine, rows, rounds, quietCheck, failures, leftOut };
  await writeDocs(beside(results, presets[options.preset].part));
}

async function redraw() {
  prepare(options, say);
  const { readResults } = await import('./lib/docs/index.mjs');
  await writeDocs(readResults());
}

/** @param {import('./lib/docs/index.mjs').Results} results */
async function writeDocs(results) {
  // Not before: what it draws with is installed for it only.
  const docs = await import('./lib/docs/index.mjs');
  const { files, unexplained } = await docs.write(results);
  say(`Written: ${files.join(', ')}`);
  for (const line of unexplained) say(`lib/docs/reasons.mjs does not say why: ${line}`);
}

/** @typedef {Omit<Parameters<typeof measure>[0], 'say'>} Job */

/**
 * Every scenario, round by round, the peers taking turns within a round; and what cannot be run here.
 * @param {import('./lib/scenarios.mjs').Scenario[]} scenarios
 * @param {import('./lib/peers.mjs').Peer[]} peers
 */
function plan(scenarios, peers) {
  const leftOut = scenarios.flatMap(({ title, cannotRun }) => {
    const reason = cannotRun?.();
    return reason ? [`${title}: ${reason}`] : [];
  });
  for (const line of leftOut) say(`Left out: ${line}`);
  const encrypted = scenarios.some(({ variant }) => variant === 'tls');
  for (const { name, speaksTls, options: set } of peers) {
    if (!encrypted || speaksTls !== false || set) continue;
    say(`${name} has no option tls: with TLS, only ${name}+https can take part`);
  }
  const jobs = scenarios
    .filter(({ cannotRun }) => !cannotRun?.())
    .flatMap((scenario) => turns(scenario, peers));
  return { jobs, leftOut };
}

/**
 * @param {import('./lib/scenarios.mjs').Scenario} scenario
 * @param {import('./lib/peers.mjs').Peer[]} peers
 * @returns {Job[]}
 */
function turns(scenario, peers) {
  const { quietCheck } = options;
  const { only = {} } = presets[options.preset];
  const takePart = peers.filter(
    (peer) => canTakePart(peer, scenario) && (only[peer.name]?.includes(scenario.name) ?? true),
  );
  const rounds = Array.from({ length: options.rounds }, (_, index) => index + 1);
  return rounds.flatMap((round) =>
    takePart.map((peer) => ({
      scenario,
      peer,
      round,
      timing: timing(scenario, options),
      quietCheck,
    })),
  );
}

/**
 * @param {import('./lib/peers.mjs').Peer} peer
 * @param {import('./lib/scenarios.mjs').Scenario} scenario
 */
function canTakePart(peer, scenario) {
  if (peer.behindHttps && scenario.variant !== 'tls') return false;
  // It would measure the same again where nothing is joined.
  if ((peer.joined || peer.adapter) && !scenario.start) return false;
  if (peer.cannot?.some((start) => scenario.name.startsWith(start))) return false;
  return scenario.canMeasure(peer);
}

/** @param {Job[]} jobs */
function minutes(jobs) {
  const seconds = jobs.reduce((sum, { scenario, timing }) => sum + scenario.duration(timing), 0);
  return Math.ceil(seconds / 60);
}

/** @param {Job[]} jobs */
async function measureAll(jobs) {
  /** @type {import('./lib/measure.mjs').Sample[]} */
  const collected = [];
  for (const [index, job] of jobs.entries()) {
    const { scenario, peer, round } = job;
    const label = `[${index + 1}/${jobs.length}] ${scenario.title}, ${peer.name}, round ${round}`;
    const sample = await attempt(job, (remark) => say(`${label}: ${remark}`));
    if (sample) collected.push(sample);
  }
  return collected;
}

/**
 * One measurement. A server or a generator that fails costs this measurement, not the run.
 * @param {Job} job
 * @param {(remark: string) => void} remark
 */
async function attempt(job, remark) {
  try {
    const sample = await measure({ ...job, say: remark });
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
