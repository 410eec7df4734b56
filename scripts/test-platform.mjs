/**
 * Builds the addon for another platform and runs the specs with it, on a Node of that platform:
 *
 *     npm run test:platform -- linux-x64-musl       # all specs
 *     npm run test:platform -- linux-arm64-gnu      # emulated, some of them: adopted and bridge
 *     npm run test:platform -- linux-arm64-musl rooms.spec.ts   # what follows is for vitest
 *     npm run test:platform -- win32-x64            # in Wine, those over bridges
 *
 * Node comes from PyPI, its C library, the emulator and Wine from Debian, all unpacked below `target/`. The
 * emulator has to be made known to the kernel meanwhile, and Wine has a root of its own: both take root. A machine that lacks
 * something says so and tests nothing; with `--required` before the name that fails.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { binaryOf, platformOf } from './platforms.mjs';
import { emulateArm64 } from './tools/emulator.mjs';
import { Lacking } from './tools/lacking.mjs';
import { nodeOf } from './tools/node.mjs';
import { buildForWine, nodeInWine, wine } from './tools/windows.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const given = process.argv.slice(2);
const required = given[0] === '--required' && given.shift() !== undefined;
const [name, ...forVitest] = given;
const hasProject = forVitest.includes('--project');
const platform = platformOf(name);
const inWine = platform.os === 'win32' && process.platform !== 'win32';
if (!inWine && !['linux-x64-musl', 'linux-arm64-gnu', 'linux-arm64-musl'].includes(platform.name)) {
  console.error(`${platform.name} cannot be run here`);
  process.exit(2);
}

let undo = () => {};
try {
  process.exitCode = inWine ? testInWine() : testOnLinux();
} catch (error) {
  if (!(error instanceof Lacking)) throw error;
  console.log(`Not tested on ${platform.name}: ${error.message}`);
  if (required) process.exitCode = 1;
} finally {
  undo();
}

function testOnLinux() {
  const { node, env } = nodeOf(platform);
  if (platform.cpu !== process.arch) undo = emulateArm64();
  return test(node, copyOfTree(), env);
}

function testInWine() {
  const folder = wine();
  const tree = copyOfTree();
  const args = [
    ...['node_modules/vitest/vitest.mjs', 'run', '--config', patientConfig(tree), ...forVitest],
    // Descriptors cannot be taken over there: all else is a bridge as well.
    ...(hasProject ? [] : ['--project', 'bridge']),
  ];
  return nodeInWine(folder, tree, args);
}

/** The tree with the development dependencies of the platform, and with its binary. */
function copyOfTree() {
  const tree = join(root, 'target/platforms', platform.name);
  if (!inWine) build();
  const lock = (folder) => {
    const path = join(folder, 'package-lock.json');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  };
  const current = lock(tree) === lock(root) && existsSync(join(tree, 'node_modules'));
  mkdirSync(tree, { recursive: true });
  const list = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const files = execFileSync('git', list, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 });
  for (const file of files.split('\0').filter((file) => file && existsSync(join(root, file)))) {
    cpSync(join(root, file), join(tree, file));
  }
  if (inWine) buildForWine(join(tree, binaryOf(platform)));
  else cpSync(join(root, binaryOf(platform)), join(tree, binaryOf(platform)));
  if (!current) {
    const { os, cpu, libc } = platform;
    const chosen = [`--os=${os}`, `--cpu=${cpu}`, ...(libc ? [`--libc=${libc}`] : [])];
    rmSync(join(tree, 'node_modules'), { recursive: true, force: true });
    run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', ...chosen], { cwd: tree });
    if (libc === 'musl') misname(join(tree, 'node_modules'));
  }
  return tree;
}

/**
 * The native parts of vitest go by the `ldd` of the system, which is glibc's here: gives those for musl
 * the names of those for glibc.
 */
function misname(modules) {
  const suffix = `-linux-${platform.cpu}-musl`;
  for (const folder of ['.', '@rolldown', '@oxc-project'].map((name) => join(modules, name))) {
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder).filter((name) => name.endsWith(suffix))) {
      const other = join(folder, name.replace(/musl$/, 'gnu'));
      if (!existsSync(other)) symlinkSync(name, other);
    }
  }
}

function build() {
  const { status } = spawnSync(
    process.execPath,
    [join(root, 'scripts/build.mjs'), '--portable', platform.name],
    { cwd: root, stdio: 'inherit' },
  );
  if (status !== 0) throw new Lacking('there is no binary');
}

/** Runs the specs and returns how they ended. */
function test(node, tree, ofNode) {
  const emulated = platform.cpu !== process.arch;
  const args = [
    ...[join(tree, 'node_modules/vitest/vitest.mjs'), 'run', ...forVitest],
    ...(emulated ? ['--config', patientConfig(tree)] : []),
    ...(emulated && !hasProject ? ['--project', 'adopted', '--project', 'bridge'] : []),
  ];
  const env = {
    ...process.env,
    ...ofNode,
    PATH: `${dirname(node)}${delimiter}${process.env.PATH}`,
  };
  return spawnSync(node, args, { cwd: tree, stdio: 'inherit', env }).status ?? 1;
}

/**
 * A configuration with the time that a program takes in an emulator, some ten times as long, or in Wine. What is said on
 * the command line does not reach the projects.
 */
function patientConfig(tree) {
  const name = 'vitest.patient.config.mjs';
  writeFileSync(
    join(tree, name),
    `import config from './vitest.config.mjs';
Object.assign(config.test, { testTimeout: 300_000, hookTimeout: 300_000, teardownTimeout: 100_000 });
export default config;
`,
  );
  return name;
}

function run(command, args, options) {
  const { status } = spawnSync(command, args, { stdio: 'inherit', ...options });
  if (status !== 0) process.exit(status ?? 1);
}
