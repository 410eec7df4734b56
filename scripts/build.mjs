/**
 * Builds the addon, always by what the lock file names:
 *
 *     npm run build                             # for this machine, as it is released
 *     npm run build:debug                       # without optimization, with debug assertions
 *     npm run build:portable                    # for this machine, linked for an old glibc
 *     npm run build:portable -- linux-arm64-musl   # for another platform; or by its triple
 *
 * A plain build asks for the glibc of the machine that it was made on; zig links against the symbols
 * of any older one. A release has no path of the machine that built it inside.
 */
import { spawnSync } from 'node:child_process';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { binaryOf, GLIBC_FLOOR, hostPlatform, MACOS_FLOOR, platformOf } from './platforms.mjs';
import { Lacking } from './tools/lacking.mjs';
import { rustFor } from './tools/rust.mjs';
import { zig } from './tools/zig.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const { values: options, positionals } = parseArgs({
  options: {
    debug: { type: 'boolean', default: false },
    portable: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
const host = hostPlatform();
const platform = positionals.length > 0 ? platformOf(positionals[0]) : host;

try {
  build();
} catch (error) {
  if (!(error instanceof Lacking)) throw error;
  console.error(`Not built for ${platform.name}: ${error.message}`);
  process.exit(1);
}

function build() {
  const foreign = platform.triple !== host.triple;
  // Apple's own linker does both of its architectures, Microsoft's nothing else.
  const byZig =
    options.portable && (platform.os === 'linux' || (foreign && process.platform === 'linux'));
  const rust = foreign ? rustFor(platform.triple) : { env: {}, args: [] };
  const env = { ...process.env, ...rust.env };
  if (byZig) env.PATH = `${zig()}${delimiter}${env.PATH}`;
  if (!options.debug) {
    const flags = [env.RUSTFLAGS, ...remaps(rust), ...linkedAs(byZig)];
    env.RUSTFLAGS = flags.filter(Boolean).join(' ');
  }
  // Else what is built from C and assembly has paths in its debug information.
  if (!options.debug && platform.os !== 'win32') env.CFLAGS = `${env.CFLAGS ?? ''} -g0`.trim();
  // zig's linker leaves out the symbols, and there is no Apple's `strip` here.
  if (byZig && platform.os === 'darwin') env.CARGO_PROFILE_RELEASE_STRIP = 'none';
  if (platform.os === 'darwin') env.MACOSX_DEPLOYMENT_TARGET ??= MACOS_FLOOR[platform.cpu];

  const versioned =
    platform.libc === 'glibc' ? `${platform.triple}.${GLIBC_FLOOR}` : platform.triple;
  const target = byZig
    ? ['--cross-compile', '--target', versioned]
    : foreign
      ? ['--target', platform.triple]
      : [];
  const napi = join(root, 'node_modules/@napi-rs/cli/dist/cli.js');
  const args = [
    ...[napi, 'build', '--platform', ...(options.debug ? [] : ['--release']), ...target],
    // Only the loader of this machine's own build is taken, so that it is always the same.
    ...['--js', foreign ? 'target/js-binding.js' : 'js-binding.js'],
    ...['--dts', 'target/js-binding.d.ts', '--', '--locked', ...rust.args],
  ];
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', env });
  if (status !== 0) process.exit(status ?? 1);
  console.log(binaryOf(platform));
}

/** macOS has a library say what it is called: by itself by the path that it was linked at. */
function linkedAs(byZig) {
  if (platform.os !== 'darwin') return [];
  const name = `-Clink-arg=-Wl,-install_name,@rpath/${binaryOf(platform)}`;
  // Without the symbols of zig's own parts, which have paths.
  return byZig ? [name, '-Clink-arg=-Wl,-s'] : [name];
}

/** What paths in the binary begin with instead: they are in the texts of panics. */
function remaps({ sources }) {
  const cargoHome = process.env.CARGO_HOME ?? join(homedir(), '.cargo');
  const prefixes = [
    [root.replace(/[\\/]$/, ''), '/nextrush-websocket'],
    [cargoHome, '/cargo'],
    ...(sources ? [[sources, '/rust']] : []),
  ];
  return prefixes.map(([from, to]) => `--remap-path-prefix=${from}=${to}`);
}
