/** The page itself, in Markdown. */
import {
  cells,
  formatNumber,
  HEADINGS,
  LEGEND,
  machineLine,
  markdownTable,
  NUMERIC,
} from '../report.mjs';
import { judge } from './verdicts.mjs';

/** @typedef {import('../statistics.mjs').Row} Row */

/** What is between these lines is written by hand, and kept. */
const BEGIN = '<!-- written by hand: begin -->';
const END = '<!-- written by hand: end -->';

const NO_NOTES = 'No notes on this run.';

/** Sections of the full table, by the beginning of a scenario's name. */
const SECTIONS = {
  echo: 'Echo',
  broadcast: 'Broadcast',
  deflate: 'permessage-deflate',
  tls: 'TLS',
  linear: 'Cost of a delivery by the size of the room',
  'join-leave': 'Join and leave',
  idle: 'Memory',
  connect: 'Connection rate',
  httplag: 'HTTP on the same port',
};

/**
 * @param {import('./index.mjs').Results} results
 * @param {import('./plots.mjs').Plot[]} plots
 * @param {string} before the page as it is, or nothing
 */
export function formatPage({ machine, rows, rounds, quietCheck, failures }, plots, before) {
  const verdicts = judge(rows);
  const met = verdicts.filter((verdict) => verdict.met).length;
  return `# Benchmarks

<!-- Written by \`npm run bench -- --preset docs --docs\`, but for the notes at the end. -->

${machineLine(machine)}.

Everything here comes from one run, over loopback, load generator and server on the same cores.
Every measurement has a fresh server, the servers take turns, and a measurement during which others
used the machine is repeated. ${rounds === 1 ? 'One round' : `Medians of ${rounds} rounds`}; _CPU_ is the server's, all threads.
[How it is measured](../bench/README.md) has the details.

${remarks(rows, quietCheck, failures)}

\`\`\`sh
npm run bench -- --preset docs --docs    # measures, and writes this page
npm run bench -- --redraw                # writes it again from docs/benchmarks.json
\`\`\`

- [Asked and reached](#asked-and-reached)
- [All figures](#all-figures)
- [Plots](#plots)
- [Notes](#notes)

## Asked and reached

Targets met: ${met} of ${verdicts.length}. _Then_ is where the others stood on the machine on which
the targets were set: ratios can be compared with that, absolute figures cannot. _To ws_ is how many
times better nextrush-websocket is.

${verdictTable(verdicts)}

## All figures

${LEGEND}

${sections(rows)}

## Plots

${plots.map(({ name, alt }) => `![${alt}](benchmarks/${name}.svg)`).join('\n\n')}

## Notes

${BEGIN}

${notesOf(before)}

${END}
`;
}

/**
 * What a reader has to know of this run before its figures.
 * @param {Row[]} rows
 * @param {boolean} quietCheck
 * @param {number} failures
 */
function remarks(rows, quietCheck, failures) {
  const noisy = rows.filter((row) => row.noisy > 0).length;
  const lines = [
    quietCheck ? undefined : 'Nobody looked whether others used the machine.',
    quietCheck && noisy === 0 ? 'No round was disturbed by others.' : undefined,
    noisy > 0 ? `Rows with rounds that others disturbed, repeats included: ${noisy}.` : undefined,
    failures > 0 ? `Measurements that failed: ${failures}.` : undefined,
  ];
  return lines.filter(Boolean).join(' ');
}

/** @param {import('./verdicts.mjs').Verdict[]} verdicts */
function verdictTable(verdicts) {
  const headings = [
    'scenario',
    'asked',
    'then: ws',
    'then: others',
    'ws',
    'best other',
    'nextrush-websocket',
    'to ws',
    '',
  ];
  const lines = verdicts.map(({ target, reference, best, reached, unit, ratio, met }) => {
    const value = (/** @type {number | undefined} */ number) =>
      number === undefined ? '' : `${formatNumber(number)} ${unit}`;
    return [
      target.title,
      target.asked,
      target.ws,
      target.others,
      value(reference),
      best ? `${best.peer} ${value(best.value)}` : '',
      value(reached),
      ratio === undefined ? '' : `${ratio.toFixed(2)}×`,
      met === undefined ? 'not measured' : met ? 'met' : '**missed**',
    ];
  });
  const numeric = headings.map((heading) => heading === 'to ws');
  return markdownTable(headings, lines, numeric);
}

/** @param {Row[]} rows */
function sections(rows) {
  const known = Object.entries(SECTIONS).map(([start, heading]) => ({
    heading,
    rows: rows.filter(({ scenario }) => scenario === start || scenario.startsWith(`${start}-`)),
  }));
  return known
    .filter((section) => section.rows.length > 0)
    .map(
      (section) =>
        `### ${section.heading}\n\n${markdownTable(HEADINGS, section.rows.map(cells), NUMERIC)}`,
    )
    .join('\n\n');
}

/** @param {string} page */
function notesOf(page) {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) return NO_NOTES;
  return page.slice(begin + BEGIN.length, end).trim() || NO_NOTES;
}
