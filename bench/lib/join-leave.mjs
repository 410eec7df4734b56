/** What it costs to join and leave a room, and to close a connection that is in many. */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { openIdle } from './generator.mjs';

/** @typedef {{ members: number, others: number }} Case */

/**
 * Measures in the server itself, with one connection that joins and leaves again and again.
 * @param {import('./server.mjs').Server} server
 * @param {Case[]} cases how many others are in that room, and in how many other rooms it is itself
 */
export async function measureJoinLeave(server, cases) {
  const results = [];
  for (const { members, others } of cases) {
    const empty = await openIdle({ url: `${server.url}/room`, connections: members });
    results.push({ members, others, ...(await probe(server.url, others)) });
    await empty();
  }
  return { scenario: 'join-leave', results, errors: 0 };
}

/**
 * @param {string} url
 * @param {number} others
 */
async function probe(url, others) {
  const socket = new WebSocket(`${url}/probe`);
  await once(socket, 'open');
  const response = await fetch(`${url.replace('ws:', 'http:')}/join-leave/${others}`);
  const { ns_each } = await response.json();
  // Close frame to close frame: the server answers after it has left all rooms.
  const start = performance.now();
  socket.close();
  await once(socket, 'close');
  return { ns_each, close_ms: performance.now() - start };
}
