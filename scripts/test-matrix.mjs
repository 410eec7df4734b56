/**
 * Runs the specs under every Node version that is supported, and under Bun:
 *
 *     npm run test:matrix                              # all of them, some twenty minutes
 *     npm run test:matrix -- 22 bun                    # these
 *     npm run test:matrix -- 26 --project tls rooms    # what follows is for vitest
 *
 * The binaries come from npm, each into a folder of its own below `node_modules/.cache`, and stay
 * there; without that folder, the newest of each line is installed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const cache = join(root, 'node_modules/.cache/test-matrix');
const vitest = join(root, 'node_modules/vitest/vitest.mjs');

const windows = process.platform === 'win32';
const system = `${windows ? 'win' : process.platform}-${process.arch}`;

/** What runs the specs, by its name on the command line. */
const runtimes = new Map([
  ...['20', '22', '24', '26'].map((major) => [
    major,
    {
      install: `node-${system}@${major}`,
      binary: `node-${system}/bin/node${windows ? '.exe' : ''}`,
      args: [vitest],
    },
  ]),
  [
    'bun',
    {
      install: 'bun',
      binary: 'bun/bin/bun.exe', // on every system
      // Bun has no descriptors that could be taken over, so there is no third way.
      args: ['--bun', vitest, ...['once', 'bridge', 'tls'].flatMap((name) => ['--project', name])],
    },
  ],
]);

const given = process.argv.slice(2);
const split = given.findIndex((argument) => !runtimes.has(argument));
const chosen = split < 0 ? given : given.slice(0, split);
const forVitest = split < 0 ? [] : given.slice(split);

/** Path of a runtime's binary, installed where it is not there. */
function binaryOf(name) {
  const { install, binary } = runtimes.get(name);
  const folder = join(cache, name);
  const path = join(folder, 'node_modules', binary);
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
    const args = ['install', '--no-audit', '--no-fund', install];
    spawnSync('npm', args, { cwd: folder, stdio: 'inherit', shell: windows });
  }
  return path;
}

/** Runs the specs under one runtime and returns a line of the table. */
function run(name) {
  const binary = binaryOf(name);
  const report = join(cache, `${name}.json`);
  rmSync(report, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const args = [...runtimes.get(name).args, 'run', ...reporters, ...forVitest];
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
for (const name of chosen.length > 0 ? chosen : runtimes.keys()) table[name] = run(name);
console.table(table);
process.exitCode = Object.values(table).every(({ result }) => result === 'passed') ? 0 : 1;
