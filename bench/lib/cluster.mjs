/** Two servers of one peer that a Redis joins, and what one costs the other. */
import { RedisServer } from '../../scripts/redis-server.mjs';
import { clientOptions, runLoad } from './generator.mjs';
import { startServer } from './server.mjs';

/**
 * @typedef {import('./server.mjs').Server & { publisher: import('./server.mjs').Server }} Cluster
 * the server with the members, and the one that broadcasts
 */

/**
 * Starts a broker and two servers. The load generator waits until they hear each other.
 * @param {import('./peers.mjs').Peer} peer
 * @returns {Promise<Cluster>}
 */
export async function startCluster(peer) {
  const broker = new RedisServer();
  await broker.start();
  /** @type {import('./server.mjs').Server[]} */
  const servers = [];
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await broker.close();
  };
  try {
    for (let count = 0; count < 2; count++) {
      servers.push(await startServer(peer, { bareHttp: true, broker: broker.url }));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const [members, publisher] = servers;
  const pids = { members: members.pid, publisher: publisher.pid, broker: broker.pid };
  return { ...members, publisher, pids, stop };
}

/**
 * One server with a broker, as if it had others; without one where the peer is not to be joined.
 * @param {import('./peers.mjs').Peer} peer
 * @returns {Promise<import('./server.mjs').Server>}
 */
export async function startJoined(peer) {
  if (!peer.joined) return startServer(peer, { bareHttp: true });
  const broker = new RedisServer();
  await broker.start();
  try {
    const server = await startServer(peer, { bareHttp: true, broker: broker.url });
    const stop = async () => {
      await server.stop();
      await broker.close();
    };
    return { ...server, stop };
  } catch (error) {
    await broker.close();
    throw error;
  }
}

/**
 * Has one server broadcast to members on the other, or to those of its own.
 * @param {Cluster} cluster
 * @param {import('./generator.mjs').LoadOptions & { membersAt?: 'publisher' }} options
 */
export function relay(cluster, { membersAt, ...options }) {
  const { url } = cluster.publisher;
  const processes = Object.entries(cluster.pids ?? {}).map(([name, pid]) => `${name}=${pid}`);
  return runLoad('cluster', {
    ...clientOptions(membersAt === 'publisher' ? cluster.publisher : cluster),
    publisher: url,
    processes: processes.join(),
    ...options,
  });
}
