/** docs/benchmarks.md, its figures as JSON, its plots, and the table in the README. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { rootDirectory } from '../paths.mjs';
import { formatPage } from './page.mjs';
import { drawPlots } from './plots.mjs';
import { formatReadme } from './readme.mjs';
import { unexplained } from './reasons.mjs';

/**
 * What the page shows of a run.
 * @typedef {object} Results
 * @property {import('../report.mjs').Machine} machine
 * @property {import('../statistics.mjs').Row[]} rows
 * @property {number} rounds
 * @property {boolean} quietCheck whether foreign load was looked for
 * @property {number} failures measurements that failed
 * @property {string[]} [leftOut] what could not be measured on this machine, and why
 * @property {Results} [cluster] of the run with several servers, which is one of its own
 */

const page = path.join(rootDirectory, 'docs/benchmarks.md');
const readme = path.join(rootDirectory, 'README.md');
const json = path.join(rootDirectory, 'docs/benchmarks.json');
const plotDirectory = path.join(rootDirectory, 'docs/benchmarks');

/**
 * The results of one run beside what the page has of the others.
 * @param {Results} results
 * @param {'cluster'} [part] of the page, where the run was not of the whole of it
 * @returns {Results}
 */
export function beside(results, part) {
  const { cluster, ...others } = readResults();
  return part ? { ...others, [part]: results } : { ...results, ...(cluster && { cluster }) };
}

/**
 * Writes everything; returns the paths, and in which figures others lead for no reason that is known.
 * @param {Results} results
 */
export async function write(results) {
  const plots = await drawPlots(results.rows);
  rmSync(plotDirectory, { recursive: true, force: true });
  mkdirSync(plotDirectory, { recursive: true });
  for (const { name, svg } of plots) writeFileSync(path.join(plotDirectory, `${name}.svg`), svg);
  writeFileSync(page, formatPage(results, plots));
  writeFileSync(readme, formatReadme(results, readFileSync(readme, 'utf8')));
  writeFileSync(json, `${JSON.stringify(results, null, 2)}\n`);
  format();
  const files = [page, readme, json, plotDirectory].map((file) => path.relative('.', file));
  const rows = [...results.rows, ...(results.cluster?.rows ?? [])];
  return { files, unexplained: unexplained(rows) };
}

/** @returns {Results} those of the last run that wrote the page */
export function readResults() {
  return JSON.parse(readFileSync(json, 'utf8'));
}

/** As the linter of this repository wants the files, where it is installed. */
function format() {
  const biome = path.join(rootDirectory, 'node_modules/.bin/biome');
  if (!existsSync(biome)) return;
  spawnSync(biome, ['format', '--write', page, readme, json], { cwd: rootDirectory });
}
