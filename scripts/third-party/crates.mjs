/** The crates that cargo builds, with where their files are; by cargo itself, from the lock file. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * @typedef {object} Crate
 * @property {string} name
 * @property {string} version
 * @property {string} license An SPDX expression.
 * @property {string} folder Where its files are.
 * @property {string[]} authors
 * @property {string} [repository]
 * @property {string} [checksum] SHA-256 of what the registry has of it.
 */

/** Every crate of the lock file, of builds and tests and other platforms too, by name and version. */
export function everyCrate() {
  const checksums = checksumsOf(readFileSync(join(root, 'Cargo.lock'), 'utf8'));
  const { packages } = JSON.parse(cargo('metadata', '--format-version', '1'));
  return new Map(
    packages
      // Our own has no source.
      .filter(({ source }) => source !== null)
      .map(({ name, version, license, manifest_path, authors, repository }) => {
        const crate = {
          ...{ name, version, authors, checksum: checksums.get(`${name} ${version}`) },
          // A slash is how it was written before SPDX.
          license: license?.replaceAll(/\s*\/\s*/g, ' OR '),
          repository: repository ?? undefined,
          folder: dirname(manifest_path),
        };
        return [`${name} ${version}`, crate];
      }),
  );
}

/**
 * The crates that are in the binary of a platform: neither those that only build it, nor macros.
 *
 * @param {string} triple
 * @param {Map<string, Crate>} crates
 * @returns {{ crates: Crate[], dependencies: Map<string, Set<string>> }} `dependencies`: by name and
 *   version, as in `crates`; the package itself is there by its own.
 */
export function cratesInBinary(triple, crates) {
  const edges = 'normal,no-proc-macro';
  const format = ['--prefix', 'depth', '--format', ' {p}'];
  const tree = cargo('tree', '--edges', edges, '--target', triple, ...format);
  const dependencies = new Map();
  const path = [];
  for (const line of tree.trim().split('\n')) {
    const [, depth, name, version] = /^(\d+) (\S+) v(\S+)/.exec(line);
    const id = `${name} ${version}`;
    path.length = Number(depth);
    dependencies.get(path.at(-1))?.add(id);
    path.push(id);
    if (!dependencies.has(id)) dependencies.set(id, new Set());
  }
  const found = [...dependencies.keys()].slice(1).sort();
  return { crates: found.map((id) => crates.get(id)), dependencies };
}

function checksumsOf(lock) {
  const entry = /name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"/g;
  return new Map(
    [...lock.matchAll(entry)].map(([, name, version, sum]) => [`${name} ${version}`, sum]),
  );
}

function cargo(command, ...args) {
  const options = { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 };
  return execFileSync('cargo', [command, '--locked', ...args], {
    ...options,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}
