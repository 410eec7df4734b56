/** Sets of scenarios and peers, by name. */

/**
 * @typedef {object} Preset
 * @property {string} title
 * @property {string[]} peers by name, as `--peers` takes them
 * @property {string[]} scenarios by name
 * @property {'cluster'} [part] of docs/benchmarks.md that it is for; without it, the whole page
 * @property {Record<string, string[]>} [only] peers that take part in these scenarios only
 */

/** @type {Record<string, Preset>} */
export const presets = {
  default: {
    title: 'what changes when the engine does',
    peers: ['ws', 'nextrush-websocket'],
    scenarios: [
      'echo-1x1-20',
      'echo-64x1-20',
      'echo-64x16-20',
      'echo-64x16-20-burst',
      'echo-64x16-1024-burst',
      'echo-64x16-16384-burst',
      'broadcast-1000x1-64',
      'broadcast-5000x1-64',
      'broadcast-10000x10-64',
      'idle-10000',
      'connect',
      'httplag',
    ],
  },
  cluster: {
    title: 'several servers that a Redis joins, beside Socket.IO and its adapters',
    part: 'cluster',
    peers: [
      'socket.io+redis',
      'socket.io+sharded',
      'nextrush-websocket',
      'nextrush-websocket+cluster',
    ],
    scenarios: [
      'cluster-1x1-64',
      'cluster-1x20-64',
      'cluster-10x20-64',
      'cluster-1000x1-64',
      'cluster-1000x1-1024',
      'cluster-1000x10-64',
      'cluster-rate-20-1000x1-64',
      'cluster-unconcerned',
      'cluster-local-1x20',
      'cluster-local-10x1',
      'cluster-local-10x20',
      'cluster-local-1000x1',
    ],
  },
  docs: {
    title: 'what docs/benchmarks.md shows',
    peers: [
      'ws',
      'nextrush-websocket',
      'bun',
      'socket.io',
      'nextrush-websocket+https',
      'ws+bufferutil',
      'nextrush-websocket:ioThreads=2',
    ],
    scenarios: [
      'echo-1x1-20',
      'echo-4x1-20',
      'echo-64x1-20',
      'echo-64x16-20',
      'echo-64x16-20-burst',
      'echo-500x16-20-burst',
      'echo-64x1-1024',
      'echo-64x16-1024-burst',
      'echo-500x16-1024-burst',
      'echo-64x16-16384',
      'echo-64x16-16384-burst',
      'broadcast-1000x1-1024',
      'broadcast-5000x1-64',
      'broadcast-10000x10-64',
      'deflate-echo-64x1-1024',
      'deflate-echo-64x16-1024-burst',
      'deflate-broadcast-1000x1-1024',
      'tls-echo-64x1-20',
      'tls-echo-64x16-20-burst',
      'tls-broadcast-1000x1-64',
      'linear-100',
      'linear-1000',
      'linear-10000',
      'linear-18000',
      'join-leave',
      'idle-10000',
      'idle-10000-uncollected',
      'tls-idle-10000',
      'crowd-18000',
      'crowd-100000',
      'connect',
      'connect-application',
      'tls-connect',
      'http-64',
      'tls-http-64',
      'httplag',
      'httplag-commands',
      'tls-httplag',
    ],
    only: {
      // JSON and its own protocol are most of what it does: enough of them to show by how much.
      'socket.io': [
        'echo-1x1-20',
        'echo-64x1-20',
        'echo-64x16-20-burst',
        'broadcast-5000x1-64',
        'tls-echo-64x1-20',
        'idle-10000',
        'connect',
        'httplag',
      ],
      // Its native code is for masks and large messages.
      'ws+bufferutil': ['echo-64x16-16384', 'echo-64x16-16384-burst'],
      'nextrush-websocket:ioThreads=2': [
        'echo-64x1-20',
        'echo-64x16-16384-burst',
        'broadcast-10000x10-64',
      ],
    },
  },
};
