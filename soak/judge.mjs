/** What the figures of a soak mean, and how they are printed. */

const MIB = 1024 * 1024;

/** Samples in a third of the soak. */
export const PART = 30;

/**
 * By how much the median of the last third may be above that of the one before: for memory what
 * the allocators of V8 and of the engine move by themselves, for descriptors a crowd that is larger
 * by chance. These limits are about leaks; none is about speed.
 */
const GROWTH = {
  rss: { ratio: 0.05, absolute: 8 * MIB },
  heapUsed: { ratio: 0.1, absolute: 2 * MIB },
  descriptors: { ratio: 0.05, absolute: 20 },
};

/** Descriptors that may be open at the end beyond those before the soak: HTTP keep-alive. */
const SPARE_DESCRIPTORS = 4;

/**
 * @typedef {object} Line one figure of the report
 * @property {string} figure
 * @property {string} value
 * @property {string} limit what it has to be; empty for one that is only told
 * @property {boolean} ok
 */

/**
 * Holds the figures against their limits.
 * @returns {Line[]}
 */
export function judge({
  pairs,
  churn,
  attacks,
  http,
  before,
  samples,
  after,
  answersAtTheEnd,
  exit,
}) {
  const unexpected = unexpectedOutcomes(attacks);
  return [
    told('messages between well-behaved peers', pairs.sent),
    zero('  lost', pairs.lost),
    zero('  out of order', pairs.outOfOrder),
    zero('  damaged', pairs.damaged),
    zero('  connections that ended early', ...list(pairs.endedEarly)),
    zero('  connections not closed with 1000', ...list(pairs.closedOtherwise)),
    told('  time of a message, median', milliseconds(pairs.median)),
    told('  time of a message, slowest', milliseconds(pairs.slowest)),
    told('connections of the crowd', churn.opened),
    told('  messages they got', churn.messages),
    zero('  refused, or ended otherwise than expected', ...list(Object.entries(churn.failures))),
    told('attacks', sum(Object.values(attacks).flatMap((it) => Object.values(it.outcomes)))),
    zero('  with another outcome than expected', ...list(unexpected)),
    told('HTTP requests answered meanwhile', http.answered),
    zero('  not answered', http.failed),
    told('  slowest', milliseconds(http.slowest)),
    growth('resident memory', 'rss', samples, mebibytes),
    growth('JavaScript heap', 'heapUsed', samples, mebibytes),
    growth('descriptors', 'descriptors', samples, Math.round),
    told('most connections at a time', Math.max(...samples.map((it) => it.connections))),
    told('most memory', mebibytes(Math.max(...samples.map((it) => it.rss)))),
    told(
      'memory before, and when all had gone',
      `${mebibytes(before.rss)}, ${mebibytes(after.rss)}`,
    ),
    told('time until all had gone', `${after.seconds.toFixed(1)} s`),
    zero('connections at the end', after.connections),
    zero('rooms at the end', after.rooms),
    zero('connections without their close event', after.opened - after.ended),
    zero('rooms without their end event', after.roomsCreated - after.roomsDestroyed),
    zero('errors of the server', ...list(after.errors)),
    descriptorsAtTheEnd(before, after),
    line('answers at the end', answersAtTheEnd ? 'yes' : 'no', 'yes', answersAtTheEnd),
    line('ends by itself when told to', exit, 'status 0', exit === 'status 0'),
  ];
}

export function line(figure, value, limit, ok) {
  return { figure, value: String(value), limit, ok };
}

export function told(figure, value) {
  return line(figure, typeof value === 'number' ? value.toLocaleString('en-US') : value, '', true);
}

/** A figure that has to be 0; `examples` say what it counts. */
export function zero(figure, count, examples = '') {
  const value = examples === '' ? count : `${count}: ${examples}`;
  return line(figure, value, '0', count === 0);
}

/** How many, and the first of them. */
export function list(items) {
  const shown = items.slice(0, 5).map((item) => (Array.isArray(item) ? item.join(' × ') : item));
  return [items.length, shown.join('; ')];
}

/** The attacks that did not end as they should, with what became of them. */
function unexpectedOutcomes(attacks) {
  return Object.entries(attacks).flatMap(([name, { right, outcomes }]) =>
    Object.entries(outcomes)
      .filter(([outcome]) => !right.includes(outcome))
      .map(([outcome, count]) => `${name}: ${count} × ${outcome} instead of ${right.join(' or ')}`),
  );
}

/** Whether memory is beyond its limit by now. */
export function memoryGrew(samples) {
  return !growth('', 'rss', samples, mebibytes).ok;
}

/**
 * The last third of the samples against the one before; the first is for warming up.
 * @returns {Line}
 */
function growth(figure, name, samples, format) {
  const values = samples.map((sample) => sample[name]);
  if (values.includes(undefined)) return told(figure, 'unknown on this system');
  const medians = [];
  for (let at = 0; at < values.length; at += PART) {
    medians.push(median(values.slice(at, at + PART)));
  }
  const [before, last] = medians.slice(-2);
  const { ratio, absolute } = GROWTH[name];
  const limit = before + Math.max(before * ratio, absolute);
  const value = medians.map(format).join(' → ');
  return line(`${figure}, by thirds`, value, `at most ${format(limit)}`, last <= limit);
}

function descriptorsAtTheEnd(before, after) {
  const figure = 'descriptors before, and when all had gone';
  if (before.descriptors === undefined) return told(figure, 'unknown on this system');
  const limit = before.descriptors + SPARE_DESCRIPTORS;
  return line(
    figure,
    `${before.descriptors}, ${after.descriptors}`,
    `at most ${limit}`,
    after.descriptors <= limit,
  );
}

/** The report: the table of figures, and what became of the attacks. */
export function formatReport({ attacks, after, settings }, verdict) {
  const figures = verdict.map(({ figure, value, limit, ok }) => [
    ok ? (limit === '' ? ' ' : '✓') : '✗',
    figure,
    value,
    limit,
  ]);
  const outcomes = Object.entries(attacks)
    .sort(([one], [other]) => one.localeCompare(other))
    .map(([name, it]) => [
      name,
      Object.entries(it.outcomes)
        .map(([outcome, count]) => `${count} × ${outcome}`)
        .join(', '),
    ]);
  const rejected = Object.entries(after.traffic.rejected).filter(([, count]) => count > 0);
  return [
    table([['', 'figure', 'value', 'limit'], ...figures]),
    table([['attack', 'outcomes'], ...outcomes]),
    `Requests rejected: ${rejected.map(([reason, count]) => `${reason} ${count}`).join(', ')}`,
    `Settings: ${JSON.stringify(settings)}`,
    verdict.every(({ ok }) => ok) ? '✓ passed' : '✗ failed',
    '',
  ].join('\n\n');
}

/** Cells in columns. */
export function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

function mebibytes(bytes) {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

export function milliseconds(value) {
  return `${value.toFixed(value < 10 ? 2 : 0)} ms`;
}
