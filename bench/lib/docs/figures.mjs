/** Rows as a page shows them: one line for a figure, one column for a server. */
import { formatNumber, markdownTable } from '../report.mjs';

/** @typedef {import('../statistics.mjs').Row} Row */

/** Whose page it is, and whom its ratios are to. */
export const SUBJECT = 'nextrush-websocket';

/** Columns of the tables that compare, by the names of peers. */
export const COLUMNS = {
  [SUBJECT]: 'this package',
  ws: '`ws`',
  bun: 'Bun',
  'socket.io': 'Socket.IO',
  'socket.io+redis': 'Socket.IO, Redis adapter',
  'socket.io+sharded': 'Socket.IO, sharded adapter',
  uws: 'µWebSockets.js',
};

/** Whether a peer is this package, perhaps with options or as another build. */
export const isSubject = (/** @type {string} */ peer) => peer.startsWith(SUBJECT);

/**
 * A figure with its unit, short enough for a table with many columns: 143 k/s, 83.4 µs, 3,442 B.
 * @param {number} value
 * @param {string} unit of the row
 */
export function formatValue(value, unit) {
  if (unit.endsWith('/s')) {
    if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M/s`;
    return value >= 1000 ? `${significant(value / 1000)} k/s` : `${significant(value)}/s`;
  }
  if (unit === 'µs' && value >= 1000) return `${significant(value / 1000)} ms`;
  return `${formatNumber(value)} ${unit === 'bytes each' ? 'B' : unit}`;
}

/** @param {number} value as text with three digits */
const significant = (value) =>
  value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.max(value, 1)))));

/**
 * A table with a line for each of these figures that was measured. No column stays empty.
 * @param {Row[]} rows
 * @param {{ id: string, title?: string }[]} figures
 * @param {string[]} [rivals] whom the ratios are to
 */
export function comparison(rows, figures, rivals = ['ws', 'bun']) {
  const lines = figures
    .map(({ id, title }) => ({ title, rows: rows.filter((row) => row.id === id) }))
    .filter((line) => line.rows.some(({ peer }) => peer === SUBJECT));
  const peers = Object.keys(COLUMNS).filter((peer) =>
    lines.some((line) => line.rows.some((row) => row.peer === peer)),
  );
  const others = rivals.filter((peer) => peers.includes(peer));
  const headings = [
    'scenario',
    ...peers.map((peer) => COLUMNS[peer]),
    ...others.map((peer) => `to ${COLUMNS[peer]}`),
  ];
  const table = lines.map((line) => {
    const of = (/** @type {string} */ peer) => line.rows.find((row) => row.peer === peer);
    return [
      line.title ?? line.rows[0].title,
      ...peers.map((peer) => show(of(peer))),
      ...others.map((peer) => ratio(of(SUBJECT), of(peer))),
    ];
  });
  return markdownTable(headings, table, [false, ...headings.slice(1).map(() => true)]);
}

/** @param {Row | undefined} row */
const show = (row) => (row ? formatValue(row.median, row.unit) : '');

/**
 * How many times better one is than the other, whatever better means here.
 * @param {Row | undefined} one
 * @param {Row | undefined} other
 */
export function ratio(one, other) {
  const times = timesBetter(one, other);
  return times === undefined ? '' : `${times >= 10 ? times.toFixed(0) : times.toFixed(2)}×`;
}

/**
 * @param {Row | undefined} one
 * @param {Row | undefined} other
 */
export function timesBetter(one, other) {
  if (!one || !other || !(one.median > 0) || !(other.median > 0)) return undefined;
  return one.better === 'more' ? one.median / other.median : other.median / one.median;
}
