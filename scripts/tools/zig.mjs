/** zig as the linker and the C compiler for other platforms, with cargo-zigbuild: both from PyPI. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { install, Lacking, TOOLS } from './lacking.mjs';

const REQUIREMENTS = fileURLToPath(new URL('requirements.txt', import.meta.url));

/** The folder that has `cargo-zigbuild`; installed where it is not there. */
export function zig() {
  if (process.platform === 'win32') throw new Lacking('no builds for other platforms on Windows');
  const hash = createHash('sha256').update(readFileSync(REQUIREMENTS)).digest('hex');
  // The versions are in its name, so that other ones get an environment of their own.
  const folder = join(TOOLS, `zig-${hash.slice(0, 8)}`);
  const bin = join(folder, 'bin');
  if (!existsSync(join(bin, 'cargo-zigbuild'))) {
    install('zig', 'python3', ['-m', 'venv', folder]);
    install('zig', join(bin, 'pip'), [
      ...['install', '--quiet', '--disable-pip-version-check', '--only-binary', ':all:'],
      ...['--require-hashes', '--requirement', REQUIREMENTS],
    ]);
  }
  return bin;
}
