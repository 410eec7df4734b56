/**
 * Has bundlers make one file of the quick start, by the recipes of docs/guide/bundlers.md, and runs what
 * they make: in the project, or in an empty folder where the recipe says that it needs nothing else.
 */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { runtime } from '../scripts/runtimes.mjs';
import { run } from './command.mjs';
import { chosenPlatform, installProject, ours, writeQuickStart } from './project.mjs';
import { readRecipes } from './recipes.mjs';
import { step } from './step.mjs';
import { BUNDLERS } from './versions.mjs';

/** What the package and its tools need to be there when the bundle runs, by the heading of the recipe. */
const NEEDS_PACKAGES = ['esbuild', 'Rollup', 'webpack', 'tsup'];
const NEEDS_NOTHING = [
  'esbuild, in one folder',
  'esbuild, in one folder, as an ES module',
  'Rollup, in one folder',
  'webpack, in one folder',
  'ncc',
];
const SINGLE = 'Single executables';
const SINGLE_BEFORE_26 = 'Single executables before Node 26';

/** Headings of all recipes that are tried. */
export const TRIED = [...NEEDS_PACKAGES, ...NEEDS_NOTHING, SINGLE, SINGLE_BEFORE_26];

export async function tryBundlers({ work, packed }) {
  const project = path.join(work, 'bundlers');
  await step('npm install, with bundlers', () => {
    installProject(project, packed, { ...BUNDLERS, ...ours('typescript') }, ours('ws'));
    writeQuickStart(project, ts.ModuleKind.ESNext, 'server.js');
    run('npm', ['pkg', 'set', 'type=module'], { cwd: project });
  });
  const recipes = readRecipes();
  assert.deepEqual([...recipes.keys()].sort(), TRIED.toSorted());
  const chosen = chosenPlatform(project, packed.platforms);
  const bench = { project, elsewhere: path.join(work, 'elsewhere'), chosen };

  for (const title of NEEDS_PACKAGES) await follow(bench, title, recipes.get(title));
  for (const title of NEEDS_NOTHING)
    await follow(bench, title, recipes.get(title), { moves: true });
  await trySingles(bench, recipes);
}

async function trySingles(bench, recipes) {
  // What they make has to be signed elsewhere.
  if (process.platform !== 'linux') return;
  const recipe = recipes.get(SINGLE);
  await follow(bench, SINGLE, recipe, { moves: true, by: runtime('26') });

  const config = JSON.parse(recipe.files['sea-config.json']);
  config.output += '.blob';
  const before = {
    ...recipes.get(SINGLE_BEFORE_26),
    files: { 'sea-config.json': JSON.stringify(config) },
  };
  for (const line of ['20', '22', '24']) {
    const title = `${SINGLE_BEFORE_26}: ${line}`;
    await follow(bench, title, before, { moves: true, by: runtime(line) });
  }

  const beside = structuredClone(recipe);
  delete config.assets;
  config.output = 'dist/server';
  beside.files['sea-config.json'] = JSON.stringify(config);
  beside.commands.splice(-1, 0, 'cp node_modules/nextrush-websocket-*/*.node dist/');
  await follow(bench, `${SINGLE}, the binary beside it`, beside, {
    moves: true,
    by: runtime('26'),
  });
}

/** Does what a recipe says, from an empty `dist/` on. */
async function follow({ project, elsewhere, chosen }, title, recipe, { moves, by } = {}) {
  const node = by ?? process.execPath;
  const platform = chosen.replace('nextrush-websocket-', '');
  const env = { PATH: [path.dirname(node), process.env.PATH].join(path.delimiter) };
  const shell = (command, cwd) => run('bash', ['-ec', command], { cwd, env });
  await step(`bundled: ${title}`, () => {
    for (const folder of [path.join(project, 'dist'), elsewhere]) {
      rmSync(folder, { recursive: true, force: true });
    }
    mkdirSync(elsewhere);
    for (const [name, text] of Object.entries(recipe.files)) {
      writeFileSync(path.join(project, name), text.replaceAll('linux-x64-gnu', platform));
    }
    const start = recipe.commands.at(-1);
    for (const command of recipe.commands.slice(0, -1)) shell(command, project);
    if (moves) renameSync(path.join(project, 'dist'), path.join(elsewhere, 'dist'));
    assert.match(shell(start, moves ? elsewhere : project), /two clients have talked/);
    for (const name of Object.keys(recipe.files)) rmSync(path.join(project, name));
  });
}
