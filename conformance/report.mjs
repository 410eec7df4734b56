/** Reads the suite's JSON report, and writes the tables. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Sections of the suite and what they are about. There is no 8 and no 11. */
const SECTIONS = {
  1: 'Framing: text and binary messages of every length form',
  2: 'Pings and pongs',
  3: 'Reserved bits',
  4: 'Reserved opcodes',
  5: 'Fragmentation',
  6: 'UTF-8: valid, invalid, refused at the first wrong byte',
  7: 'Close handshake, codes and reasons',
  9: 'Limits: messages up to 16 MiB, whole, fragmented and chopped',
  10: 'Automatic fragmentation',
  12: 'permessage-deflate, different payloads',
  13: 'permessage-deflate, different parameters',
};

/** Results in the order of the columns; any other that the suite may give comes after them. */
const RESULTS = ['OK', 'NON-STRICT', 'INFORMATIONAL', 'UNIMPLEMENTED', 'FAILED'];

/** Cases whose outcome the RFC leaves open; the suite has no other result for them. */
const INFORMATIONAL_BY_DESIGN = new Set(['7.1.6', '7.13.1', '7.13.2']);

/**
 * @typedef {object} Case one case of the report
 * @property {string} id
 * @property {string} section
 * @property {string} behavior result of the messages
 * @property {string} behaviorClose result of the end of the connection
 * @property {string} verdict the worse of the two
 * @property {boolean} passed
 * @property {string} remark why not OK, in the suite's words
 *
 * @typedef {object} Row one section
 * @property {string} section
 * @property {string} meaning
 * @property {number} cases
 * @property {Record<string, number>} counts by result
 */

/**
 * Reads the report of one server.
 * @param {string} folder
 * @param {string} agent
 * @returns {Case[]}
 */
export function readReport(folder, agent) {
  const index = path.join(folder, 'index.json');
  if (!existsSync(index)) return [];
  const cases = JSON.parse(readFileSync(index, 'utf8'))[agent] ?? {};
  return Object.entries(cases)
    .map(([id, entry]) => readCase(folder, id, entry))
    .sort((a, b) => compareIds(a.id, b.id));
}

/** @returns {Case} */
function readCase(folder, id, { behavior, behaviorClose, reportfile }) {
  const verdict = worse(behavior, behaviorClose);
  return {
    id,
    section: id.split('.')[0],
    behavior,
    behaviorClose,
    verdict,
    passed: verdict === 'OK' || (verdict === 'INFORMATIONAL' && INFORMATIONAL_BY_DESIGN.has(id)),
    remark: verdict === 'OK' ? '' : remark(path.join(folder, reportfile), verdict, behavior),
  };
}

/** What happened in a case that is not OK. */
function remark(file, verdict, behavior) {
  const report = JSON.parse(readFileSync(file, 'utf8'));
  const description = plainText(report.description);
  // There, the suite expects nothing in particular.
  if (verdict === 'INFORMATIONAL') return `${description} ${whatCameBack(report)}`;
  const result = plainText(behavior === 'OK' ? report.resultClose : report.result);
  return `${description} Expected: ${plainText(report.expectation)} Result: ${result}`;
}

function whatCameBack({ received, remoteCloseCode }) {
  const messages = received.length === 0 ? 'no message' : `messages (${received.length})`;
  const close = remoteCloseCode === null ? 'no close frame' : `close code ${remoteCloseCode}`;
  return `What came back: ${messages}, ${close}.`;
}

/** @param {string} html */
function plainText(html) {
  const text = html
    .replaceAll(/<[^>]+>/g, ' ')
    .replaceAll('&lt;', '<')
    .replaceAll(/\s+/g, ' ')
    .trim();
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/** From harmless to bad; what is not listed is as bad as FAILED. */
const SEVERITY = ['OK', 'INFORMATIONAL', 'NON-STRICT', 'UNIMPLEMENTED'];

function worse(one, other) {
  return severity(one) >= severity(other) ? one : other;
}

function severity(result) {
  const index = SEVERITY.indexOf(result);
  return index < 0 ? SEVERITY.length : index;
}

/** 1.2.10 comes after 1.2.9. */
function compareIds(a, b) {
  return a.localeCompare(b, 'en', { numeric: true });
}

/**
 * One row for each section that has cases.
 * @param {Case[]} cases
 * @returns {Row[]}
 */
export function summarize(cases) {
  return Object.entries(SECTIONS)
    .map(([section, meaning]) => {
      const own = cases.filter((it) => it.section === section);
      return { section, meaning, cases: own.length, counts: count(own) };
    })
    .filter((row) => row.cases > 0);
}

/** @param {Case[]} cases */
function count(cases) {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const { verdict } of cases) counts[verdict] = (counts[verdict] ?? 0) + 1;
  return counts;
}

/** The columns: the usual results, and those that came besides. */
function columns(rows) {
  const others = rows.flatMap(({ counts }) => Object.keys(counts));
  return [...new Set([...RESULTS, ...others])];
}

/** All sections together. */
function total(cases) {
  return { section: 'all', meaning: '', cases: cases.length, counts: count(cases) };
}

/**
 * The tables for a terminal.
 * @param {Case[]} cases
 */
