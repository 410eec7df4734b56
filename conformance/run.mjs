#!/usr/bin/env node
/**
 * Runs the Autobahn test suite against the addon: `node conformance/run.mjs --help`.
 *
 * The map: `python` finds the interpreter and installs the suite, `server` is what is tested, in a
 * process of its own, and `report` reads the suite's report and makes the tables.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { findPython, installSuite, wstest } from './python.mjs';
import { formatDuration, formatTable, readReport, writeMarkdown } from './report.mjs';

const HELP = `node conformance/run.mjs [options]

  --cases A,B      only these, e.g. 1.*,6.4.*,7.1.6 (default: all)
  --minutes N      time limit (default 45)
  --markdown       write docs/conformance.md, after a run of all cases
  --help
`;

/** How the server is called in the reports. */
const AGENT = 'nextrush-websocket';

const NO_PYTHON = `No Python 2.7 was found, and the Autobahn test suite runs on no other.

It is looked for in PYTHON27 (a path), as python2.7 on the PATH, and among pyenv's versions.
pyenv can install it: pyenv install 2.7.18`;

/** Milliseconds between two lines of progress where there is no terminal. */
const PROGRESS_PAUSE = 30_000;

const here = fileURLToPath(new URL('.', import.meta.url));
const reports = path.join(here, 'reports');
const page = path.join(here, '..', 'docs', 'conformance.md');

/** @param {string} line progress and remarks; stdout has only the table */
const say = (line) => process.stderr.write(`${line}\n`);

const options = parseOptions();
try {
  process.exitCode = (await run()) ? 0 : 1;
} catch (error) {
  say(/** @type {Error} */ (error).message);
  process.exitCode = 1;
}

