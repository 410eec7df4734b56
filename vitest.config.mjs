import { fileURLToPath } from 'node:url';
import { configDefaults, defineConfig } from 'vitest/config';

/** Specs without connections of their own process, or with a transport of their own. */
const ONCE = ['bridge', 'docs', 'host', 'missing-binary', 'types'];

/** Servers of the examples, and of scripts, that speak no TLS. */
const PLAIN = ['examples'];

/** The specs once more over a transport; `__test__/support/transport.ts` says what that means. */
function over(transport, exclude, env = {}) {
  return {
    extends: true,
    test: {
      name: transport,
      env: { TEST_TRANSPORT: transport, ...env },
      exclude: [...configDefaults.exclude, ...exclude.map((name) => `__test__/${name}.spec.ts`)],
    },
  };
}

/** Bun has a `ws` of its own, which would not be the independent client that the tests want. */
const alias = process.versions.bun
  ? { ws: fileURLToPath(new URL('node_modules/ws/wrapper.mjs', import.meta.url)) }
  : {};

export default defineConfig({
  resolve: { alias },
  test: {
    include: ['__test__/**/*.spec.ts'],
    // Real sockets on a small machine: generous, because no test asserts a time.
    testTimeout: 30_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
    projects: [
      over('adopted', ['tls']),
      over('bridge', ['tls', ...ONCE], { NEXTRUSH_WEBSOCKET_TRANSPORT: 'bridge' }),
      over('tls', [...ONCE, ...PLAIN]),
    ],
  },
});
