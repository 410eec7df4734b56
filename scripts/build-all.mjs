/**
 * Builds the addon for every platform that this machine can build for, and says of the others what is
 * lacking: `npm run build:all`. Three minutes each.
 */
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { binaryOf, PLATFORMS } from './platforms.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const table = {};
for (const platform of PLATFORMS) table[platform.name] = build(platform);
console.table(table);
const wanted = Object.entries(table).filter(([name]) => !name.startsWith('win32'));
process.exitCode = wanted.every(([, { built }]) => built === 'yes') ? 0 : 1;

function build(platform) {
  // Microsoft's libraries are nowhere but on Windows.
  if (platform.os === 'win32' && process.platform !== 'win32') {
    return { built: 'no: needs the linker and the libraries of Microsoft' };
  }
  const args = [join(root, 'scripts/build.mjs'), '--portable', platform.name];
  const { status, stderr } = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  if (status !== 0) {
    const lines = stderr.trim().split('\n');
    return { built: `no: ${lines.find((line) => line.startsWith('Not built')) ?? lines.at(-1)}` };
  }
  return { built: 'yes', bytes: statSync(join(root, binaryOf(platform))).size };
}