/** The command line; `--help` and mistakes end the process. */
function parseOptions() {
  try {
    const { values } = parseArgs({
      options: {
        cases: { type: 'string', default: '*' },
        minutes: { type: 'string', default: '45' },
        markdown: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(HELP);
      process.exit(0);
    }
    const minutes = Number(values.minutes);
    if (!(minutes > 0)) throw new Error(`--minutes ${values.minutes}: expected a number above 0`);
    const cases = values.cases.split(',').filter(Boolean);
    if (values.markdown && values.cases !== '*') throw new Error('--markdown needs all cases');
    return { cases, minutes, markdown: values.markdown };
  } catch (error) {
    say(`${/** @type {Error} */ (error).message}\n\n${HELP}`);
    process.exit(2);
  }
}

/** Returns whether every case passed. */
async function run() {
  const python = findPython();
  if (python === undefined) throw new Error(NO_PYTHON);
  installSuite(python, say);

  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports);
  const started = performance.now();
  const server = await startServer();
  const suite = await runSuite(python, server);
  const seconds = (performance.now() - started) / 1000;
  const survived = server.child.exitCode === null && server.child.signalCode === null;
  server.child.kill('SIGTERM');

  const cases = readReport(reports, AGENT);
  process.stdout.write(`\n${formatTable(cases)}\n`);
  say(
    `${suite.version || 'No suite'}, ${formatDuration(seconds)}; all frames: conformance/reports/index.html`,
  );
  const problems = findProblems(suite, cases, survived);
  for (const problem of problems) say(`✗ ${problem}`);
  if (options.markdown && cases.length === suite.planned.length) {
    const { version } = JSON.parse(readFileSync(path.join(here, '..', 'package.json'), 'utf8'));
    mkdirSync(path.dirname(page), { recursive: true });
    writeMarkdown(page, cases, { version, node: process.version, suite: suite.version, seconds });
    say('Wrote docs/conformance.md');
  }
  return problems.length === 0;
}

/**
 * What keeps the run from being a success.
 * @param {Suite} suite
 * @param {import('./report.mjs').Case[]} cases
 * @param {boolean} survived
 */
function findProblems(suite, cases, survived) {
  const problems = [];
  const failed = cases.filter(({ passed }) => !passed);
  if (failed.length > 0) problems.push(`${failed.length} cases did not pass`);
  const reported = new Set(cases.map(({ id }) => id));
  const missing = suite.planned.filter((id) => !reported.has(id));
  if (missing.length > 0) problems.push(`no result for ${missing.length}: ${missing.join(', ')}`);
  if (suite.planned.length === 0) problems.push('no case was run');
  if (suite.outOfTime) problems.push(`not done within ${options.minutes} minutes`);
  if (suite.status !== 0) problems.push(`wstest ended with status ${suite.status}`);
  if (!survived) problems.push('the server did not survive');
  return problems;
}

/** Starts the echo server and waits until it listens. */
async function startServer() {
  const child = start(process.execPath, [path.join(here, 'server.mjs')], process.env);
  const lines = createInterface({ input: child.stdout });
  const first = await Promise.race([
    once(lines, 'line'),
    once(child, 'close').then(([code]) => {
      throw new Error(`the server ended with status ${code} before it listened`);
    }),
  ]);
  const { listening } = JSON.parse(first[0]);
  return { child, url: `ws://127.0.0.1:${listening}/` };
}

/**
 * @typedef {object} Suite
 * @property {string[]} planned cases that the suite said it would run
 * @property {string} version
 * @property {number | null} status
 * @property {boolean} outOfTime
 */

/**
 * Lets the suite run its cases; resolves with what it said.
 * @param {string} python
 * @param {{ url: string }} server
 * @returns {Promise<Suite>}
 */
async function runSuite(python, { url }) {
  const specification = path.join(reports, 'fuzzingclient.json');
  const servers = [{ agent: AGENT, url }];
  const spec = { outdir: reports, servers, cases: options.cases, 'exclude-cases': [] };
  writeFileSync(specification, JSON.stringify(spec, null, 2));

  const { command, args, env } = wstest(python, ['-m', 'fuzzingclient', '-s', specification]);
  const child = start(command, args, env);
  /** @type {Suite} */
  const suite = { planned: [], version: '', status: null, outOfTime: false };
  const progress = makeProgress(suite);
  createInterface({ input: child.stdout }).on('line', (line) => readLine(suite, line, progress));
  const timer = setTimeout(() => {
    suite.outOfTime = true;
    child.kill('SIGKILL');
  }, options.minutes * 60_000);
  [suite.status] = await once(child, 'close');
  clearTimeout(timer);
  progress.end();
  return suite;
}

/** Picks out what is of interest in the suite's output. */
function readLine(suite, line, progress) {
  const version = /Testsuite Version (\S+) \/ Autobahn Version (\S+)\)/.exec(line);
  if (version) suite.version = `Autobahn test suite ${version[1]}`;
  const cases = /^Cases = \[(.*)\]$/.exec(line);
  if (cases) suite.planned = [...cases[1].matchAll(/'([\d.]+)'/g)].map(([, id]) => id);
  const running = /^Running test case ID (\S+)/.exec(line);
  if (running) progress.next(running[1]);
  else if (/^Connection to .* failed/.test(line)) say(`\n${line}`);
}

/** One line that is written over on a terminal; elsewhere a line now and then. */
function makeProgress(suite) {
  const { isTTY } = process.stderr;
  let done = 0;
  let lastSaid = -Infinity;
  return {
    next(id) {
      done += 1;
      const text = `${done} of ${suite.planned.length}: case ${id}`;
      if (isTTY) process.stderr.write(`\r\x1b[K${text}`);
      else if (performance.now() - lastSaid > PROGRESS_PAUSE) {
        say(text);
        lastSaid = performance.now();
      }
    },
    end() {
      if (isTTY) process.stderr.write('\r\x1b[K');
    },
  };
}

/** Starts a process that ends with this one; what it says on stderr goes to ours. */
function start(command, args, env) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('close', () => process.off('exit', kill));
  return child;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
