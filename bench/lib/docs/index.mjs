/** docs/benchmarks.md, its figures as JSON, and its plots. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { rootDirectory } from '../paths.mjs';
import { formatPage } from './page.mjs';
import { drawPlots } from './plots.mjs';

/**
 * What the page shows of a run.
 * @typedef {object} Results
 * @property {import('../report.mjs').Machine} machine
 * @property {import('../statistics.mjs').Row[]} rows
 * @property {number} rounds
 * @property {boolean} quietCheck whether foreign load was looked for
 * @property {number} failures measurements that failed
 */

const page = path.join(rootDirectory, 'docs/benchmarks.md');
const json = path.join(rootDirectory, 'docs/benchmarks.json');
const plotDirectory = path.join(rootDirectory, 'docs/benchmarks');

/**
 * Writes everything and returns the paths. Notes that the page has are kept.
 * @param {Results} results
 */
export async function write(results) {
  const plots = await drawPlots(results.rows);
  rmSync(plotDirectory, { recursive: true, force: true });
  mkdirSync(plotDirectory, { recursive: true });
  for (const { name, svg } of plots) writeFileSync(path.join(plotDirectory, `${name}.svg`), svg);
  const before = existsSync(page) ? readFileSync(page, 'utf8') : '';
  writeFileSync(page, formatPage(results, plots, before));
  writeFileSync(json, `${JSON.stringify(results, null, 2)}\n`);
  format();
  return [page, json, plotDirectory].map((file) => path.relative('.', file));
}

/** @returns {Results} those of the last run that wrote the page */
export function readResults() {
  return JSON.parse(readFileSync(json, 'utf8'));
}

/** As the linter of this repository wants the two files, where it is installed. */
function format() {
  const biome = path.join(rootDirectory, 'node_modules/.bin/biome');
  if (!existsSync(biome)) return;
  spawnSync(biome, ['format', '--write', page, json], { cwd: rootDirectory });
}
