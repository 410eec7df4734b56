/** Installs and builds what the bench itself needs; never the addon. */
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { benchDirectory, inBench } from './paths.mjs';
import { optionalPeers } from './peers.mjs';

/**
 * Brings `bench/node_modules` and the load generator up to date. Peers that are large or may not
 * install everywhere, and what draws plots, come only when they are asked for.
 * @param {import('./options.mjs').Options} options
 * @param {(line: string) => void} say
 */
export function prepare(options, say) {
  const wanted = {
    optional: options.peers.some((name) => optionalPeers.includes(name)),
    dev: options.docs,
  };
  // A package of each group tells whether the group is there.
  const installed = { optional: hasPackage('bun'), dev: hasPackage('vega') };
  const groups = /** @type {const} */ (['optional', 'dev']);
  if (!isInstalled() || groups.some((group) => wanted[group] && !installed[group])) {
    say('Installing the peers (npm ci in bench/) …');
    const choice = groups.map((group) =>
      wanted[group] || installed[group] ? `--include=${group}` : `--omit=${group}`,
    );
    run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error', ...choice]);
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

/** @param {string} name */
const hasPackage = (name) => existsSync(inBench('node_modules', name));

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
