#!/usr/bin/env node
/**
 * Installs the package as its users do, and has them run the quick start: packs the main package
 * and those of the platforms, and installs the tarballs into empty projects where nothing can be
 * compiled. `npm run test:package` does all that is below; `npm run test:package -- bundlers` one of
 * it, and with `--keep` the projects stay.
 *
 * - `runners`: TypeScript, Node, vitest and jest
 * - `bundlers`: esbuild, Rollup, webpack, tsup, ncc, single executables
 * - `managers`: npm, pnpm, yarn and Bun, on all versions of Node
 * - `typescript`: compilers from the oldest to the newest
 *
 * The map: `pack` makes the tarballs from the binaries that were built here, `project` installs them,
 * `command` runs programs, `versions` says what is installed besides; `project/` has the sources, and each
 * part above a file of its name.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { tryBundlers } from './bundlers.mjs';
import { forgetCargo } from './command.mjs';
import { tryManagers } from './managers.mjs';
import { packHost, packPackages, readPacked } from './pack.mjs';
import { readManifest } from './project.mjs';
import { tryRunners } from './runners.mjs';
import { step } from './step.mjs';
import { tryCompilers } from './typescript.mjs';

const PARTS = {
  runners: tryRunners,
  bundlers: tryBundlers,
  managers: tryManagers,
  typescript: tryCompilers,
};

const { values: options, positionals } = parseArgs({
  options: { keep: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const unknown = positionals.find((name) => !(name in PARTS));
if (unknown) throw new Error(`there is no part ${unknown}: ${Object.keys(PARTS).join(', ')}`);
const parts = positionals.length > 0 ? positionals : Object.keys(PARTS);

const work = realpathSync(mkdtempSync(path.join(tmpdir(), 'package-test-')));
try {
  await run();
} finally {
  if (options.keep) console.log(`Left in ${work}`);
  else rmSync(work, { recursive: true, force: true });
}

async function run() {
  const [main, ...platforms] = await step('pack', () => packPackages(work));
  const [host] = await step('pack the host of the examples as nextrush', () => packHost(work));
  await step('the main package has no binary, and no script that runs when it is installed', () => {
    assert.equal(
      main.files.find((name) => name.endsWith('.node')),
      undefined,
    );
    const { scripts } = readManifest();
    for (const event of ['preinstall', 'install', 'postinstall']) assert(!(event in scripts));
  });
  await step('all links of its README lead to the repository', () => {
    const readme = readPacked(main, 'README.md');
    const links = [...readme.matchAll(/\]\(([^)#]+)/g)].map(([, link]) => link);
    assert(links.length > 20);
    for (const link of links) assert(/^https:.*\/blob\/v\d/.test(link), link);
  });
  forgetCargo();
  for (const part of parts) await PARTS[part]({ work, packed: { main, platforms, host } });
}
