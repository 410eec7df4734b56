/** The part of the page about several servers, from a run of its own. */
import { cells, formatNumber, HEADINGS, machineLine, markdownTable, NUMERIC } from '../report.mjs';
import { COLUMNS, comparison, SUBJECT } from './figures.mjs';

/** @typedef {import('../statistics.mjs').Row} Row */

/** Whom the ratios are to. */
const RIVALS = ['socket.io+redis', 'socket.io+sharded'];

/** What is compared, by id. */
const GLANCE = [
  'cluster-1x1-64-p99',
  'cluster-1x20-64',
  'cluster-10x20-64',
  'cluster-1000x1-64',
  'cluster-1000x1-1024',
  'cluster-1000x10-64',
  'cluster-1000x10-64-p99',
  'cluster-1x20-64-cpu',
  'cluster-10x20-64-cpu',
  'cluster-1000x1-64-cpu',
  'cluster-1000x1-1024-cpu',
  'cluster-1000x10-64-cpu',
  'cluster-rate-20-1000x1-64-cpu',
  'cluster-rate-20-1000x1-64-p99',
  'cluster-unconcerned',
];

/** What is shown of the server that the members are on, by the label in the details. */
const RECEIVING = {
  'its JavaScript, µs per broadcast': 'JavaScript, µs per broadcast',
  'loop delay p99 ms': 'event-loop delay p99, ms',
  'max ms': 'longest, ms',
};

/** Where, by id. */
const RECEIVED = [
  'cluster-1x20-64',
  'cluster-10x20-64',
  'cluster-1000x1-64',
  'cluster-1000x10-64',
  'cluster-rate-20-1000x1-64-p99',
];

/**
 * @param {import('./index.mjs').Results} results
 * @param {string} remarks on disturbed rounds and failures
 */
export function formatCluster({ machine, rows, rounds }, remarks) {
  return `## Several servers

Two servers of each, joined by one \`redis-server\`: one broadcasts, the members of the room are on the
other. All of it and the load generator share the cores. A run of its own, ${rounds === 1 ? 'of one round' : `medians of ${rounds} rounds`}:

${machineLine(machine)}.

${remarks}

Deliveries/s and _p99_ are from the command that one server gets to the message that a client of the other
has; the next command follows when everybody has all of the last one, or at a rate. _CPU of a delivery_ is
that of both servers, all threads, without the broker. The last line is what a server has to do for rooms
that none of its clients is in.

${comparison(
  rows,
  GLANCE.map((id) => ({ id })),
  RIVALS,
)}

On the server that the members are on:

${receiving(rows)}

What a delivery to clients of the same server costs it, where it is joined to others and where it is not:

${local(rows)}

<details><summary>All figures of this run</summary>

${markdownTable(HEADINGS, rows.map(cells), NUMERIC)}

</details>

`;
}

/** @param {Row[]} rows */
function receiving(rows) {
  const peers = [SUBJECT, ...RIVALS].filter((name) => rows.some(({ peer }) => peer === name));
  const labels = Object.entries(RECEIVING);
  const lines = RECEIVED.flatMap((id) =>
    labels.map(([label, shown]) => ({ shown, label, rows: rows.filter((row) => row.id === id) })),
  ).filter((line) => line.rows.length > 0);
  return markdownTable(
    ['scenario', 'figure', ...peers.map((peer) => COLUMNS[peer])],
    lines.map(({ shown, label, rows: [first, ...others] }) => [
      first.title.replace(/: p99$/, ''),
      shown,
      ...peers.map((name) => {
        const value = [first, ...others].find(({ peer }) => peer === name)?.details[label];
        return value === undefined ? '' : formatNumber(value);
      }),
    ]),
    [false, false, ...peers.map(() => true)],
  );
}

/** @param {Row[]} rows */
function local(rows) {
  const ids = [...new Set(rows.map(({ id }) => id))].filter((id) => id.startsWith('cluster-local'));
  const lines = ids.flatMap((id) => {
    const of = (/** @type {string} */ name) =>
      rows.find((row) => row.id === id && row.peer === name);
    const [off, on] = [of(SUBJECT), of(`${SUBJECT}+cluster`)];
    if (!off || !on) return [];
    const more = Math.round((on.median / off.median - 1) * 100);
    const [title] = off.title.split(':');
    return [
      [title, `${formatNumber(off.median)} µs`, `${formatNumber(on.median)} µs`, `${more} %`],
    ];
  });
  return markdownTable(['room', 'alone', 'joined', 'more'], lines, [false, true, true, true]);
}
