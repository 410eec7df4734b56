/**
 * Versions of Node, and Bun, to test with. The binaries come from npm, each into a folder of its own
 * below `node_modules/.cache`, and stay there; without that folder, the newest of each line is installed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
export const cache = join(root, 'node_modules/.cache/test-matrix');

const windows = process.platform === 'win32';
const system = `${windows ? 'win' : process.platform}-${process.arch}`;

/** The lines of Node that are supported. */
export const NODE_LINES = ['20', '22', '24', '26'];

const packages = new Map([
  ...NODE_LINES.map((line) => [
    line,
    {
      install: `node-${system}@${line}`,
      binary: `node-${system}/bin/node${windows ? '.exe' : ''}`,
    },
  ]),
  // The name of the binary is this on every system.
  ['bun', { install: 'bun', binary: 'bun/bin/bun.exe' }],
]);

/** Names of what can be installed. */
export const runtimes = [...packages.keys()];

/** Path of a runtime's binary, installed where it is not there. */
export function runtime(name) {
  const { install, binary } = packages.get(name);
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
