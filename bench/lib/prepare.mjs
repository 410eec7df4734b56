/** Installs and builds what the bench itself needs; never the addon. */
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { benchDirectory, bunBinary, inBench } from './paths.mjs';

/**
 * Brings `bench/node_modules` and the load generator up to date.
 * @param {import('./options.mjs').Options} options
 * @param {(line: string) => void} say
 */
export function prepare(options, say) {
  const wantsBun = options.peers.includes('bun');
  if (!isInstalled() || (wantsBun && !existsSync(bunBinary))) {
    say('Installing the peers (npm ci in bench/) …');
    // Bun is 100 MB: it comes only when it is asked for.
    const optional = wantsBun ? '--include=optional' : '--omit=optional';
    run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error', optional]);
  }
  say('Building the load generator (cargo build --release) …');
  run('cargo', [
    'build',
    '--release',
    '--locked',
    '--quiet',
    '--manifest-path',
    inBench('load/Cargo.toml'),
  ]);
}

/** Whether `node_modules` is there and not older than the lock file. */
function isInstalled() {
  const installed = inBench('node_modules/.package-lock.json');
  if (!existsSync(installed)) return false;
  return statSync(installed).mtimeMs >= statSync(inBench('package-lock.json')).mtimeMs;
}

/**
 * @param {string} command
 * @param {string[]} args
 */
function run(command, args) {
  const { status, error } = spawnSync(command, args, {
    cwd: benchDirectory,
    // Everything to stderr: stdout has only the table.
    stdio: ['ignore', 2, 2],
  });
  if (error) throw new Error(`${command} could not be started: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed with status ${status}`);
}
