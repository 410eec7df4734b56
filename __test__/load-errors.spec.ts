/** What is told where there is a binary, and it cannot be loaded: one cause, and what to do. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { binary, installedCopy, libc, runIn, target } from './support/installed.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const isLinux = process.platform === 'linux';
const isMac = process.platform === 'darwin';

/** A copy of the package as npm installs it, with a binary in a package of its own. */
let copy: string;
let path: string;

beforeEach(() => {
  copy = installedCopy();
  path = install(target, readFileSync(join(root, binary)));
});

afterEach(() => rmSync(copy, { recursive: true, force: true }));

/** Installs a package with a binary, and returns the path of that. */
function install(name: string, content: Buffer | string): string {
  const folder = join(copy, 'node_modules', `nextrush-websocket-${name}`);
  const file = `nextrush-websocket.${name}.node`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ version: '2.0.0', main: file }));
  writeFileSync(join(folder, file), content);
  return join(folder, file);
}

function load(options?: Parameters<typeof runIn>[2], before = ''): string {
  const { status, signal, stderr } = runIn(
    copy,
    `${before}require(${JSON.stringify(copy)});`,
    options,
  );
  expect({ status, signal }, stderr).toEqual({ status: 1, signal: null });
  expect(stderr).toContain('no native binary could be loaded');
  return stderr;
}

/** The last paragraph of the message, in one line. */
function advice(stderr: string): string {
  const message = stderr.slice(stderr.indexOf('Tried:'));
  const [, paragraph = ''] = message.split('\n\n');
  return paragraph.split('\n    at ')[0]?.replaceAll('\n', ' ') ?? '';
}

function withBytes(change: (content: Buffer) => void): Buffer {
  const content = readFileSync(join(root, binary));
  change(content);
  return content;
}

it('a binary that is fine is loaded', () => {
  expect(runIn(copy, `require(${JSON.stringify(copy)})`)).toMatchObject({ status: 0, stderr: '' });
});

describe('addons that Node was told not to load', () => {
  it('by --no-addons', () => {
    const told = advice(load({ flags: ['--no-addons'] }));
    expect(told).toMatch(/^Node was told to load no addons, by --no-addons/);
    expect(told).not.toContain('npm');
  });

  it('by --no-addons in NODE_OPTIONS', () => {
    expect(advice(load({ env: { NODE_OPTIONS: '--no-addons' } }))).toMatch(/in NODE_OPTIONS/);
  });

  it('by the execArgv of a worker', () => {
    const { stderr } = runIn(
      copy,
      `new (require('node:worker_threads').Worker)(${JSON.stringify(join(copy, 'index.js'))},
        { execArgv: ['--no-addons'] });`,
    );
    expect(stderr).toContain('execArgv of a worker');
  });

  const permission = ['--permission', '--experimental-permission'].find(
    (flag) => process.allowedNodeEnvironmentFlags.has(flag) || isKnown(flag),
  );

  function isKnown(flag: string): boolean {
    const args = [flag, '--allow-fs-read=*', '-e', '0'];
    return spawnSync(process.execPath, args).status === 0;
  }

  it('by the permission model', () => {
    const flags = [`${permission}`, '--allow-fs-read=*'];
    const told = advice(load({ flags }));
    expect(told).toMatch(/start it with --allow-addons as well/);
    expect(told).not.toContain('npm');
    const source = `require(${JSON.stringify(copy)})`;
    expect(runIn(copy, source, { flags: [...flags, '--allow-addons'] }).status).toBe(0);
  });
});

describe('a damaged binary', () => {
  it.each([
    ['of no bytes', () => Buffer.alloc(0)],
    ['that is text', () => Buffer.from('version https://git-lfs.github.com/spec/v1\n')],
    ['whose format is another one', () => withBytes((content) => content.fill(7, 0, 4))],
  ])('%s', (_, content) => {
    writeFileSync(path, content());
    const told = advice(load());
    expect(told).toContain(`${path} is damaged`);
    expect(told).toContain('remove node_modules, and run "npm ci"');
  });

  // A loader that maps it reads behind its end: that is the end of the process, by SIGBUS.
  it.runIf(isLinux).each([0.0001, 0.5, 0.999])('of which %f is there', (part) => {
    const content = readFileSync(join(root, binary));
    writeFileSync(path, content.subarray(0, Math.floor(content.length * part)));
    const stderr = load();
    expect(stderr).toContain(`${path}: the file is cut off`);
    expect(advice(stderr)).toContain(`${path} is damaged`);
  });

  it('in a clone is built again', () => {
    writeFileSync(join(copy, 'Cargo.toml'), '');
    rmSync(join(copy, 'node_modules'), { recursive: true });
    writeFileSync(join(copy, binary), '');
    expect(advice(load())).toContain('Build it again: npm run build');
  });
});

