/**
 * Makes the tarballs that are published, from the binaries of all platforms:
 *
 *     node scripts/pack.mjs --binaries artifacts --repository https://example.com/owner/name packages
 *
 * `--binaries` is where they were downloaded to, `--repository` what the manifests lead to, and
 * `packages` the folder of the tarballs. What is tested and what is published is the same file.
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { binaryOf, PLATFORMS } from './platforms.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const { values: options, positionals } = parseArgs({
  options: { binaries: { type: 'string' }, repository: { type: 'string' } },
  allowPositionals: true,
});
if (!options.binaries || !options.repository || positionals.length !== 1) {
  console.error('usage: node scripts/pack.mjs --binaries FOLDER --repository URL FOLDER');
  process.exit(2);
}
const destination = resolve(positionals[0]);
const stage = mkdtempSync(join(tmpdir(), 'pack-'));
try {
  writeMain();
  run(process.execPath, [
    join(root, 'scripts/platform-packages.mjs'),
    '--release',
    '--folder',
    stage,
  ]);
  placeBinaries();
  pack();
} finally {
  rmSync(stage, { recursive: true, force: true });
}

function writeMain() {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const name of [...manifest.files, 'README.md', 'LICENSE']) {
    // The bill of materials is written here.
    if (existsSync(join(root, name)))
      cpSync(join(root, name), join(stage, name), { recursive: true });
  }
  const repository = options.repository.replace(/\.git$/, '');
  const released = {
    ...manifest,
    repository: { type: 'git', url: `git+${repository}.git` },
    homepage: `${repository}#readme`,
    bugs: { url: `${repository}/issues` },
    // Not in a clone: it would ask a registry for names that nobody may own yet.
    optionalDependencies: Object.fromEntries(
      PLATFORMS.map(({ name }) => [`${manifest.name}-${name}`, manifest.version]),
    ),
  };
  writeFileSync(join(stage, 'package.json'), `${JSON.stringify(released, null, 2)}\n`);
}

function placeBinaries() {
  const folder = resolve(options.binaries);
  const found = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.node'));
  for (const platform of PLATFORMS) {
    const binary = binaryOf(platform);
    const file = found.find((name) => basename(name) === binary);
    if (!file) fail(`there is no ${binary} in ${folder}`);
    cpSync(join(folder, file), join(stage, 'npm', platform.name, binary));
  }
}

/** Packs each folder, and looks that all that its manifest names is in it. */
function pack() {
  mkdirSync(destination, { recursive: true });
  for (const folder of [...PLATFORMS.map(({ name }) => join(stage, 'npm', name)), stage]) {
    const { files } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const [packed] = JSON.parse(
      run('npm', ['pack', '--json', '--pack-destination', destination], { cwd: folder }),
    );
    const names = packed.files.map(({ path }) => path);
    for (const name of [...files, 'package.json', 'README.md', 'LICENSE']) {
      if (!names.some((path) => path === name || path.startsWith(`${name}/`))) {
        fail(`${packed.filename} has no ${name}`);
      }
    }
    console.log(`${packed.filename}: ${packed.size.toLocaleString('en')} bytes`);
  }
}

function run(command, args, { cwd = root } = {}) {
  const { status, stdout } = spawnSync(command, args, {
    ...{ cwd, encoding: 'utf8', maxBuffer: 1 << 26, stdio: ['ignore', 'pipe', 'inherit'] },
    shell: process.platform === 'win32' && command === 'npm',
  });
  if (status !== 0) fail(`${command} ${args.join(' ')} ended with ${status}`);
  return stdout;
}

function fail(message) {
  rmSync(stage, { recursive: true, force: true });
  console.error(message);
  process.exit(1);
}
