/** What it costs to join and leave a room, and to close a connection that is in many. */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { clientOptions, openIdle } from './generator.mjs';
import { getJson } from './http.mjs';

/** @typedef {{ members: number, others: number }} Case */

/**
 * Measures in the server itself, with one connection that joins and leaves again and again.
 * @param {import('./server.mjs').Server} server
 * @param {Case[]} cases how many others are in that room, and in how many other rooms it is itself
 */
export async function measureJoinLeave(server, cases) {
  const results = [];
  for (const { members, others } of cases) {
    const room = await openIdle({ ...clientOptions(server, '/room'), connections: members });
    results.push({ members, others, ...(await probe(server, others)) });
    await room.close();
  }
  return { scenario: 'join-leave', results, errors: 0 };
}

/**
 * @param {import('./server.mjs').Server} server
 * @param {number} others
 */
async function probe(server, others) {
  const socket = new WebSocket(`${server.url}/probe`);
  await once(socket, 'open');
  const { ns_each } = await getJson(server, `/join-leave/${others}`);
  // Close frame to close frame: the server answers after it has left all rooms.
  const start = performance.now();
  socket.close();
  await once(socket, 'close');
  return { ns_each, close_ms: performance.now() - start };
}
