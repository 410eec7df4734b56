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
 * @property {Record<string, unknown>} [options] of its WebSocket server
 * @property {boolean} [hasRooms] whether its server answers `/join-leave`
 * @property {string} [url] of a server that runs already, ws://host:port
 * @property {string} version
 */

const node = (/** @type {string} */ file) => [process.execPath, inBench('servers', file)];

/**
 * A peer, or the reason why it cannot take part.
 * @typedef {Peer | string} Candidate
 */

/** @type {Record<string, () => Candidate>} */
const known = {
  // ws takes bufferutil on its own where it is installed.
  ws: () => ws('ws', { WS_NO_BUFFER_UTIL: '1' }),
  'ws+bufferutil': () => {
    const { version } = probe([process.execPath, '-p', versionOf('bufferutil')]);
    const peer = ws('ws+bufferutil', {});
    if (!version || typeof peer === 'string') {
      return 'the optional package bufferutil did not install here';
    }
    return { ...peer, version: `bufferutil ${version}` };
  },
  'nextrush-websocket': () => addon('nextrush-websocket', rootDirectory),
  bun: () => {
    const { version } = probe([bunBinary, '--version']);
    return version
      ? { name: 'bun', command: [bunBinary, inBench('servers/bun.js')], version: `Bun ${version}` }
      : 'the optional package bun did not install here';
  },
};

/** Those whose packages are optional. */
export const optionalPeers = ['bun', 'ws+bufferutil'];

/**
 * The peers that can take part, the one that others are compared with first: `ws`, where it is
 * among them. Says of the others why they cannot.
 * @param {import('./options.mjs').Options} options
 * @param {(line: string) => void} say
 * @returns {Peer[]}
 */
export function selectPeers(options, say) {
  const builds = options.builds.map(([name, directory]) => [
    name,
    () => addon(name, path.resolve(directory)),
  ]);
  const makers = { ...known, ...Object.fromEntries(builds) };
  const names = [...new Set([...options.peers, ...builds.map(([name]) => name)])];
  const candidates = [
    ...names.map((name) => [name, variantOf(makers, name)]),
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
 * A peer whose name may carry options: `nextrush-websocket:ioThreads=2:maxBackpressure=65536`.
 * Values are JSON, or else strings.
 * @param {Record<string, () => Candidate>} makers
 * @param {string} name
 * @returns {Candidate}
 */
function variantOf(makers, name) {
  const [base, ...settings] = name.split(':');
  const peer = makers[base]?.() ?? `known are ${Object.keys(makers).join(', ')}`;
  if (typeof peer === 'string' || settings.length === 0) return peer;
  const options = settings.map((setting) => {
    const at = setting.indexOf('=');
    if (at < 1) throw new Error(`--peers ${name}: expected OPTION=VALUE after each colon`);
    return [setting.slice(0, at), parseValue(setting.slice(at + 1))];
  });
  return { ...peer, name, options: Object.fromEntries(options) };
}

/** @param {string} text */
function parseValue(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/**
 * @param {string} name
 * @param {Record<string, string>} environment
 * @returns {Candidate}
 */
function ws(name, environment) {
  const { version } = probe([process.execPath, '-p', versionOf('ws')]);
  return version
    ? { name, command: node('ws.js'), environment, version: `ws ${version}` }
    : 'the package is not in bench/node_modules';
}

/** @param {string} name of an installed package, whose version the script prints */
const versionOf = (name) => `require("${name}/package.json").version`;

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
        hasRooms: true,
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
