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
 * What a scenario wants of every server.
 * @typedef {object} ServerSettings
 * @property {Record<string, unknown>} [options] of the WebSocket server, by the name that all peers
 * give them
 * @property {import('./certificate.mjs').Certificate} [tls] where it is to speak TLS
 * @property {boolean} [bareHttp] whether HTTP requests are answered without a framework
 * @property {string} [broker] the URL of a Redis by which it is to find the others
 */

/**
 * @typedef {object} Server
 * @property {string} url ws://host:port, wss:// with TLS
 * @property {string} [ca] with TLS: the file with its certificate
 * @property {string} [dialect] what is spoken on top of WebSocket, as the generator calls it
 * @property {number} [pid] where the process is ours
 * @property {Record<string, number | undefined>} [pids] of all processes, where there are several
 * @property {() => Promise<void>} stop
 */

/**
 * Starts a peer's server and waits until it listens. A peer with a URL runs already.
 * @param {import('./peers.mjs').Peer} peer
 * @param {ServerSettings} [settings]
 * @returns {Promise<Server>}
 */
export async function startServer(peer, { options, tls, bareHttp, broker } = {}) {
  if (!peer.command) return { url: /** @type {string} */ (peer.url), stop: async () => {} };
  const settings = {
    options: { ...options, ...peer.options },
    tls: tls && { cert: tls.cert, key: tls.key },
    tlsFiles: tls && { cert: tls.file, key: tls.keyFile },
    behindHttps: peer.behindHttps,
    bareHttp,
    broker: broker && { url: broker, adapter: peer.adapter },
  };
  // The shell raises the limit on descriptors as far as it may, then becomes the server.
  const raised = 'ulimit -n "$(ulimit -Hn)"; exec "$@"';
  const child = startProcess('sh', ['-c', raised, 'sh', ...peer.command], {
    env: { ...process.env, ...peer.environment, BENCH_SERVER: JSON.stringify(settings) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const stop = () => stopProcess(child, ended);
  try {
    const { listening, pid } = await firstLine(child, peer.name);
    return {
      url: `${tls ? 'wss' : 'ws'}://127.0.0.1:${listening}`,
      ca: tls?.file,
      dialect: peer.dialect,
      pid,
      stop,
    };
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
