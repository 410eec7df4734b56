/** Empty projects into which the tarballs are installed. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { npm, root } from './command.mjs';

const sources = fileURLToPath(new URL('project', import.meta.url));

export function readManifest() {
  return JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
}

/** The versions in which our own development dependencies are wanted, of some of them. */
export function ours(...names) {
  const { devDependencies } = readManifest();
  return Object.fromEntries(names.map((name) => [name, devDependencies[name]]));
}

/**
 * Installs everything from tarballs, and tools from the registry.
 *
 * @param {string} folder
 * @param packed as `pack.mjs` returns it: `main`, `platforms`, `host`
 * @param {Record<string, string>} tools versions by name
 * @param {Record<string, string>} libraries of those that the application needs when it runs
 */
export function installProject(folder, { main, platforms, host }, tools, libraries = {}) {
  mkdirSync(folder, { recursive: true });
  const tarballs = (packages) =>
    Object.fromEntries(packages.map(({ name, tarball }) => [name, `file:${tarball}`]));
  const manifest = {
    private: true,
    dependencies: { ...tarballs([main, host]), ...libraries },
    // Named here because they come from no registry; npm still chooses among them by platform.
    optionalDependencies: tarballs(platforms),
    devDependencies: tools,
  };
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify(manifest, null, 2));
  npm(['install', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder });
}

/** The name of the one package with a binary that npm has chosen. */
export function chosenPlatform(folder, platforms) {
  const installed = readdirSync(path.join(folder, 'node_modules'));
  const names = platforms.map(({ name }) => name).filter((name) => installed.includes(name));
  assert.equal(platforms.length, 7);
  assert.equal(names.length, 1, names.join(', '));
  return names[0];
}

/** Copies the sources of the project into a folder of it, those that `filter` takes. */
export function copySources(folder, type, filter) {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(sources).filter(filter)) {
    cpSync(path.join(sources, name), path.join(folder, name));
  }
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ type }));
}

/**
 * Writes the quick start and its two clients as JavaScript, for `import` or `require`.
 *
 * @param {string} folder
 * @param {ts.ModuleKind} module
 * @param {string} entry the name of the file to start, which stands in the place of `run.js`
 */
export function writeQuickStart(folder, module, entry) {
  mkdirSync(folder, { recursive: true });
  const compilerOptions = { module, target: ts.ScriptTarget.ES2022, esModuleInterop: true };
  for (const name of ['chat.ts', 'quick-start.ts', 'run.ts']) {
    const text = readFileSync(path.join(sources, name), 'utf8');
    const { outputText } = ts.transpileModule(text, { compilerOptions });
    const written = name === 'run.ts' ? entry : name.replace('.ts', '.js');
    writeFileSync(path.join(folder, written), outputText);
  }
}
