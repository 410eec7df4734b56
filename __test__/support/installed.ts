/** The package as npm installs it, in folders of their own, and processes that load it there. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The C library of this process, as binaries are named by it. */
const report = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
export const libc = report.header.glibcVersionRuntime ? 'gnu' : 'musl';

const { platform, arch } = process;
const abi = { linux: `-${libc}`, win32: '-msvc' }[platform as string] ?? '';

/** What this process needs, as in the name of a binary. */
export const target = `${platform}-${arch}${abi}`;

/** The name of the binary that this process needs, and of the one that was built here. */
export const binary = `nextrush-websocket.${target}.node`;

/** A copy of the package, but for the binary, in a folder whose path has no link in it. */
export function installedCopy(): string {
  const copy = realpathSync(mkdtempSync(join(tmpdir(), 'installed-')));
  for (const name of ['index.js', 'index.mjs', 'js-binding.js', 'lib', 'package.json']) {
    cpSync(join(root, name), join(copy, name), { recursive: true });
  }
  return copy;
}

/** Runs a script in a process of its own, which no variable tells where a binary is. */
export function runIn(
  cwd: string,
  source: string,
  { flags = [], env = {} }: { flags?: string[]; env?: NodeJS.ProcessEnv } = {},
): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [...flags, '-e', source], {
    cwd,
    env: { ...process.env, NAPI_RS_NATIVE_LIBRARY_PATH: '', ...env },
    encoding: 'utf8',
  });
}
