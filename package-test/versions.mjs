/**
 * What `npm run test:package` installs besides our own development dependencies, each in exactly this
 * version. Nothing else here needs it.
 */
export const JEST = '30.5.2';

/** Bundlers of docs/guide/bundlers.md, and what its recipes need besides. */
export const BUNDLERS = {
  esbuild: '0.28.2',
  rollup: '4.68.8',
  '@rollup/plugin-commonjs': '29.0.3',
  '@rollup/plugin-node-resolve': '16.0.3',
  webpack: '5.113.0',
  'webpack-cli': '7.3.1',
  'node-loader': '2.1.0',
  tsup: '9.0.0',
  '@vercel/ncc': '0.45.0',
  postject: '1.0.0-alpha.6',
};

/** Package managers; npm is the one that runs the test. */
export const MANAGERS = {
  pnpm: '12.21.0',
  '@yarnpkg/cli-dist': '4.18.1',
  bun: '1.4.5',
};

/** The oldest compiler that takes the types, some in between, and the newest. */
export const TYPESCRIPTS = ['5.0.4', '5.2.2', '5.4.5', '5.6.3', '5.8.3', '5.9.3', '6.0.3', '7.0.2'];
