/**
 * Writes the tables of options in README.md and docs/api.md from what the native half reads
 * (`src/binding/option_table.rs`):
 *
 *     node scripts/option-tables.mjs
 *
 * `__test__/option-tables.spec.ts` fails where they differ.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * A table of the documentation: by which first cell it is found, whose options it has, and what its
 * columns show of each.
 */
const TABLES = {
  'README.md': [
    {
      head: ['option', 'unit', 'default', 'meaning'],
      group: 'options',
      cells: (option) => [
        name(option),
        option.unit,
        byDefault(option),
        meaning(option, 'docs/api.md'),
      ],
    },
  ],
  'docs/api.md': [
    {
      head: ['option', 'type', 'unit', 'default', 'accepted', 'meaning'],
      group: 'options',
      cells,
    },
    {
      head: ['of a route', 'type', 'unit', 'default', 'accepted', 'meaning'],
      group: 'ws',
      cells,
    },
    {
      head: ['parameter', 'type', 'unit', 'default', 'accepted', 'meaning'],
      group: 'perMessageDeflate',
      cells,
    },
    {
      head: ['limit', 'type', 'unit', 'default', 'accepted', 'meaning'],
      group: 'messageRate',
      cells,
    },
    {
      head: ['setting', 'type', 'unit', 'default', 'accepted', 'meaning'],
      group: 'cluster',
      cells,
    },
    {
      head: ['part', 'type', 'default', 'accepted', 'meaning'],
      group: 'tls',
      cells: (option) => [
        name(option),
        option.kind,
        byDefault(option),
        accepted(option),
        meaning(option, ''),
      ],
    },
  ],
};

/** The documents that have tables of options. */
export const documents = Object.keys(TABLES);

/** The text of a document with its tables of options as they have to be. */
export function withTables(file) {
  const text = readFileSync(join(root, file), 'utf8');
  const { optionTables } = createRequire(import.meta.url)('../lib/native.js');
  const groups = optionTables();
  return TABLES[file].reduce((written, { head, group, cells }) => {
    const old = new RegExp(`^\\| ${head[0]} +\\|.*\\n(?:\\|.*\\n)*`, 'm');
    if (!old.test(written)) throw new Error(`${file} has no table that begins with "${head[0]}"`);
    return written.replace(old, () => markdown([head, ...groups[group].map(cells)]));
  }, text);
}

function cells(option) {
  const { kind, unit } = option;
  return [name(option), kind, unit, byDefault(option), accepted(option), meaning(option, '')];
}

function name({ name }) {
  return `\`${name}\``;
}

function byDefault({ default: value }) {
  if (value === "the plugin's") return value;
  return `\`${/^\d+$/.test(value) ? grouped(value) : value}\``;
}

/** A range for a number, and the words of the error for anything else. */
function accepted({ range, infinity, accepted }) {
  if (!range) return accepted;
  const [from, to] = range.map(grouped);
  return `${from} to ${to}${infinity ? ', or `Infinity`' : ''}`;
}

function meaning({ meaning, section }, file) {
  if (!section) return meaning;
  return `${meaning}, see [${section}](${file}#${section.toLowerCase().replaceAll(' ', '-')})`;
}

/** A number as people read it: 1,000. */
function grouped(number) {
  return Number(number).toLocaleString('en');
}

/** A table whose columns are as wide as their widest cell. */
function markdown([head, ...rows]) {
  const lines = [head, ...rows].map((row) =>
    row.map((cell) => (cell ?? '').replaceAll('|', '\\|')),
  );
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  const [first, ...rest] = lines.map((line) => line.map((cell, at) => cell.padEnd(widths[at])));
  const rule = widths.map((width) => '-'.repeat(width));
  return [first, rule, ...rest].map((line) => `| ${line.join(' | ')} |\n`).join('');
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  for (const file of documents) writeFileSync(join(root, file), withTables(file));
}
