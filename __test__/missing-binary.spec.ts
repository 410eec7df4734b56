import { cpSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { version } from '../package.json';
import { binary, installedCopy, libc, runIn } from './support/installed.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const prebuilt = readdirSync(join(root, 'npm'));

/** A copy of the package as npm installs it, but for the binary. */
let copy: string;

beforeEach(() => {
  copy = installedCopy();
});

afterEach(() => rmSync(copy, { recursive: true, force: true }));

/** Loads the copy in a process of its own and returns what that prints to stderr. */
function load(source = `require(${JSON.stringify(copy)})`): string {
  const { status, stderr } = runIn(copy, source);
  expect(status).toBe(1);
  return stderr;
}

/** The same, with a process that takes itself for one of another platform. */
function loadOn(platform: string, arch: string, glibc?: string): string {
  return load(`
    const read = fs.readFileSync;
    // What the generated loader looks at first to tell musl from glibc.
    fs.readFileSync = (path, ...rest) =>
      path === '/usr/bin/ldd' ? ${glibc ? "'glibc'" : "'musl'"} : read(path, ...rest);
    process.report.getReport = () => ({ header: { glibcVersionRuntime: ${JSON.stringify(glibc)} } });
    Object.defineProperty(process, 'platform', { value: ${JSON.stringify(platform)} });
    Object.defineProperty(process, 'arch', { value: ${JSON.stringify(arch)} });
    require(${JSON.stringify(copy)});`);
}

describe('without a binary', () => {
  it('says on which platform it is', () => {
    expect(load()).toContain(`Platform: ${process.platform} ${process.arch}`);
    expect(load()).toContain(`Node ${process.versions.node}`);
  });

  it('says so to import as to require', () => {
    const stderr = load(`import(${JSON.stringify(pathToFileURL(join(copy, 'index.mjs')))})`);
    expect(stderr).toContain(`nextrush-websocket ${version}: no native binary could be loaded.`);
  });

  it('is brief', () => {
    expect(load().split('\n').length).toBeLessThan(40);
  });

  it.each([
    ['linux', 'x64', '2.36', 'linux-x64-gnu'],
    ['linux', 'arm64', '2.17', 'linux-arm64-gnu'],
    ['linux', 'x64', undefined, 'linux-x64-musl'],
    ['linux', 'arm64', undefined, 'linux-arm64-musl'],
    ['darwin', 'x64', undefined, 'darwin-x64'],
    ['darwin', 'arm64', undefined, 'darwin-arm64'],
    ['win32', 'x64', undefined, 'win32-x64-msvc'],
  ])('on %s %s (glibc: %s), expects the package for %s', (platform, arch, glibc, target) => {
    const stderr = loadOn(platform, arch, glibc);
    expect(prebuilt).toContain(target);
    expect(stderr).toContain(`Expected: the package nextrush-websocket-${target}@${version}\n`);
    expect(stderr).toContain(`'${join(copy, `nextrush-websocket.${target}.node`)}'`);
    expect(stderr).toContain(`Cannot find module 'nextrush-websocket-${target}'`);
    expect(stderr).not.toMatch(/wasi|wasm/);
  });

  it('names the C library of Linux', () => {
    expect(loadOn('linux', 'x64', '2.28')).toContain('Platform: linux x64, glibc 2.28,');
    expect(loadOn('linux', 'x64')).toContain('Platform: linux x64, musl,');
  });

  it('says where none is published, and for which platforms there is one', () => {
    const stderr = loadOn('linux', 'riscv64', '2.36');
    expect(stderr).toContain(`no binary is published for linux-riscv64-gnu, only for`);
    expect(stderr).toContain(prebuilt.toSorted().join(', '));
    expect(loadOn('sunos', 'x64')).toContain('Unsupported OS: sunos, architecture: x64');
  });

  it('tells how to get one from npm, and how to build it', () => {
    const stderr = load();
    expect(stderr).toContain('npm install --include=optional');
    expect(stderr).toContain('https://github.com/npm/cli/issues/4828');
    expect(stderr).toContain('"npm run setup" in a clone');
  });

  it('in a clone, tells how to build it there', () => {
    writeFileSync(join(copy, 'Cargo.toml'), '');
    const stderr = load();
    expect(stderr).toContain('This is a clone: build the binary with "npm run setup"');
    expect(stderr).not.toContain('optional');
  });
});

it.runIf(process.platform === 'linux')(
  'loads the binary of its own C library, whatever the ldd of the system is of',
  () => {
    cpSync(join(root, binary), join(copy, binary));
    const other = libc === 'gnu' ? 'musl' : 'glibc';
    const source = `
      const read = fs.readFileSync;
      fs.readFileSync = (path, ...rest) =>
        path === '/usr/bin/ldd' ? '${other}' : read(path, ...rest);
      require(${JSON.stringify(copy)});`;
    const { status, stderr } = runIn(copy, source);
    expect(stderr).toBe('');
    expect(status).toBe(0);
  },
);

it('with a binary that cannot be loaded, says why', () => {
  for (const target of prebuilt) {
    writeFileSync(join(copy, `nextrush-websocket.${target}.node`), 'not a binary');
  }
  const attempt = load()
    .split('\n')
    .find((line) => line.startsWith('  - '));
  expect(attempt).toContain(join(copy, 'nextrush-websocket.'));
  expect(attempt).not.toContain('Cannot find module');
});
