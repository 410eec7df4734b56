/** Lets the kernel start programs for arm64, by an emulator; by root only, and until it is undone. */
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpacked } from './debian.mjs';
import { install, Lacking } from './lacking.mjs';

const FORMATS = '/proc/sys/fs/binfmt_misc';
const NAME = 'nextrush-websocket-arm64';

// The head of an ELF file for this machine: 64 bits, little-endian, a program or a library.
const MAGIC = `\\x7fELF\\x02\\x01\\x01${'\\x00'.repeat(9)}\\x02\\x00\\xb7\\x00`;
const MASK = `${'\\xff'.repeat(7)}\\x00${'\\xff'.repeat(8)}\\xfe\\xff\\xff\\xff`;

/** Returns what undoes it. */
export function emulateArm64() {
  if (process.arch === 'arm64') return () => {};
  if (process.getuid() !== 0) throw new Lacking('emulation needs root: the kernel has to be told');
  const folder = unpacked('qemu', ['qemu-user-static']);
  if (!existsSync(join(FORMATS, 'register'))) {
    install('emulation', 'mount', ['-t', 'binfmt_misc', 'none', FORMATS]);
  }
  const formats = execFileSync('ls', [FORMATS], { encoding: 'utf8' });
  // Somebody else's does as well.
  if (/qemu-aarch64/.test(formats)) return () => {};
  const undo = () => {
    const entry = join(FORMATS, NAME);
    if (existsSync(entry)) writeFileSync(entry, '-1');
  };
  undo();
  const qemu = join(folder, 'usr/bin/qemu-aarch64-static');
  writeFileSync(join(FORMATS, 'register'), `:${NAME}:M::${MAGIC}:${MASK}:${qemu}:F`);
  return undo;
}
