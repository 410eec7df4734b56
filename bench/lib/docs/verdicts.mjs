/** Which targets a run has met. Decided from its figures, never by hand. */
import { targets } from './targets.mjs';

/** @typedef {import('../statistics.mjs').Row} Row */

/** Who has to reach the targets, and whom the ratios are to. */
const SUBJECT = 'nextrush-websocket';
const REFERENCE = 'ws';

/**
 * @typedef {object} Verdict
 * @property {import('./targets.mjs').Target} target
 * @property {number} [reference] what ws reached
 * @property {{ peer: string, value: number }} [best] what the best of the others reached
 * @property {number} [reached]
 * @property {string} unit
 * @property {number} [ratio] of what was reached to ws; above 1 is better
 * @property {boolean} [met] `undefined` where it was not measured
 */

/**
 * @param {Row[]} rows
 * @returns {Verdict[]}
 */
export function judge(rows) {
  return targets.map((target) => {
    const { figure, detail } = target;
    const measured = rows
      .filter(({ id }) => id === figure)
      .map((row) => ({ peer: row.peer, value: detail ? row.details[detail] : row.median }))
      .filter(({ value }) => value !== undefined);
    const row = rows.find(({ id }) => id === figure);
    const less = detail !== undefined || row?.better === 'less';
    const of = (/** @type {string} */ peer) => measured.find((it) => it.peer === peer)?.value;
    const [reached, reference] = [of(SUBJECT), of(REFERENCE)];
    const others = measured.filter(({ peer }) => peer !== REFERENCE && !peer.startsWith(SUBJECT));
    const [best] = others.sort((a, b) => (less ? a.value - b.value : b.value - a.value));
    const ratio = less ? divide(reference, reached) : divide(reached, reference);
    const unit = detail?.split(' ').at(-1) ?? row?.unit ?? '';
    return { target, reference, best, reached, unit, ratio, met: isMet(target, reached, ratio) };
  });
}

/**
 * @param {import('./targets.mjs').Target} target
 * @param {number | undefined} reached
 * @param {number | undefined} ratio
 */
function isMet(target, reached, ratio) {
  if (target.atMost !== undefined)
    return reached === undefined ? undefined : reached <= target.atMost;
  return ratio === undefined ? undefined : ratio >= /** @type {number} */ (target.ratio);
}

/**
 * @param {number | undefined} above
 * @param {number | undefined} below
 */
const divide = (above, below) =>
  above === undefined || below === undefined ? undefined : above / below;
