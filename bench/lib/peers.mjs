/** Who is measured. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { bunBinary, inBench, rootDirectory } from './paths.mjs';

/**
 * @typedef {object} Peer
 * @property {string} name
 * @property {string[]} [command] starts the server; left out where it runs already
 * @property {Record<string, string>} [environment] added to that of the process
 * @property {string} [url] of a server that runs already, ws://host:port
 * @property {string} version
 */

/** `--expose-gc` costs nothing until `/gc` is asked for. */
const node = (/** @type {string} */ file) => [
  process.execPath,
  '--expose-gc',
  inBench('servers', file),
];

/**
 * A peer, or the reason why it cannot take part.
 * @typedef {Peer | string} Candidate
 */

/** @type {Record<string, () => Candidate>} */
const known = {
  ws: () => {
    const { version } = probe([process.execPath, '-p', 'require("ws/package.json").version']);
    return version
      ? { name: 'ws', command: node('ws.js'), version: `ws ${version}` }
      : 'the package is not in bench/node_modules';
  },
  'nextrush-websocket': () => addon('nextrush-websocket', rootDirectory),
  bun: () => {
    const { version } = probe([bunBinary, '--version']);
    return version
      ? { name: 'bun', command: [bunBinary, inBench('servers/bun.js')], version: `Bun ${version}` }
      : 'the optional package bun did not install here';
  },
};

/**
 * The peers that can take part, the one that others are compared with first: `ws`, where it is
 * among them. Says of the others why they cannot.
 * @param {import('./options.mjs').Options} options
 * @param {(line: string) => void} say
 * @returns {Peer[]}
 */
export function selectPeers(options, say) {
  const candidates = [
    ...options.peers.map((name) => [
      name,
      known[name]?.() ?? `known are ${Object.keys(known).join(', ')}`,
    ]),
    ...options.builds.map(([name, directory]) => [name, addon(name, path.resolve(directory))]),
    ...options.urls.map(([name, url]) => [
      name,
      { name, url: url.replace(/\/$/, ''), version: url },
    ]),
  ];
  for (const [name, reason] of candidates) {
    if (typeof reason === 'string') say(`Peer ${name} is left out: ${reason}`);
  }
  const peers = candidates.map(([, peer]) => peer).filter((peer) => typeof peer !== 'string');
  if (peers.length === 0) throw new Error('no peer is left to measure');
  return peers.sort((a, b) => Number(b.name === 'ws') - Number(a.name === 'ws'));
}

/**
 * The addon of a checkout.
 * @param {string} name
 * @param {string} root
 * @returns {Candidate}
 */
function addon(name, root) {
  const environment = { NEXTRUSH_WEBSOCKET_ROOT: root };
  const script =
    'require(process.env.NEXTRUSH_WEBSOCKET_ROOT).WebSocketPlugin.name && require(process.env.NEXTRUSH_WEBSOCKET_ROOT + "/package.json").version';
  const { version, problem } = probe([process.execPath, '-p', script], environment);
  return version
    ? {
        name,
        command: node('nextrush-websocket.js'),
        environment,
        version: `nextrush-websocket ${version}`,
      }
    : `${root} does not load, is it built? (${problem})`;
}

/**
 * Runs a command that prints a version.
 * @param {string[]} command
 * @param {Record<string, string>} [environment]
 */
function probe([file, ...args], environment) {
  const { status, stdout, stderr, error } = spawnSync(file, args, {
    cwd: inBench(),
    env: { ...process.env, ...environment },
    encoding: 'utf8',
  });
  if (status === 0) return { version: stdout.trim() };
  const problem = error?.message ?? stderr.split('\n').find((line) => line.includes('Error'));
  return { problem: problem ?? `status ${status}` };
}
