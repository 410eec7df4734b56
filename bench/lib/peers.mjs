/** Who is measured. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { certificate } from './certificate.mjs';
import { bunBinary, inBench, rootDirectory } from './paths.mjs';

/**
 * @typedef {object} Peer
 * @property {string} name
 * @property {string[]} [command] starts the server; left out where it runs already
 * @property {Record<string, string>} [environment] added to that of the process
 * @property {Record<string, unknown>} [options] of its WebSocket server
 * @property {boolean} [isAddon] whether it is this package: its server answers `/join-leave`, and can be that
 * of an application
 * @property {boolean} [speaksTls] `false` where it cannot speak TLS itself
 * @property {boolean} [behindHttps] whether Node's `https.Server` speaks TLS for it; then scenarios
 * without TLS would measure nothing new
 * @property {boolean} [joinable] whether several of its servers can be joined by a Redis
 * @property {boolean} [joined] whether it is measured to show what that costs where nobody else is
 * @property {string} [adapter] by which of Socket.IO's adapters
 * @property {string} [dialect] what its clients speak on top of WebSocket
 * @property {string[]} [cannot] beginnings of the names of scenarios that it has no part in
 * @property {string} [url] of a server that runs already, ws://host:port
 * @property {string} version
 */

/** What joins several servers of Socket.IO. */
const ADAPTER = '@socket.io/redis-adapter';

const node = (/** @type {string} */ file) => [
  process.execPath,
  '--expose-gc',
  inBench('servers', file),
];

/**
 * A peer, or the reason why it cannot take part.
 * @typedef {Peer | string} Candidate
 */

/**
 * What can be named; with `--build`, more.
 * @type {Record<string, () => Candidate>}
 */
const known = {
  // ws takes bufferutil on its own where it is installed.
  ws: () => ws('ws', { WS_NO_BUFFER_UTIL: '1' }),
  'ws+bufferutil': () => {
    const { printed: version } = probe([process.execPath, '-p', versionOf('bufferutil')]);
    const peer = ws('ws+bufferutil', {});
    if (!version || typeof peer === 'string') {
      return 'the optional package bufferutil did not install here';
    }
    return { ...peer, version: `bufferutil ${version}` };
  },
  ...addonBoth('nextrush-websocket', rootDirectory),
  bun: () => {
    const { printed: version } = probe([bunBinary, '--version']);
    return version
      ? { name: 'bun', command: [bunBinary, inBench('servers/bun.js')], version: `Bun ${version}` }
      : 'the optional package bun did not install here';
  },
  'socket.io': socketIo,
  'socket.io+redis': () => joinedSocketIo('redis'),
  'socket.io+sharded': () => joinedSocketIo('sharded'),
  uws: () => {
    const { printed: version } = probe([process.execPath, '-p', versionOf('uWebSockets.js')]);
    return version
      ? { name: 'uws', command: node('uws.js'), version: `µWebSockets.js ${version}` }
      : 'uWebSockets.js is not in bench/node_modules; bench/README.md says how to get it there';
  },
};

/** Those whose packages are optional. */
export const optionalPeers = [
  'bun',
  'socket.io',
  'socket.io+redis',
  'socket.io+sharded',
  'ws+bufferutil',
];

/**
 * The peers that can take part, the one that others are compared with first: `ws`, where it is
 * among them. Says of the others why they cannot.
 * @param {import('./options.mjs').Options} options
 * @param {(line: string) => void} say
 * @returns {Peer[]}
 */
export function selectPeers(options, say) {
  const { builds } = options;
  const makers = Object.assign(
    {},
    known,
    ...builds.map(([name, directory]) => addonBoth(name, path.resolve(directory))),
  );
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
  const { printed: version } = probe([process.execPath, '-p', versionOf('ws')]);
  return version
    ? { name, command: node('ws.js'), environment, version: `ws ${version}` }
    : 'the package is not in bench/node_modules';
}