describe('a foreign binary', () => {
  /** The numbers of other processors, where the header of a binary has them. */
  const processors = { x64: [183, 0x0100000c], arm64: [62, 0x01000007] }[process.arch as string];

  it.runIf(processors && (isLinux || isMac))('of another processor', () => {
    const other = process.arch === 'x64' ? 'arm64' : 'x64';
    const [elf = 0, machO = 0] = processors ?? [];
    const foreign = withBytes((content) => {
      if (isLinux) content.writeUInt16LE(elf, 18);
      else content.writeUInt32LE(machO, 4);
    });
    writeFileSync(path, foreign);
    const told = advice(load());
    const system = isLinux ? 'Linux' : 'macOS';
    expect(told).toContain(
      `is made for ${system} on ${other}, and this is ${system} on ${process.arch}`,
    );
    expect(told).toContain('Install again on this system');
  });

  it('of another system', () => {
    const machO = Buffer.from('cffaedfe0c000001', 'hex');
    writeFileSync(
      path,
      isMac ? Buffer.from('7f454c460201010000000000000000000300b700', 'hex') : machO,
    );
    expect(advice(load())).toMatch(isMac ? /made for Linux/ : /made for macOS on arm64/);
  });

  it.runIf(isLinux)('of the other C library, under the name of this one', () => {
    const [own, other] =
      libc === 'gnu' ? ['libc.so.6\0', 'libc.so\0\0\0'] : ['libc.so\0', 'libc.so.6\0'];
    // In musl's there is no room for the longer name: what follows is spoilt, and nothing reads it.
    const foreign = withBytes((content) => content.write(other, content.indexOf(own), 'latin1'));
    writeFileSync(path, foreign);
    const told = advice(load());
    expect(told).toContain(libc === 'gnu' ? 'is made for musl, and this is glibc' : 'this is musl');
    expect(told).toContain('Install again on this system');
  });

  it.runIf(isLinux)('of the other C library alone is none of this one', () => {
    rmSync(join(copy, 'node_modules'), { recursive: true });
    const other = libc === 'gnu' ? 'musl' : 'gnu';
    install(`linux-${process.arch}-${other}`, 'not looked at');
    expect(advice(load())).toMatch(/damaged|is made for/);
  });

  it('of another platform alone is told of, as copied', () => {
    rmSync(join(copy, 'node_modules'), { recursive: true });
    const other = isMac ? 'linux-x64-gnu' : 'darwin-arm64';
    install(other, 'not looked at');
    const told = advice(load());
    expect(told).toContain(`There is the one for ${other}`);
    expect(told).toContain('.dockerignore');
  });
});

describe.runIf(isLinux && libc === 'gnu')('a binary that needs a newer glibc', () => {
  it('says which one', () => {
    const newer = withBytes((content) => {
      const name = /GLIBC_2\.[123]\d\0/.exec(content.toString('latin1'));
      content.write('GLIBC_2.99', name?.index ?? 0, 'latin1');
    });
    writeFileSync(path, newer);
    const told = advice(load());
    expect(told).toContain('it asks for GLIBC_2.99');
    expect(told).toContain('"npm run build:portable"');
    expect(told).not.toContain('npm ci');
  });
});

describe('a file system that lets nobody run code', () => {
  const mayMount =
    isLinux && spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;

  it.runIf(mayMount)('is told of', () => {
    const folder = join(copy, 'node_modules');
    const script = `
      cp -r "$1" "$2" && mount -t tmpfs -o noexec none "$1" && cp -r "$2"/. "$1" &&
      exec "$3" -e 'require("'"$4"'")'`;
    const { stderr } = spawnSync(
      'unshare',
      ['-rm', 'sh', '-c', script, '-', folder, join(copy, 'kept'), process.execPath, copy],
      { encoding: 'utf8', env: { ...process.env, NAPI_RS_NATIVE_LIBRARY_PATH: '' } },
    );
    expect(advice(stderr)).toContain(`run code out of ${dirname(path)}: `);
    expect(advice(stderr)).toContain('"noexec"');
  });

  it
    .runIf(isLinux)
    .each([
      'failed to map segment from shared object: Operation not permitted',
      'failed to map segment from shared object',
      'Error loading shared library nextrush-websocket.node: Operation not permitted',
    ])('as systems say it: %s', (message) => {
    expect(advice(load({}, refusing(message)))).toContain('"noexec"');
  });
});

it('a reason that nobody knows is told as the system has it', () => {
  const stderr = load({}, refusing('the moon is in the wrong house'));
  expect(stderr).toContain('  - the moon is in the wrong house');
  expect(advice(stderr)).toContain(`${path} is there, and the system does not take it`);
});

/** A system that refuses to load any library. */
function refusing(message: string): string {
  return `process.dlopen = () => {
    throw Object.assign(new Error(${JSON.stringify(message)}), { code: 'ERR_DLOPEN_FAILED' });
  };`;
}

describe('NAPI_RS_NATIVE_LIBRARY_PATH', () => {
  const variable = (value: string) => ({ env: { NAPI_RS_NATIVE_LIBRARY_PATH: value } });

  it('names the file that is loaded', () => {
    const moved = join(copy, 'moved.node');
    cpSync(path, moved);
    rmSync(join(copy, 'node_modules'), { recursive: true });
    const source = `require(${JSON.stringify(copy)})`;
    expect(runIn(copy, source, variable(moved))).toMatchObject({ status: 0, stderr: '' });
    // From where the process was started.
    expect(runIn(copy, source, variable('moved.node'))).toMatchObject({ status: 0, stderr: '' });
  });

  it('that names no file is at fault', () => {
    const told = advice(load(variable('/nowhere/x.node')));
    expect(told).toContain('NAPI_RS_NATIVE_LIBRARY_PATH is set, so nothing else is tried');
    expect(told).toContain('"/nowhere/x.node"');
  });

  it('that names a damaged file is at fault', () => {
    const damaged = join(copy, 'damaged.node');
    writeFileSync(damaged, 'damaged');
    const told = advice(load(variable(damaged)));
    expect(told).toContain(`${damaged} is damaged`);
    expect(told).toContain('have that name another file');
  });
});
