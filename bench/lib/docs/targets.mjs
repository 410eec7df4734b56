/**
 * What is to be reached, and where others stood when that was decided: on 2 cores over loopback,
 * with Node 20. Ratios travel from machine to machine, absolute figures do not. µWS is the
 * µWebSockets C++ engine inside Node behind a minimal binding.
 *
 * Whether a target is met is computed from a run's figures, in `verdicts.mjs`.
 */

/**
 * @typedef {object} Target
 * @property {string} title
 * @property {string} ws how it stood then
 * @property {string} others how the best others stood then
 * @property {string} asked
 * @property {string} figure id of the rows that show it
 * @property {string} [detail] of those rows, less being better; without it, their median
 * @property {number} [ratio] at least so many times better than ws
 * @property {number} [atMost] in the figure's unit
 */

/** @type {Target[]} */
export const targets = [
  {
    title: 'echo 64×1, 20 B',
    ws: '93 k/s, 10.9 µs CPU',
    others: 'Bun 176 k/s, 5.6 µs; µWS 154 k/s',
    asked: '≥ 1.7× ws, and ≥ the ratio of µWS (1.66)',
    figure: 'echo-64x1-20',
    ratio: 1.7,
  },
  {
    title: 'echo 64×16, 20 B, burst',
    ws: '121 k/s',
    others: 'Bun 1.79 M/s, µWS 1.07 M/s',
    asked: '≥ 15× ws',
    figure: 'echo-64x16-20-burst',
    ratio: 15,
  },
  {
    title: 'echo 64×16, 1 KiB, burst',
    ws: '87 k/s',
    others: 'µWS 0.80 M/s',
    asked: '≥ 9× ws',
    figure: 'echo-64x16-1024-burst',
    ratio: 9,
  },
  {
    title: 'echo 64×16, 16 KiB, burst',
    ws: '21 k/s; 61 k/s with bufferutil',
    others: 'µWS 91 k/s',
    asked: '≥ 4.5× ws',
    figure: 'echo-64x16-16384-burst',
    ratio: 4.5,
  },
  {
    title: 'echo 1×1, p50',
    ws: '61 µs',
    others: 'Bun 54 µs',
    asked: '≤ ws, towards 54 µs',
    figure: 'echo-1x1-20',
    detail: 'p50 µs',
    ratio: 1,
  },
  {
    title: 'broadcast 5,000, 1 per command',
    ws: '117 k/s, 8.5 µs CPU',
    others: 'Bun 177 k/s, 5.6 µs',
    asked: '≥ 1.5× ws',
    figure: 'broadcast-5000x1-64',
    ratio: 1.5,
  },
  {
    title: 'broadcast 10,000, 10 per command',
    ws: '113 k/s',
    others: 'Bun 1.58 M/s',
    asked: '≥ 14× ws',
    figure: 'broadcast-10000x10-64',
    ratio: 14,
  },
  {
    title: 'HTTP p99, 10,000 members, 5 broadcasts/s',
    ws: '115–150 ms',
    others: 'µWS 87–109 ms, Bun 94 ms',
    asked: '≤ 5 ms',
    figure: 'httplag-5',
    atMost: 5,
  },
  {
    title: 'event-loop delay p99, same run',
    ws: '113–135 ms',
    others: '83 ms',
    asked: '≤ 3 ms',
    figure: 'httplag-5',
    detail: 'loop delay p99 ms',
    atMost: 3,
  },
  {
    title: 'HTTP p99 at 20 broadcasts/s, by a timer',
    ws: '',
    others: '70–140 ms',
    asked: '≤ 10 ms',
    figure: 'httplag-20',
    atMost: 10,
  },
  {
    title: 'HTTP p99 at 20 broadcasts/s, by commands',
    ws: '3.6–8.6 s',
    others: '70–140 ms',
    asked: '≤ 10 ms',
    figure: 'httplag-commands-20',
    atMost: 10,
  },
  {
    title: 'idle connection',
    // With the young generation as traffic had left it.
    ws: '7,700 B',
    others: 'µWS 1,100 B, Bun 2,000 B',
    asked: '≤ 2,000 B',
    figure: 'idle-10000',
    atMost: 2000,
  },
  {
    title: 'idle connection, left after close',
    ws: '',
    others: '',
    asked: 'memory comes back: ≤ a quarter of the 2,000 B',
    figure: 'idle-10000-after-close',
    atMost: 500,
  },
  {
    title: 'connections/s',
    ws: '6,100',
    others: 'µWS 21 k',
    asked: '≥ 1.5× ws',
    figure: 'connect',
    ratio: 1.5,
  },
];
