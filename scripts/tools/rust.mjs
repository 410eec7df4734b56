/** A Rust compiler that can build the standard library of any target, where rustup has not got it. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpacked } from './debian.mjs';

/** Debian's Rust for its browsers, which is younger than its Rust, with the sources. */
const PACKAGES = ['rustc-web', 'libstd-rust-web-dev', 'libstd-rust-web-1.96', 'rust-web-src'];
const LIBRARIES = ['libllvm22', 'libedit2', 'libxml2', 'libz3-4'];

/**
 * What cargo needs to build for a target: nothing where the compiler has its standard library, as
 * after `rustup target add`; otherwise Debian's compiler, and the standard library from source.
 *
 * @returns {{ env: Record<string, string>, args: string[], sources?: string }} `sources`: the folder
 *   that paths of the standard library begin with.
 */
export function rustFor(triple) {
  if (hasStandardLibrary(triple)) return { env: {}, args: [] };
  const folder = unpacked('rust-web', [...PACKAGES, ...LIBRARIES]);
  const rustc = join(folder, 'rustc');
  if (!existsSync(rustc)) {
    // By its own place, so that the folder may be moved.
    const script = [
      '#!/bin/sh',
      'here=$(dirname "$0")',
      'LD_LIBRARY_PATH=$here/usr/lib/x86_64-linux-gnu exec "$here/usr/bin/rustc" "$@"',
    ];
    writeFileSync(rustc, `${script.join('\n')}\n`);
    chmodSync(rustc, 0o755);
  }
  return {
    env: { RUSTC: rustc, RUSTC_BOOTSTRAP: '1' },
    args: ['-Zbuild-std=std,panic_unwind'],
    sources: join(folder, 'usr/lib/rustlib/src/rust'),
  };
}

function hasStandardLibrary(triple) {
  const args = ['--print', 'target-libdir', '--target', triple];
  const folder = execFileSync('rustc', args, { encoding: 'utf8' }).trim();
  return existsSync(folder) && readdirSync(folder).some((name) => name.startsWith('libstd'));
}
