/** A server under load, as its own process. */
import { once } from 'node:events';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { startProcess } from './processes.mjs';

/** How long a server may take to listen, in milliseconds. */
const START_LIMIT = 15_000;

/** How long a server may take to end after SIGTERM, in milliseconds. */
const STOP_LIMIT = 3_000;

/**
 * @typedef {object} Server
 * @property {string} url ws://host:port
 * @property {number} [pid] where the process is ours
 * @property {() => Promise<void>} stop
 */

/**
 * Starts a peer's server and waits until it listens. A peer with a URL runs already.
 * @param {import('./peers.mjs').Peer} peer
 * @returns {Promise<Server>}
 */
export async function startServer(peer) {
  if (!peer.command) return { url: /** @type {string} */ (peer.url), stop: async () => {} };
  // The shell raises the limit on descriptors as far as it may, then becomes the server.
  const raised = 'ulimit -n "$(ulimit -Hn)"; exec "$@"';
  const child = startProcess('sh', ['-c', raised, 'sh', ...peer.command], {
    env: { ...process.env, ...peer.environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const stop = () => stopProcess(child, ended);
  try {
    const { listening, pid } = await firstLine(child, peer.name);
    return { url: `ws://127.0.0.1:${listening}`, pid, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * What the server prints when it listens.
 * @param {import('node:child_process').ChildProcess} child
 * @param {string} name
 * @returns {Promise<{ listening: number, pid: number }>}
 */
function firstLine(child, name) {
  return new Promise((resolve, reject) => {
    const limit = setTimeout(
      () => reject(new Error(`${name} did not listen in time`)),
      START_LIMIT,
    );
    const fail = (/** @type {Error} */ error) => {
      clearTimeout(limit);
      reject(error);
    };
    child.once('error', fail);
    child.once('exit', (code) =>
      fail(new Error(`${name} ended with status ${code} before it listened`)),
    );
    const lines = createInterface({
      input: /** @type {import('node:stream').Readable} */ (child.stdout),
    });
    lines.on('line', (line) => {
      // A server may print other lines, before and after.
      if (!line.startsWith('{"listening"')) return;
      clearTimeout(limit);
      resolve(JSON.parse(line));
    });
  });
}

/**
 * @param {import('node:child_process').ChildProcess} child
 * @param {Promise<unknown>} ended
 */
async function stopProcess(child, ended) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const limit = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT);
  await ended;
  clearTimeout(limit);
}
