/**
 * Runs the specs under every Node version that is supported, and under Bun:
 *
 *     npm run test:matrix                              # all of them, some twenty minutes
 *     npm run test:matrix -- 22 bun                    # these
 *     npm run test:matrix -- 26 --project tls rooms    # what follows is for vitest
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cache, runtime, runtimes } from './runtimes.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const vitest = join(root, 'node_modules/vitest/vitest.mjs');

/** Bun has no descriptors that could be taken over, so there is no third way. */
const inBun = [
  '--bun',
  vitest,
  ...['once', 'bridge', 'tls'].flatMap((name) => ['--project', name]),
];

const given = process.argv.slice(2);
const split = given.findIndex((argument) => !runtimes.includes(argument));
const chosen = split < 0 ? given : given.slice(0, split);
const forVitest = split < 0 ? [] : given.slice(split);

/** Runs the specs under one runtime and returns a line of the table. */
function run(name) {
  const binary = runtime(name);
  const report = join(cache, `${name}.json`);
  rmSync(report, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const args = [...(name === 'bun' ? inBun : [vitest]), 'run', ...reporters, ...forVitest];
  const env = { ...process.env, PATH: dirname(binary) + delimiter + process.env.PATH };
  const started = Date.now();
  const { status } = spawnSync(binary, args, { cwd: root, env, stdio: 'inherit' });
  const seconds = Math.round((Date.now() - started) / 1000);
  const { stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8' });
  const line = { version: stdout?.trim(), passed: 0, failed: 0, skipped: 0, seconds };
  if (existsSync(report)) {
    const results = JSON.parse(readFileSync(report, 'utf8'));
    line.passed = results.numPassedTests;
    line.failed = results.numFailedTests;
    line.skipped = results.numPendingTests;
  }
  return { ...line, result: status === 0 ? 'passed' : 'FAILED' };
}

const table = {};
for (const name of chosen.length > 0 ? chosen : runtimes) table[name] = run(name);
console.table(table);
process.exitCode = Object.values(table).every(({ result }) => result === 'passed') ? 0 : 1;
