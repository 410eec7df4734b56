/** The tarballs of the main package and of those of the platforms: what is tested is what is published. */
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
import { binaryOf, PLATFORMS } from './platforms.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Packs all packages, the main one first; throws where a file is missing.
 *
 * @param {string} destination The folder that the tarballs go to.
 * @param {object} from
 * @param {string[]} from.binaries The files that may be binaries; those of a platform go by their names.
 * @param {string} from.repository The address that the manifests lead to.
 * @param {string} [from.placeholder] What stands in for a binary that is missing.
 * @returns {{ name: string, tarball: string, size: number, files: string[] }[]}
 */
export function packAll(destination, { binaries, repository, placeholder }) {
  const stage = mkdtempSync(join(tmpdir(), 'pack-'));
  try {
    writeMain(stage, repository);
    const script = join(root, 'scripts/platform-packages.mjs');
    run(process.execPath, [script, '--release', '--folder', stage], root);
    for (const platform of PLATFORMS) {
      const name = binaryOf(platform);
      const binary = binaries.find((file) => basename(file) === name);
      const place = join(stage, 'npm', platform.name, name);
      if (binary) cpSync(binary, place);
      else if (placeholder) writeFileSync(place, placeholder);
      else throw new Error(`there is no ${name}`);
    }
    mkdirSync(destination, { recursive: true });
    const folders = [stage, ...PLATFORMS.map(({ name }) => join(stage, 'npm', name))];
    return folders.map((folder) => pack(folder, resolve(destination)));
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** The files in a folder, and below it, with their paths. */
export function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

function writeMain(stage, repository) {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  // The bill of materials is written there.
  const names = [...manifest.files, 'README.md', 'LICENSE'].filter((name) =>
    existsSync(join(root, name)),
  );
  for (const name of names) cpSync(join(root, name), join(stage, name), { recursive: true });
  const address = repository.replace(/\.git$/, '');
  const readme = join(stage, 'README.md');
  const text = readFileSync(readme, 'utf8');
  writeFileSync(readme, withAbsoluteLinks(text, `${address}/blob/v${manifest.version}`));
  const released = {
    ...manifest,
    repository: { type: 'git', url: `git+${address}.git` },
    homepage: `${address}#readme`,
    bugs: { url: `${address}/issues` },
    // Not in a clone, which would ask a registry for names that nobody may own yet.
    optionalDependencies: Object.fromEntries(
      PLATFORMS.map(({ name }) => [`${manifest.name}-${name}`, manifest.version]),
    ),
  };
  writeFileSync(join(stage, 'package.json'), `${JSON.stringify(released, null, 2)}\n`);
}

/** Links to what is in the repository and not in the package lead to the sources of this version. */
function withAbsoluteLinks(markdown, sources) {
  return markdown.replace(/\]\((?!\w+:|#)/g, `](${sources}/`);
}

/** Packs a folder, and looks that all that its manifest names is in the tarball. */
function pack(folder, destination) {
  const { files: named } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const shell = process.platform === 'win32';
  const output = run('npm', ['pack', '--json', '--pack-destination', destination], folder, shell);
  const [{ name, filename, size, files }] = JSON.parse(output);
  const paths = files.map(({ path }) => path);
  for (const wanted of [...named, 'package.json', 'README.md', 'LICENSE']) {
    if (!paths.some((path) => path === wanted || path.startsWith(`${wanted}/`))) {
      throw new Error(`${filename} has no ${wanted}`);
    }
  }
  return { name, tarball: join(destination, filename), size, files: paths };
}

function run(command, args, cwd, shell = false) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    ...{ cwd, shell, encoding: 'utf8', maxBuffer: 1 << 26 },
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${stderr}`);
  return stdout;
}
