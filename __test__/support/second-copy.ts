import { createRequire } from 'node:module';

/** Another copy of the facade, as a second version or a cleared cache make it. */
export function secondCopy(): typeof import('../../index.js') {
  const require = createRequire(import.meta.url);
  const lib = Object.keys(require.cache).filter((path) => /\/(lib\/[^/]|index\.js)/.test(path));
  for (const path of lib) delete require.cache[path];
  return require('../../index.js');
}
