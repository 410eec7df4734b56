/**
 * Where others are ahead, from the figures; and why, which figures do not say. A reason holds no
 * figures of its own: they are in the table below it.
 */

import { markdownTable } from '../report.mjs';
import { COLUMNS, formatValue, isSubject, ratio, SUBJECT, timesBetter } from './figures.mjs';

/** @typedef {import('../statistics.mjs').Row} Row */

/** Less than this, in times, is no lead. */
const LEAD = 1.03;

/**
 * @typedef {object} Reason
 * @property {string} title
 * @property {RegExp} figures ids, the first reason that matches counts
 * @property {string} why
 */

/** @type {Reason[]} */
const reasons = [
  {
    title: 'A message that nobody else is there for',
    figures: /^(echo-[14]x1|cluster-1x1)-/,
    why: `What a client sends is read on an I/O thread and handled on the JavaScript thread. Under load
the two work side by side. Where one message is all there is, it waits for a sleeping thread to wake,
and on two cores with a load generator beside them the threads also take each other's core. An engine
that reads, handles and writes on one thread has nobody to wake.`,
  },
  {
    title: 'Opening connections',
    figures: /^(tls-)?connect|^crowd-\d+-open/,
    why: `Node's HTTP server reads the upgrade request, and makes a socket, a request and its headers as
JavaScript objects, before this package sees it. Then the connection is handed to an I/O thread. Bun and
µWebSockets.js read HTTP in native code and keep the socket that they have.`,
  },
  {
    title: 'Memory',
    figures: /^(tls-)?idle-|^crowd-\d+$/,
    why: `After many upgrades most of it is V8's young generation: see
[what the memory figures mean](#memory). What a connection itself holds is below that, and listeners
and context that your code keeps come on top on every server. Bun has neither V8 nor Node's objects
for each upgrade.`,
  },
  {
    title: 'HTTP without broadcasts',
    figures: /^(tls-)?http-|^(tls-)?httplag(-commands)?-0$|^crowd-\d+-http$/,
    why: `HTTP is served by Node here, by Bun's own server there. This package neither speeds it up nor
slows it down, except that it takes TLS off the JavaScript thread. In _HTTP p99_ the requests also go
through the middleware of an application, where those to \`ws\` and Bun are answered at once.`,
  },
  {
    title: 'Compression',
    figures: /^deflate-/,
    why: `Nearly all of the time goes into DEFLATE. What differs is which library does it, at which level,
and whether it is called for a whole message or for a stream.`,
  },
  {
    title: 'Latency with very much under way',
    figures: /-p(99|999)$/,
    why: `Every message crosses from the I/O thread to the JavaScript thread and back in batches. Batches
are what makes the throughput, and a message may have to wait for its batch.`,
  },
  {
    title: 'Throughput where a single thread does nearly as much work',
    figures: /^(tls-)?(echo|broadcast)-|^linear-/,
    why: `Bun reads, handles and writes on one thread. On two cores that leaves the other one to the load
generator, where the two threads of this package share it. The CPU time per message, in
[all figures](#all-figures), says more about a machine with more cores.`,
  },
];

/**
 * @param {Row[]} rows
 * @returns {{ reason: Reason | undefined, row: Row, ahead: Row[] }[]} figures in which others lead
 */
function losses(rows) {
  return rows
    .filter(({ peer }) => peer === SUBJECT)
    .map((row) => ({
      reason: reasons.find(({ figures }) => figures.test(row.id)),
      row,
      ahead: rows.filter((other) => other.id === row.id && leads(other, row)),
    }))
    .filter(({ ahead }) => ahead.length > 0);
}

/**
 * Whether another server is ahead, and not within what rounds differ by.
 * @param {Row} other
 * @param {Row} row
 */
function leads(other, row) {
  if (isSubject(other.peer)) return false;
  const apart = row.better === 'more' ? other.min > row.max : other.max < row.min;
  return apart && (timesBetter(other, row) ?? 0) > LEAD;
}

/** @param {Row[]} rows */
export function formatLosses(rows) {
  const found = losses(rows);
  if (found.length === 0) return 'In no figure of this run.';
  return [...reasons, undefined]
    .map((reason) => ({ reason, losses: found.filter((loss) => loss.reason === reason) }))
    .filter((group) => group.losses.length > 0)
    .map(({ reason, losses }) =>
      [`### ${reason?.title ?? 'For no reason that is known'}`, reason?.why, table(losses)]
        .filter(Boolean)
        .join('\n\n'),
    )
    .join('\n\n');
}

/** @param {Row[]} rows */
export function unexplained(rows) {
  return losses(rows)
    .filter(({ reason }) => reason === undefined)
    .map(({ row }) => row.title);
}

/** @param {ReturnType<typeof losses>} losses */
function table(losses) {
  const lines = losses.flatMap(({ row, ahead }) =>
    ahead.map((other) => [
      row.title,
      formatValue(row.median, row.unit),
      `${COLUMNS[other.peer] ?? other.peer} ${formatValue(other.median, other.unit)}`,
      ratio(other, row),
    ]),
  );
  const headings = ['scenario', COLUMNS[SUBJECT], 'ahead', 'by'];
  return markdownTable(headings, lines, [false, true, true, true]);
}
