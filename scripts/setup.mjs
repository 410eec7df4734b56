/**
 * Brings a fresh clone to the point where it runs: installs the development dependencies and
 * builds the addon, each only where it is missing or older than its sources. `npm start`,
 * `npm test` and `npm run bench` call it, so each of them works as the first command.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { binaryOf, runningPlatform } from './platforms.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

function run(command, args) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (error?.code === 'ENOENT') {
    console.error(
      `\n"${command}" was not found. Building from a clone needs Node >= 20 and cargo.`,
    );
    process.exit(1);
  }
  if (status !== 0) process.exit(status ?? 1);
}

function modified(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

/** When the newest file below `path` was changed. */
function newest(path) {
  if (!existsSync(path)) return 0;
  if (!statSync(path).isDirectory()) return modified(path);
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name))));
}

const installed = join(root, 'node_modules', '.package-lock.json');
if (modified(installed) < modified(join(root, 'package-lock.json'))) {
  // Not `npm install`, which may write the lock file.
  run('npm', ['ci', '--no-audit', '--no-fund']);
}

// Those of other platforms say nothing about this one's.
const binary = join(root, binaryOf(runningPlatform()));
const built = modified(binary);
const sources = ['src', 'Cargo.toml', 'Cargo.lock', 'build.rs'].map((name) =>
  newest(join(root, name)),
);
if (built < Math.max(...sources)) run('npm', ['run', 'build']);
