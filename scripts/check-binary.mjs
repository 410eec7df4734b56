/**
 * Says what a built addon demands of the machine that loads it, and fails where that is too much:
 *
 *     node scripts/check-binary.mjs [--max-glibc 2.17] [--max-bytes 4000000] file.node ...
 *
 * Without a file it takes those in the package's folder. With a limit, a binary that is not
 * stripped fails as well. Each must be of the architecture and format that its name says, and have no
 * path of the machine that built it inside.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { MACOS_FLOOR } from './platforms.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const FORMATS = { linux: 'ELF', darwin: 'Mach-O', win32: 'PE' };

// Load commands of Mach-O.
const LC_VERSION_MIN_MACOSX = 0x24;
const LC_BUILD_VERSION = 0x32;

// Types of sections, from the ELF specification and the Linux Standard Base.
const SHT_SYMTAB = 2;
const SHT_DYNSYM = 11;
const SHT_GNU_VERNEED = 0x6ffffffe;

const { values: limits, positionals } = parseArgs({
  options: { 'max-glibc': { type: 'string' }, 'max-bytes': { type: 'string' } },
  allowPositionals: true,
});
const files = positionals.length > 0 ? positionals : binariesOf(root);
if (files.length === 0) fail('no .node file: build one with "npm run build"');
for (const file of files) check(file);

function check(file) {
  const bytes = readFileSync(file);
  const name = basename(file);
  const maxBytes = Number(limits['max-bytes'] ?? Infinity);
  const size = `${bytes.length.toLocaleString('en')} bytes`;
  if (bytes.length > maxBytes) fail(`${name}: ${size}, more than ${maxBytes}`);
  const { format, cpu, macos } = kindOf(bytes);
  const [, os, expected] = /\.(linux|darwin|win32)-(x64|arm64)[.-]/.exec(name) ?? [];
  if (os && (format !== FORMATS[os] || cpu !== expected)) {
    fail(`${name}: holds ${format} for ${cpu}`);
  }
  if (Object.keys(limits).length > 0) findPaths(name, bytes);
  if (format !== 'ELF') {
    const floor = macos ? `, needs macOS ${macos}` : '';
    if (macos && compareVersions(macos, MACOS_FLOOR[cpu]) > 0)
      fail(`${name}: needs macOS ${macos}`);
    return console.log(`${name}: ${size}, ${format} for ${cpu}${floor}`);
  }

  const { glibc, stripped } = readElf(bytes);
  console.log(
    `${name}: ${size}, ${stripped ? 'stripped' : 'not stripped'}, ` +
      (glibc ? `needs glibc ${glibc}` : 'needs no glibc'),
  );
  const maxGlibc = limits['max-glibc'];
  if (maxGlibc !== undefined) {
    if (glibc && compareVersions(glibc, maxGlibc) > 0) fail(`${name}: glibc above ${maxGlibc}`);
    if (name.endsWith('-musl.node') && glibc) fail(`${name}: a musl binary that needs glibc`);
  }
  if (!stripped && Object.keys(limits).length > 0) fail(`${name}: not stripped`);
}

/** What a file is, and for whom: by the heads of the three formats. */
function kindOf(bytes) {
  if (bytes.toString('latin1', 0, 4) === '\x7fELF') {
    return { format: 'ELF', cpu: { 62: 'x64', 183: 'arm64' }[bytes.readUInt16LE(18)] };
  }
  if (bytes.readUInt32LE(0) === 0xfeedfacf) {
    const cpu = { 16777223: 'x64', 16777228: 'arm64' }[bytes.readUInt32LE(4)];
    return { format: 'Mach-O', cpu, macos: oldestMacos(bytes) };
  }
  if (bytes.toString('latin1', 0, 2) === 'MZ') {
    const machine = bytes.readUInt16LE(bytes.readUInt32LE(0x3c) + 4);
    return { format: 'PE', cpu: { 34404: 'x64', 43620: 'arm64' }[machine] };
  }
  return { format: 'something unknown', cpu: 'nobody' };
}

/** The version of macOS that a file asks for, from its load commands. */
function oldestMacos(bytes) {
  let command = 32;
  for (let left = bytes.readUInt32LE(16); left > 0; left--) {
    const kind = bytes.readUInt32LE(command);
    const at = { [LC_VERSION_MIN_MACOSX]: 8, [LC_BUILD_VERSION]: 12 }[kind];
    if (at) return `${bytes.readUInt16LE(command + at + 2)}.${bytes[command + at + 1]}`;
    command += bytes.readUInt32LE(command + 4);
  }
  return undefined;
}

/** Fails where there is a path of this machine in a file: of its home, or of this checkout. */
function findPaths(name, bytes) {
  for (const path of [homedir(), root.replace(/[\\/]$/, '')]) {
    if (path.length > 1 && bytes.includes(`${path}/`))
      fail(`${name}: has a path below ${path} inside`);
  }
}

/** Reads a 64-bit, little-endian ELF file, as all our Linux targets are. */
function readElf(bytes) {
  if (bytes[4] !== 2 || bytes[5] !== 1) fail('not a 64-bit, little-endian ELF file');
  const tableOffset = Number(bytes.readBigUInt64LE(0x28));
  const entrySize = bytes.readUInt16LE(0x3a);
  const sections = Array.from({ length: bytes.readUInt16LE(0x3c) }, (_, index) => {
    const entry = tableOffset + index * entrySize;
    return {
      type: bytes.readUInt32LE(entry + 4),
      offset: Number(bytes.readBigUInt64LE(entry + 0x18)),
      link: bytes.readUInt32LE(entry + 0x28),
      count: bytes.readUInt32LE(entry + 0x2c),
    };
  });
  // Node finds the addon's entry in it; where it is missing, the sections have not been read right.
  if (!sections.some(({ type }) => type === SHT_DYNSYM)) fail('no dynamic symbols');
  const versions = sections
    .filter(({ type }) => type === SHT_GNU_VERNEED)
    .flatMap((section) => neededVersions(bytes, section, sections[section.link].offset))
    .filter((version) => /^GLIBC_\d/.test(version))
    .map((version) => version.slice('GLIBC_'.length));
  return {
    glibc: versions.sort(compareVersions).at(-1),
    stripped: !sections.some(({ type }) => type === SHT_SYMTAB),
  };
}

/** The names of all versions that the symbols of a file ask of its libraries. */
function neededVersions(bytes, { offset, count }, strings) {
  const names = [];
  let library = offset;
  for (let left = count; left > 0; left--) {
    let version = library + bytes.readUInt32LE(library + 8);
    for (let versions = bytes.readUInt16LE(library + 2); versions > 0; versions--) {
      const name = strings + bytes.readUInt32LE(version + 8);
      names.push(bytes.toString('latin1', name, bytes.indexOf(0, name)));
      version += bytes.readUInt32LE(version + 12);
    }
    library += bytes.readUInt32LE(library + 12);
  }
  return names;
}

function compareVersions(a, b) {
  return a.localeCompare(b, 'en', { numeric: true });
}

function binariesOf(folder) {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.node'))
    .map((name) => join(folder, name));
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
