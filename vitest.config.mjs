import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { configDefaults, defineConfig } from 'vitest/config';

const isBun = process.versions.bun !== undefined;

/** Whatever these show is decided in JavaScript, or by the handshake, before there is a transport. */
const DECIDED_BEFORE = [
  ...['option-tables', 'options', 'origins', 'package', 'paths', 'realms', 'soak-account'],
  'subprotocols',
];

/** These choose the transport of each server themselves, or have applications that speak no TLS. */
const OWN_SERVERS = [
  ...[
    'app',
    'bridge',
    'cluster-adapters',
    'demos',
    'docs',
    'examples',
    'host',
    'prometheus',
    'secure',
  ],
];

/** What comes from other servers comes to the engine, whatever the transport of its members. */
const ACROSS_SERVERS = ['redis', 'redis-cluster', 'redis-faults', 'redis-login', 'redis-strangers'];

/** These ask a compiler, the loader or a script of the project, and connect to nobody. */
const UNCONNECTED = ['licenses', 'load-errors', 'missing-binary', 'testing', 'types'];

/**
 * A browser speaks with the engine itself; that it is bridged it cannot tell. In Bun there is nothing
 * else.
 */
const NOT_BRIDGED = isBun ? [] : ['browser'];

/**
 * An `https.Server` is a bridge whose stream encrypts. What is not about how bytes and ends come over it
 * has been shown over a bridge, and over TLS.
 */
const NOT_ENCRYPTED_BY_NODE = isBun
  ? []
  : [
      ...['async-context', 'browser', 'budgets', 'cluster', 'contained', 'context', 'deflate'],
      ...['errors', 'fairness', 'handshake', 'hub', 'io-threads', 'middleware', 'neighbours'],
      ...['rejections', 'rooms', 'stats', 'workers'],
    ];

/** What they load is loaded by each thread for itself, where nothing gives it a certificate. */
const IN_WORKERS = ['workers'];

/** These encrypt by themselves, over descriptors and over bridges. */
const CHOOSE_ENCRYPTION = ['proxy-protocol'];

/** In Bun there is nothing of what these are about. */
const NOT_IN_BUN = isBun ? CHOOSE_ENCRYPTION : [];

/** TLS itself, which the other transports have not. */
const ENCRYPTED = ['tls'];

const ONCE = [...DECIDED_BEFORE, ...OWN_SERVERS, ...UNCONNECTED, ...ACROSS_SERVERS];

/** The others of them are about Node: its descriptors, compiler, loader and command line. */
const ONCE_IN_BUN = [...DECIDED_BEFORE, ...ACROSS_SERVERS, 'examples'];

const files = (names) => names.map((name) => `__test__/${name}.spec.ts`);

function project(name, test) {
  return { extends: true, test: { name, ...test } };
}

/** The specs over a transport; `__test__/support/transport.ts` says what that means. */
function over(transport, exclude, { env = {}, ...rest } = {}) {
  return project(transport, {
    ...rest,
    include: ['__test__/**/*.spec.ts'],
    env: { TEST_TRANSPORT: transport, ...env },
    exclude: [...configDefaults.exclude, ...files([...ONCE, ...exclude])],
  });
}

/** Bun has a `ws` of its own, which would not be the independent client that the tests want. */
const alias = isBun ? { ws: path('node_modules/ws/wrapper.mjs') } : {};

function path(file) {
  return fileURLToPath(new URL(file, import.meta.url));
}

function secure() {
  return over('secure', [...ENCRYPTED, ...IN_WORKERS, ...CHOOSE_ENCRYPTION], {
    setupFiles: ['__test__/support/secure-setup.ts'],
    alias: [
      { find: /^(\.\.\/)+index\.js$/, replacement: path('__test__/support/secure-index.ts') },
    ],
  });
}

/** The suite of the application in `examples/app`, with our packages in the place of those on npm. */
function application() {
  return project('app', {
    include: ['examples/app/test/*.test.ts'],
    alias: [
      { find: /^nextrush$/, replacement: path('examples/host/index.js') },
      { find: /^nextrush-websocket$/, replacement: path('index.js') },
      { find: /^nextrush-websocket\/testing$/, replacement: path('lib/testing/index.js') },
    ],
  });
}

export default defineConfig({
  resolve: { alias },
  test: {
    // Specs wait as much as they work: for a server that is kept busy, a heartbeat, a time limit. By
    // itself vitest leaves a core free, which on two cores is half of them.
    maxWorkers: availableParallelism() + 2,
    // Real sockets on a small machine: generous, because no test asserts a time.
    testTimeout: 30_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
    projects: [
      project('once', { include: files(isBun ? ONCE_IN_BUN : ONCE) }),
      over('adopted', [...ENCRYPTED, ...NOT_IN_BUN]),
      over('bridge', [...ENCRYPTED, ...NOT_BRIDGED, ...NOT_IN_BUN], {
        env: { NEXTRUSH_WEBSOCKET_TRANSPORT: 'bridge' },
      }),
      over('tls', [...NOT_ENCRYPTED_BY_NODE, ...CHOOSE_ENCRYPTION]),
      // Bun has no descriptors to encrypt on, which the application does as well.
      ...(isBun ? [] : [secure(), application()]),
    ],
  },
});
