/** The platforms that a binary is published for: `napi.targets` of `package.json`, with what else is known. */
import { execFileSync } from 'node:child_process';

/**
 * @typedef {object} Platform
 * @property {string} name As in the name of its package and of its binary.
 * @property {string} triple As the Rust compiler calls it.
 * @property {'linux' | 'darwin' | 'win32'} os
 * @property {'x64' | 'arm64'} cpu
 * @property {'glibc' | 'musl'} [libc]
 */

/** The oldest glibc that Rust's own standard library runs on. */
export const GLIBC_FLOOR = '2.17';

/** The oldest macOS that Rust's standard library runs on, by architecture. */
export const MACOS_FLOOR = { x64: '10.12', arm64: '11.0' };

/** @type {Platform[]} */
export const PLATFORMS = [
  platform('linux-x64-gnu', 'x86_64-unknown-linux-gnu', 'glibc'),
  platform('linux-arm64-gnu', 'aarch64-unknown-linux-gnu', 'glibc'),
  platform('linux-x64-musl', 'x86_64-unknown-linux-musl', 'musl'),
  platform('linux-arm64-musl', 'aarch64-unknown-linux-musl', 'musl'),
  platform('darwin-x64', 'x86_64-apple-darwin'),
  platform('darwin-arm64', 'aarch64-apple-darwin'),
  platform('win32-x64-msvc', 'x86_64-pc-windows-msvc'),
];

function platform(name, triple, libc) {
  const [os, cpu] = name.split('-');
  return { name, triple, os, cpu, libc };
}

/** The platform of a name (`linux-x64-gnu`, `win32-x64`) or of a triple; ends the process without one. */
export function platformOf(given) {
  const found = PLATFORMS.find(
    ({ name, triple }) => given === name || given === triple || `${given}-msvc` === name,
  );
  if (found) return found;
  console.error(
    `No platform "${given}": there are ${PLATFORMS.map(({ name }) => name).join(', ')}`,
  );
  process.exit(2);
}

/** The platform that the compiler of this machine builds for by itself; ends the process without one. */
export function hostPlatform() {
  const triple = /^host: (.*)$/m.exec(compilerVersion())[1];
  return PLATFORMS.find((platform) => platform.triple === triple) ?? { name: triple, triple };
}

function compilerVersion() {
  try {
    return execFileSync('rustc', ['-vV'], { encoding: 'utf8' });
  } catch (error) {
    console.error(
      `rustc could not be run (${error.message}): building needs Node >= 20 and cargo.`,
    );
    process.exit(1);
  }
}

/** The platform that this Node runs on, or one without a triple where nothing is published for it. */
export function runningPlatform() {
  const { platform: os, arch: cpu } = process;
  if (process.report) process.report.excludeNetwork = true;
  const glibc = process.report?.getReport().header.glibcVersionRuntime;
  const libc = os === 'linux' ? (glibc ? 'glibc' : 'musl') : undefined;
  const found = PLATFORMS.find((one) => one.os === os && one.cpu === cpu && one.libc === libc);
  return found ?? { name: `${os}-${cpu}` };
}

/** The name of a platform's binary. */
export function binaryOf({ name }) {
  return `nextrush-websocket.${name}.node`;
}
