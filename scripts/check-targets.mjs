/**
 * Type-checks the crate for the platforms that nothing here can run: Windows and both macOS.
 *
 *     npm run check:targets                       # all three
 *     npm run check:targets -- win32-x64          # one
 *
 * A minute each the first time, a second afterwards. A machine that lacks a tool and cannot install
 * it says so, and checks nothing; with `--required` that fails.
 */
import { spawnSync } from 'node:child_process';
import { delimiter } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { PLATFORMS, platformOf } from './platforms.mjs';
import { lackOf } from './tools/lacking.mjs';
import { rustFor } from './tools/rust.mjs';
import { zig } from './tools/zig.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const { values: options, positionals } = parseArgs({
  options: { required: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const chosen =
  positionals.length > 0
    ? positionals.map(platformOf)
    : PLATFORMS.filter(({ os }) => os !== 'linux');

const lacking = lackOf(() => {
  for (const platform of chosen) check(platform);
});
if (lacking) {
  console.log(`Not checked for ${chosen.map(({ name }) => name).join(', ')}: ${lacking}`);
  if (options.required) process.exitCode = 1;
}

function check({ name, triple }) {
  // Where cargo cannot do without it: a build script compiles C.
  const path = zig();
  const { env, args } = rustFor(triple);
  console.log(`Checking for ${name}`);
  const { status, stderr } = spawnSync(
    'cargo-zigbuild',
    [
      ...['check', '--lib', '--locked', '--quiet', '--target', triple, ...args],
      ...['--target-dir', 'target/check-targets'],
    ],
    {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      env: { ...process.env, ...env, PATH: `${path}${delimiter}${process.env.PATH}` },
    },
  );
  process.stderr.write(stderr);
  // Of our own crate only: those of others are silent anyway.
  if (status !== 0 || /^warning/m.test(stderr)) {
    console.error(`The crate does not pass for ${name}.`);
    process.exit(1);
  }
}
