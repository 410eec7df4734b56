/** Makes the tarballs that a release would publish, from the binaries that were built here. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { npm, root } from './command.mjs';

/** What stands in for a binary that was not built here. Loading it fails. */
const PLACEHOLDER = 'not built on this machine';

/**
 * Packs the main package and, after it, those of all platforms.
 *
 * @param {string} folder Where the tarballs go.
 * @returns Of each package its name, the path of its tarball, and the files in that.
 */
export function packPackages(folder) {
  const stage = path.join(folder, 'stage');
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  for (const name of [...manifest.files, 'package.json', 'README.md', 'LICENSE', 'npm']) {
    cpSync(path.join(root, name), path.join(stage, name), { recursive: true });
  }
  const platforms = readdirSync(path.join(stage, 'npm'));
  for (const platform of platforms) {
    placeBinary(stage, manifest.napi.binaryName, platform);
    cpSync(path.join(root, 'LICENSE'), path.join(stage, 'npm', platform, 'LICENSE'));
  }

  // Writes the optional dependencies into the manifest, which a clone must not have: nobody owns
  // their names until they are published.
  npm(['run', 'prepublishOnly'], { cwd: stage });

  const folders = ['.', ...platforms.map((platform) => `./npm/${platform}`)];
  return packFolders(stage, folders, folder);
}

function placeBinary(stage, binaryName, platform) {
  const file = `${binaryName}.${platform}.node`;
  const destination = path.join(stage, 'npm', platform, file);
  const built = path.join(root, file);
  if (existsSync(built)) cpSync(built, destination);
  else if (!existsSync(destination)) writeFileSync(destination, PLACEHOLDER);
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
  const manifest = { name: 'nextrush', version: '0.0.0', main: 'index.js', types: 'index.d.ts' };
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
