/** Makes the tarballs that a release would publish, from the binaries that were built here. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { packAll } from '../scripts/tarballs.mjs';
import { npm, root } from './command.mjs';

/** What stands in for a binary that was not built here. Loading it fails. */
const PLACEHOLDER = 'not built on this machine';

/** Where nothing is. */
const REPOSITORY = 'https://repository.invalid/nextrush-websocket';

/**
 * Packs the main package and, after it, those of all platforms.
 *
 * @param {string} folder Where the tarballs go.
 * @returns Of each package its name, the path of its tarball, and the files in that.
 */
export function packPackages(folder) {
  const built = readdirSync(root).filter((name) => name.endsWith('.node'));
  const binaries = built.map((name) => path.join(root, name));
  return packAll(folder, { binaries, repository: REPOSITORY, placeholder: PLACEHOLDER });
}

/** The text of a file in the tarball of a package. */
export function readPacked({ tarball }, file) {
  return execFileSync('tar', ['-xzOf', tarball, `package/${file}`], { encoding: 'utf8' });
}

/**
 * Packs the host of the examples as `nextrush`, whose shape it has and which cannot be installed
 * here. As CommonJS, so that every version of Node can both require and import it.
 *
 * @param {string} folder Where the tarball goes.
 */
export function packHost(folder) {
  const host = path.join(folder, 'nextrush');
  mkdirSync(host);
  const source = path.join(root, 'examples', 'host');
  for (const name of readdirSync(source)) {
    const text = readFileSync(path.join(source, name), 'utf8');
    writeFileSync(path.join(host, name), name.endsWith('.js') ? toCommonJs(text) : text);
  }
  const manifest = { name: 'nextrush', version: '2.0.0', main: 'index.js', types: 'index.d.ts' };
  writeFileSync(path.join(host, 'package.json'), JSON.stringify(manifest));
  return packFolders(host, ['.'], folder);
}

function toCommonJs(text) {
  const compilerOptions = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
  return ts.transpileModule(text, { compilerOptions }).outputText;
}

/** Packs a package that is installed here, one of our development dependencies. */
export function packInstalled(name, folder) {
  return packFolders(path.join(root, 'node_modules', name), ['.'], folder);
}

function packFolders(cwd, folders, destination) {
  const packed = npm(['pack', '--json', '--pack-destination', destination, ...folders], { cwd });
  return JSON.parse(packed).map(({ name, filename, files }) => ({
    name,
    tarball: path.join(destination, filename),
    files: files.map((file) => file.path),
  }));
}
