/** Programs from PyPI, each set of them in an environment of its own. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { install, TOOLS } from './lacking.mjs';

/**
 * The folder with the programs that `NAME-requirements.txt` beside this file asks for, by version and hash;
 * they are installed where they are not there.
 *
 * @param {string} name
 */
export function programsOf(name) {
  const requirements = fileURLToPath(new URL(`${name}-requirements.txt`, import.meta.url));
  const hash = createHash('sha256').update(readFileSync(requirements)).digest('hex');
  // The versions are in its name, so that other ones get an environment of their own.
  const folder = join(TOOLS, `${name}-${hash.slice(0, 8)}`);
  const bin = join(folder, process.platform === 'win32' ? 'Scripts' : 'bin');
  const done = join(folder, 'done');
  if (existsSync(done)) return bin;
  install(name, 'python3', ['-m', 'venv', '--clear', folder]);
  install(name, join(bin, 'pip'), [
    ...['install', '--quiet', '--disable-pip-version-check', '--only-binary', ':all:'],
    ...['--require-hashes', '--requirement', requirements],
  ]);
  mkdirSync(done);
  return bin;
}
