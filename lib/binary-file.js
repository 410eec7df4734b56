'use strict';

const { closeSync, fstatSync, openSync, readFileSync, readSync } = require('node:fs');

/** So much of a file is read to tell what it is, in bytes. */
const HEADER = 4096;

/** Numbers of machines in the headers of binaries, under the names that Node has for them. */
const ELF = { 3: 'ia32', 40: 'arm', 62: 'x64', 183: 'arm64', 243: 'riscv64' };
const MACH_O = { 16777223: 'x64', 16777228: 'arm64' };
const PE = { 332: 'ia32', 34404: 'x64', 43620: 'arm64' };

/**
 * What a binary is made for, by its header: `platform` and `arch` as Node names them, both `undefined`
 * where it is no binary of Linux, macOS or Windows. `isCut` where the end of the file is missing, which
 * only the format of Linux tells. `undefined` where the file cannot be read.
 */
function inspect(path) {
  let file;
  try {
    file = openSync(path, 'r');
    const header = Buffer.alloc(HEADER);
    return describe(header.subarray(0, readSync(file, header)), fstatSync(file).size);
  } catch {
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function describe(header, size) {
  // 64 bits and little-endian, as everything is that a binary is published for.
  if (header.subarray(0, 6).equals(Buffer.from('\x7fELF\x02\x01', 'latin1'))) {
    const isCut = header.length < 64 || size < endOfElf(header);
    return { platform: 'linux', arch: ELF[at(header, 18, 2)], isCut };
  }
  if (at(header, 0, 4) === 0xfeedfacf) {
    return { platform: 'darwin', arch: MACH_O[at(header, 4, 4)], isCut: false };
  }
  const signature = at(header, 60, 4);
  if (header.toString('latin1', signature, signature + 4) === 'PE\0\0') {
    return { platform: 'win32', arch: PE[at(header, signature + 4, 2)], isCut: false };
  }
  return { platform: undefined, arch: undefined, isCut: false };
}

/** Where the table of sections ends, which linkers put last. */
function endOfElf(header) {
  return Number(header.readBigUInt64LE(40)) + header.readUInt16LE(58) * header.readUInt16LE(60);
}

/** An unsigned number of the header, 0 behind its end. */
function at(header, offset, length) {
  return offset + length <= header.length ? header.readUIntLE(offset, length) : 0;
}

/** The C library that a binary of Linux asks for, `gnu` or `musl`, as far as it names one. */
function libcOf(path) {
  try {
    const content = readFileSync(path);
    if (content.includes('\0libc.so.6\0')) return 'gnu';
    return /\0libc\.(so|musl-\w+\.so\.1)\0/.test(content.toString('latin1')) ? 'musl' : undefined;
  } catch {
    return undefined;
  }
}

module.exports = { inspect, libcOf };
