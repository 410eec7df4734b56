/** The table, for a terminal and in Markdown, and the JSON file. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { inBench } from './paths.mjs';

/** @typedef {import('./statistics.mjs').Row} Row */
/** @typedef {Awaited<ReturnType<typeof import('./machine.mjs').describeMachine>>} Machine */

export const HEADINGS = [
  'scenario',
  'server',
  'median',
  'unit',
  'min – max',
  'ratio',
  'CPU µs',
  'JS µs',
  'more',
];
export const NUMERIC = [false, false, true, false, true, true, true, true, false];

export const LEGEND =
  'ratio: how many times better than the first server (above 1 is better, for times and bytes too). ' +
  'CPU µs: of the server process per message (per delivery, connection or request); ' +
  'JS µs: what of it its JavaScript thread used.';

/**
 * Two to three significant digits at least, thousands with commas.
 * @param {number} value
 */
export function formatNumber(value) {
  const small = Math.abs(value) >= 10 ? 1 : 2;
  const digits = Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : small;
  return value.toLocaleString('en-US', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/**
 * @param {Row} row
 * @returns {string[]}
 */
export function cells(row) {
  const details = Object.entries(row.details).map(
    ([label, value]) => `${label} ${formatNumber(value)}`,
  );
  if (row.errors > 0) details.unshift(`${row.errors} ERRORS`);
  if (row.clientBound > 0) details.push(`client-bound rounds: ${row.clientBound}`);
  if (row.noisy > 0) details.push(`noisy rounds: ${row.noisy}`);
  return [
    row.title,
    row.peer,
    formatNumber(row.median),
    row.unit,
    `${formatNumber(row.min)} – ${formatNumber(row.max)}`,
    row.ratio === undefined ? '' : `${row.ratio.toFixed(2)}×`,
    row.cpu === undefined ? '' : formatNumber(row.cpu),
    row.javascript === undefined ? '' : formatNumber(row.javascript),
    details.join(', '),
  ];
}

/** @param {Machine} machine */
export function machineLine({ cpu, cores, memory_gib, system, node, tcp, date, peers }) {
  const versions = [...new Set(Object.values(peers))].join(', ');
  return `${cores} × ${cpu}, ${memory_gib} GiB, ${system}, TCP ${tcp}, Node ${node}, ${date.slice(0, 10)}; ${versions}`;
}

/**
 * For a terminal.
 * @param {Row[]} rows
 * @param {Machine} machine
 */
export function formatTable(rows, machine) {
  const table = [HEADINGS, ...rows.map(cells)];
  const widths = HEADINGS.map((_, column) => Math.max(...table.map((line) => line[column].length)));
  const lines = table.map((line) =>
    line
      .map((cell, column) =>
        NUMERIC[column] ? cell.padStart(widths[column]) : cell.padEnd(widths[column]),
      )
      .join('  ')
      .trimEnd(),
  );
  // A rule where a scenario ends.
  const spaced = lines.flatMap((line, index) =>
    index === 0 || rows[index - 1].id !== rows[index - 2]?.id ? ['', line] : [line],
  );
  return `${spaced.join('\n')}\n\n${LEGEND}\n${machineLine(machine)}\n`;
}

/**
 * In Markdown.
 * @param {Row[]} rows
 * @param {Machine} machine
 */
export function formatMarkdown(rows, machine) {
  return `${markdownTable(HEADINGS, rows.map(cells), NUMERIC)}\n\n${LEGEND}\n\n${machineLine(machine)}\n`;
}

/**
 * @param {string[]} headings
 * @param {string[][]} lines
 * @param {boolean[]} numeric which columns have numbers
 */
export function markdownTable(headings, lines, numeric) {
  const line = (/** @type {string[]} */ parts) => `| ${parts.join(' | ')} |`;
  const rule = numeric.map((right) => (right ? '---:' : '---'));
  return [line(headings), line(rule), ...lines.map(line)].join('\n');
}

/**
 * Writes everything to results/latest.json and returns that path.
 * @param {object} everything
 */
export function writeJson(everything) {
  const file = inBench('results/latest.json');
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(everything, null, 2)}\n`);
  return path.relative('.', file);
}
