/** From samples to rows: medians, spread, ratios. */

/**
 * One line of the table.
 * @typedef {object} Row
 * @property {string} id
 * @property {string} scenario
 * @property {string} title
 * @property {string} peer
 * @property {string} unit
 * @property {'more' | 'less'} better
 * @property {number[]} values in the order of the rounds
 * @property {number} median
 * @property {number} min
 * @property {number} max
 * @property {number} [ratio] how many times better than the first peer, whatever better means here
 * @property {number} [cpu] µs of the server per message, all threads, median
 * @property {number} [javascript] those of its JavaScript thread
 * @property {Record<string, number>} details medians by label
 * @property {number} errors of all rounds
 * @property {number} noisy rounds in which others kept the machine busy
 * @property {number} clientBound rounds in which the load generator had no time left
 */

/** @param {number[]} values at least one */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * Groups the results of all rounds by figure and peer, in the order of measurement.
 * @param {import('./measure.mjs').Sample[]} samples
 * @param {string} baseline the peer that others are compared with
 * @returns {Row[]}
 */
export function summarize(samples, baseline) {
  /** @type {Map<string, { peer: string, result: import('./measure.mjs').Result, sample: import('./measure.mjs').Sample }[]>} */
  const figures = new Map();
  for (const sample of samples) {
    for (const result of sample.results) {
      const known = figures.get(result.id) ?? [];
      known.push({ peer: sample.peer, result, sample });
      figures.set(result.id, known);
    }
  }
  return [...figures.values()].flatMap((entries) => {
    const peers = [...new Set(entries.map(({ peer }) => peer))];
    const rows = peers.map((peer) =>
      toRow(
        peer,
        entries.filter((entry) => entry.peer === peer),
      ),
    );
    const reference = rows.find(({ peer }) => peer === baseline)?.median;
    const [{ result }] = entries;
    return rows.map((row) => ({ ...row, ratio: ratio(row.median, reference, result.better) }));
  });
}

/**
 * @param {string} peer
 * @param {{ result: import('./measure.mjs').Result, sample: import('./measure.mjs').Sample }[]} entries
 * @returns {Row}
 */
function toRow(peer, entries) {
  const results = entries.map(({ result }) => result);
  const values = results.map(({ value }) => value);
  const [{ id, title, unit, better, details }] = results;
  return {
    id,
    scenario: entries[0].sample.scenario,
    title,
    peer,
    unit,
    better,
    values,
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    cpu: medianOfKnown(results.map(({ cpu }) => cpu)),
    javascript: medianOfKnown(results.map(({ javascript }) => javascript)),
    details: Object.fromEntries(
      Object.keys(details)
        .map((label) => [label, medianOfKnown(results.map((result) => result.details[label]))])
        .filter(([, value]) => value !== undefined),
    ),
    errors: entries.reduce((sum, { sample }) => sum + sample.errors, 0),
    noisy: entries.filter(({ sample }) => sample.noisy).length,
    clientBound: entries.filter(({ sample }) => sample.clientBound).length,
  };
}

/** @param {(number | undefined)[]} values */
function medianOfKnown(values) {
  const known = values.filter((value) => value !== undefined);
  return known.length > 0 ? median(known) : undefined;
}

/**
 * @param {number} value
 * @param {number | undefined} reference
 * @param {'more' | 'less'} better
 */
function ratio(value, reference, better) {
  if (reference === undefined || !(value > 0) || !(reference > 0)) return undefined;
  return better === 'more' ? value / reference : reference / value;
}