export function formatTable(cases) {
  const rows = [...summarize(cases), total(cases)];
  const results = columns(rows);
  const table = [
    ['section', 'cases', ...results, 'meaning'],
    ...rows.map(({ section, meaning, cases: number, counts }) => [
      section,
      String(number),
      ...results.map((result) => String(counts[result] ?? '·')),
      meaning,
    ]),
  ];
  const widths = table[0].map((_, column) => Math.max(...table.map((line) => line[column].length)));
  const last = widths.length - 1;
  const lines = table.map((line) =>
    line
      .map((cell, column) => (column === last ? cell : cell.padStart(widths[column])))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n${formatNotOk(cases)}`;
}

/** Every case that is not OK: the first of a kind with the reason, the others by their numbers. */
function formatNotOk(cases) {
  const lines = [...groupNotOk(cases).values()].flatMap((alike) => {
    const shown = alike.slice(0, SHOWN).map((it) => `  ${it.id} ${describe(it)}`);
    const others = alike.slice(SHOWN).map(({ id }) => id);
    if (others.length > 0) shown.push(`  … and ${others.length} more: ${others.join(' ')}`);
    return shown;
  });
  return lines.length === 0 ? '' : `\nNot OK:\n${lines.join('\n')}\n`;
}

/** How many cases of a section are shown in full, of those with the same result. */
const SHOWN = 8;

/** By section and result. */
function groupNotOk(cases) {
  /** @type {Map<string, Case[]>} */
  const groups = new Map();
  for (const it of cases) {
    if (it.verdict === 'OK') continue;
    const kind = `${it.section} ${it.verdict}`;
    groups.set(kind, [...(groups.get(kind) ?? []), it]);
  }
  return groups;
}

/** @param {Case} it */
function describe({ id, behavior, behaviorClose, passed, remark: why }) {
  const results = behavior === behaviorClose ? behavior : `${behavior}, close ${behaviorClose}`;
  const byDesign = passed && INFORMATIONAL_BY_DESIGN.has(id) ? ' (by design of the suite)' : '';
  return `${results}${byDesign}: ${why}`;
}

/**
 * @typedef {object} Circumstances
 * @property {string} version of this package
 * @property {string} node
 * @property {string} suite
 * @property {number} seconds
 */

/**
 * Writes `docs/conformance.md`.
 * @param {string} file
 * @param {Case[]} cases
 * @param {Circumstances} circumstances
 */
export function writeMarkdown(file, cases, circumstances) {
  writeFileSync(file, markdown(cases, circumstances));
}

function markdown(cases, { version, node, suite, seconds }) {
  const passed = cases.filter((it) => it.passed).length;
  const rows = summarize(cases).map(
    ({ section, meaning, cases: number, counts }) =>
      `| ${section} | ${meaning} | ${number} | ${formatCounts(counts)} |`,
  );
  return `# Conformance

<!-- Written by \`npm run conformance -- --markdown\`; edit conformance/report.mjs instead. -->

The [Autobahn test suite](https://github.com/crossbario/autobahn-testsuite) speaks to an echo server
(\`conformance/server.mjs\`) as a client that keeps, stretches and breaks RFC 6455 and RFC 7692.

**${passed} of ${cases.length} cases passed.**

| section | meaning | cases | result |
| ---: | --- | ---: | --- |
${rows.join('\n')}
| | **all** | **${cases.length}** | **${formatCounts(count(cases))}** |

${listNotOk(cases)}
${new Date().toISOString().slice(0, 10)}, nextrush-websocket ${version} on Node ${node}, ${suite}, in
${formatDuration(seconds)}. A case counts as passed where both its messages and the end of its
connection are as the suite demands, strictly: \`NON-STRICT\`, \`WRONG CODE\`, \`UNCLEAN\` and
\`UNIMPLEMENTED\` count as failures.

## How to run

\`\`\`sh
npm run conformance                          # all cases
npm run conformance -- --cases '1.*,6.4.*'   # some of them
npm run conformance -- --markdown            # all, and writes this page
\`\`\`

A Python 2.7 is needed, since the suite was written for it: \`PYTHON27=/path/to/python2.7\`,
\`python2.7\` on the PATH, or one of pyenv's (\`pyenv install 2.7.18\`). Where there is none, the
command says so and fails. The first run installs the suite from PyPI into \`conformance/.python\`.
The suite's own report, with every frame of every case, is \`conformance/reports/index.html\`
afterwards. The exit status is 1 where a case did not pass or is missing.
`;
}

/** @param {Record<string, number>} counts */
function formatCounts(counts) {
  return Object.entries(counts)
    .sort(([one], [other]) => severity(one) - severity(other))
    .map(([result, number]) => `${number} ${result}`)
    .join(', ');
}

/** The cases that are not OK, as a list, and why that is so. */
function listNotOk(cases) {
  const lines = cases
    .filter(({ verdict }) => verdict !== 'OK')
    .map((it) => `- **${it.id}** ${describe(it)}`);
  if (lines.length === 0) return '';
  return `${lines.join('\n')}

\`INFORMATIONAL\` is not a lesser result: for what happens after these messages the RFC has no rule,
and the suite has no other result for them, whatever a server does.
`;
}

/** @param {number} seconds */
export function formatDuration(seconds) {
  const minutes = Math.floor(seconds / 60);
  return minutes > 0 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.round(seconds)} s`;
}
