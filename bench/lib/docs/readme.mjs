/** The table of the project's README, from the same figures as the page. */
import { comparison } from './figures.mjs';

/** What is between these lines is written here, all else of the README by hand. */
const BEGIN = '<!-- benchmarks: begin -->';
const END = '<!-- benchmarks: end -->';

const FIGURES = [
  { id: 'echo-1x1-20-p50', title: 'echo, 1 connection, p50' },
  { id: 'echo-64x1-20', title: 'echo, 64 connections, 20 B' },
  { id: 'echo-64x16-20-burst', title: 'echo, 64 × 16 in flight, 20 B, burst' },
  { id: 'echo-64x16-1024-burst', title: 'echo, 64 × 16 in flight, 1 KiB, burst' },
  { id: 'echo-64x16-16384-burst', title: 'echo, 64 × 16 in flight, 16 KiB, burst' },
  { id: 'broadcast-5000x1-64', title: 'broadcast to 5,000, one per command' },
  { id: 'broadcast-10000x10-64', title: 'broadcast to 10,000, ten per command' },
  { id: 'httplag-commands-20', title: 'HTTP p99 beside 20 broadcasts/s to 10,000' },
  { id: 'tls-echo-64x1-20', title: 'echo, 64 connections, 20 B, TLS' },
  { id: 'tls-broadcast-1000x1-64', title: 'broadcast to 1,000, TLS' },
  { id: 'tls-httplag-20', title: 'HTTP p99 beside 20 broadcasts/s to 5,000, TLS' },
  { id: 'idle-10000', title: 'idle connection, after `gc()`' },
  { id: 'tls-idle-10000', title: 'idle connection, TLS' },
  { id: 'connect', title: 'connections per second' },
];

/**
 * @param {import('./index.mjs').Results} results
 * @param {string} before the README as it is
 */
export function formatReadme({ machine, rows, rounds }, before) {
  const [begin, end] = [before.indexOf(BEGIN), before.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`README.md has no ${BEGIN} … ${END}`);
  const versions = ['ws', 'bun', 'socket.io'].map((peer) => machine.peers[peer]).filter(Boolean);
  const figures = FIGURES.filter(({ id }) => rows.some((row) => row.id === id));
  const text = `${rounds === 1 ? 'One round' : `Medians of ${rounds} rounds`} on ${machine.cores} cores that client and server share, Node ${machine.node}, ${versions.join(', ')}.

${comparison(rows, figures)}`;
  return `${before.slice(0, begin + BEGIN.length)}\n\n${text}\n\n${before.slice(end)}`;
}