/** @returns {Candidate} */
function socketIo() {
  const { printed: version } = probe([process.execPath, '-p', versionOf('socket.io')]);
  if (!version) return 'the optional package socket.io did not install here';
  return {
    name: 'socket.io',
    command: node('socket.io.js'),
    // As ws on its own: see there.
    environment: { WS_NO_BUFFER_UTIL: '1' },
    dialect: 'socket-io',
    // The generator knows packets by their first byte, which compression would hide.
    cannot: ['deflate'],
    version: `Socket.IO ${version}`,
  };
}

/**
 * Socket.IO where servers are joined.
 * @param {'redis' | 'sharded'} adapter
 * @returns {Candidate}
 */
function joinedSocketIo(adapter) {
  const peer = socketIo();
  const { printed: version } = probe([process.execPath, '-p', versionOf(ADAPTER)]);
  const { printed: client } = probe([process.execPath, '-p', versionOf('redis')]);
  if (typeof peer === 'string') return peer;
  if (!version || !client) return `the optional packages ${ADAPTER} and redis did not install here`;
  return {
    ...peer,
    name: `socket.io+${adapter}`,
    joinable: true,
    adapter,
    version: `${peer.version} with ${ADAPTER} ${version} and redis ${client}`,
  };
}

/** @param {string} name of an installed package, whose version the script prints */
const versionOf = (name) => `require("${name}/package.json").version`;

/**
 * The addon of a checkout by its own name; with `+https`, behind an `https.Server`; and with
 * `+cluster`, joined to a Redis where nobody else is.
 * @param {string} name
 * @param {string} root
 * @returns {Record<string, () => Candidate>}
 */
function addonBoth(name, root) {
  return {
    [name]: () => addon(name, root),
    [`${name}+https`]: () => {
      const peer = addon(name, root);
      if (typeof peer === 'string') return peer;
      return { ...peer, name: `${name}+https`, speaksTls: true, behindHttps: true };
    },
    [`${name}+cluster`]: () => {
      const peer = addon(name, root);
      return typeof peer === 'string' ? peer : { ...peer, name: `${name}+cluster`, joined: true };
    },
  };
}

/** Prints the version of the addon, and whether a plugin has the option `tls`. */
const ADDON = `
  const root = process.env.NEXTRUSH_WEBSOCKET_ROOT;
  const { WebSocketPlugin } = require(root);
  const { cert, key } = JSON.parse(process.env.BENCH_CERTIFICATE);
  let speaksTls = true;
  try {
    new WebSocketPlugin({ tls: { cert, key } });
  } catch (error) {
    if (!error.message.includes('unknown option')) throw error;
    speaksTls = false;
  }
  console.log(JSON.stringify({ version: require(root + '/package.json').version, speaksTls }));
`;

/**
 * The addon of a checkout.
 * @param {string} name
 * @param {string} root
 * @returns {Candidate}
 */
function addon(name, root) {
  const environment = { NEXTRUSH_WEBSOCKET_ROOT: root };
  const { printed, problem } = probe([process.execPath, '-e', ADDON], {
    ...environment,
    BENCH_CERTIFICATE: JSON.stringify(certificate()),
  });
  if (!printed) return `${root} does not load, is it built? (${problem})`;
  const { version, speaksTls } = JSON.parse(printed);
  return {
    name,
    command: node('nextrush-websocket.js'),
    environment,
    isAddon: true,
    joinable: true,
    speaksTls,
    version: `nextrush-websocket ${version}`,
  };
}

/**
 * Runs a command that prints what there is to know.
 * @param {string[]} command
 * @param {Record<string, string>} [environment]
 */
function probe([file, ...args], environment) {
  const { status, stdout, stderr, error } = spawnSync(file, args, {
    cwd: inBench(),
    env: { ...process.env, ...environment },
    encoding: 'utf8',
  });
  if (status === 0) return { printed: stdout.trim() };
  const problem = error?.message ?? stderr.split('\n').find((line) => line.includes('Error'));
  return { problem: problem ?? `status ${status}` };
}
