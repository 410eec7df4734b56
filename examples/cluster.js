/**
 * Two servers that share their rooms: whoever is connected to one talks to those on the other.
 *
 *   node examples/cluster.js
 *   npx wscat -c ws://localhost:3000/chat
 *   npx wscat -c ws://localhost:3001/chat
 *
 * They meet over the Redis in REDIS_URL, or over one that is started here. Where there is none, they
 * are workers of node:cluster, which need no broker.
 */

import { spawn, spawnSync } from 'node:child_process';
import cluster from 'node:cluster';
import { once } from 'node:events';
import { existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocketPlugin } from '../index.mjs';
import { relayClusterWorkers, workersAdapter } from '../lib/cluster/workers.js';

const file = fileURLToPath(import.meta.url);

/**
 * One of the servers. In an application each runs on a machine of its own.
 *
 * @param {{ name: string, port: number, host: string,
 *   options: NonNullable<import('../index.js').WebSocketPluginOptions['cluster']> }} node
 */
async function startNode({ name, port, host, options }) {
  const server = createServer((_req, res) => res.end(`this is node ${name}\n`));
  const wsPlugin = new WebSocketPlugin({ cluster: options });

  wsPlugin.attach(server).ws('/chat', (socket) => {
    socket.join('chat');
    socket.send(`welcome to node ${name}`);
    socket.onMessage((text) => socket.broadcast('chat', `${name}: ${text}`));
  });
  wsPlugin.on('cluster:down', (reason) => console.warn(`${name} is on its own: ${reason}`));
  wsPlugin.on('cluster:gap', (gap) => console.warn(`${name} may have missed something`, gap));

  const isUp = once(wsPlugin, 'cluster:up');
  // A port of its own, for workers of node:cluster as well.
  server.listen({ port, host, exclusive: true });
  await once(server, 'listening');
  await isUp;
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    port: address.port,
    async close() {
      await wsPlugin.cleanup();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Starts a Redis in a folder of its own. */
async function startRedis() {
  const folder = mkdtempSync(join(tmpdir(), 'cluster-example-'));
  const path = join(folder, 'redis.sock');
  const redis = spawn('redis-server', ['--port', '0', '--unixsocket', path, '--save', ''], {
    cwd: folder,
    stdio: 'ignore',
  });
  while (!existsSync(path)) {
    if (redis.exitCode !== null) throw new Error('redis-server does not start');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return {
    url: `redis+unix://${path}`,
    async close() {
      redis.kill();
      await once(redis, 'exit');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** @typedef {{ ports: number[], close(): Promise<void> }} Running */

/**
 * Both servers in this process, and Redis between them.
 *
 * @param {number} port
 * @param {string} host
 * @param {string} [given] where Redis is
 * @returns {Promise<Running>}
 */
async function startOverRedis(port, host, given) {
  const redis = given === undefined ? await startRedis() : undefined;
  const options = { url: given ?? /** @type {string} */ (redis?.url) };
  const nodes = [
    await startNode({ name: 'A', port, host, options }),
    await startNode({ name: 'B', port: port && port + 1, host, options }),
  ];
  return {
    ports: nodes.map((node) => node.port),
    async close() {
      await Promise.all(nodes.map((node) => node.close()));
      await redis?.close();
    },
  };
}

/**
 * Each server in a worker, and this process between them.
 *
 * @param {number} port
 * @param {string} host
 * @returns {Promise<Running>}
 */
async function startInWorkers(port, host) {
  cluster.setupPrimary({ exec: file, args: [] });
  const relay = relayClusterWorkers();
  const workers = ['A', 'B'].map((name, index) =>
    cluster.fork({ EXAMPLE_NODE: name, PORT: port && port + index, HOST: host }),
  );
  const ports = workers.map(
    (worker) =>
      new Promise((resolve) => {
        worker.on('message', (message) => message.port !== undefined && resolve(message.port));
      }),
  );
  return {
    ports: await Promise.all(ports),
    async close() {
      await Promise.all(
        workers.map(async (worker) => {
          const exited = once(worker, 'exit');
          worker.send('close');
          await exited;
        }),
      );
      relay.close();
    },
  };
}

/**
 * @param {import('./launch.js').StartOptions & { redis?: string | boolean }} [options] `redis` is where
 *   one is, or whether to use one at all
 */
export async function start({ port = 3000, host = '127.0.0.1', redis = true } = {}) {
  const hasRedis = spawnSync('redis-server', ['--version']).error === undefined;
  if (typeof redis === 'string') return startOverRedis(port, host, redis);
  return redis && hasRedis ? startOverRedis(port, host) : startInWorkers(port, host);
}

if (cluster.isWorker && process.env.EXAMPLE_NODE !== undefined) {
  const { EXAMPLE_NODE: name, PORT: port, HOST: host = '127.0.0.1' } = process.env;
  const node = await startNode({ name, port: Number(port), host, options: workersAdapter() });
  process.on('message', async (message) => {
    if (message !== 'close') return;
    await node.close();
    cluster.worker?.disconnect();
  });
  process.send?.({ port: node.port });
} else if (
  process.argv[1] &&
  existsSync(process.argv[1]) &&
  realpathSync(process.argv[1]) === file
) {
  const { ports, close } = await start({
    port: Number(process.env.PORT ?? 3000),
    host: process.env.HOST,
    redis: process.env.REDIS_URL,
  });
  for (const port of ports) console.log(`ws://localhost:${port}/chat`);
  process.once('SIGINT', close);
  process.once('SIGTERM', close);
}
