/**
 * Makes the tarballs that are published, from the binaries of all platforms:
 *
 *     node scripts/pack.mjs --binaries artifacts --repository https://example.com/owner/name packages
 *
 * `--binaries` is where they were downloaded to, `--repository` what the manifests lead to, and
 * `packages` the folder of the tarballs.
 */
import { parseArgs } from 'node:util';
import { filesBelow, packAll } from './tarballs.mjs';

const { values: options, positionals } = parseArgs({
  options: { binaries: { type: 'string' }, repository: { type: 'string' } },
  allowPositionals: true,
});
const { binaries, repository } = options;
if (!binaries || !repository || positionals.length !== 1) {
  // This is what "npm publish" comes to in a clone, too.
  console.error(
    'What is published are tarballs: node scripts/pack.mjs --binaries FOLDER --repository URL FOLDER',
  );
  process.exit(2);
}
for (const { tarball, size } of packAll(positionals[0], {
  binaries: filesBelow(binaries),
  repository,
})) {
  console.log(`${tarball}: ${size.toLocaleString('en')} bytes`);
}
