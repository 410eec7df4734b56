/**
 * Builds the addon for Linux as it is released, with zig as the linker (cargo-zigbuild):
 *
 *     npm run build:portable                                # for this machine
 *     npm run build:portable -- aarch64-unknown-linux-musl  # for another target of rustup
 *
 * A plain build asks for the glibc of the machine that it was made on; zig links against the
 * symbols of any older one. Both tools come from PyPI, into a virtual environment below target/.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The oldest glibc that Rust's own standard library runs on. */
const GLIBC = '2.17';

const TOOLS = ['cargo-zigbuild==0.24.0', 'ziglang==0.17.1'];

const root = fileURLToPath(new URL('..', import.meta.url));
// The versions are in its name, so that other ones get an environment of their own.
const tools = join(root, 'target', `zig-${TOOLS.map((tool) => tool.split('==')[1]).join('-')}`);

function run(command, args, env = process.env) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env });
  if (error) console.error(`"${command}" could not be run: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

function hostTarget() {
  return /^host: (.*)$/m.exec(execFileSync('rustc', ['-vV'], { encoding: 'utf8' }))[1];
}

const target = process.argv[2] ?? hostTarget();
if (!target.includes('-linux-')) {
  console.error(`${target} is no Linux target: use "npm run build"`);
  process.exit(1);
}

if (!existsSync(join(tools, 'bin', 'cargo-zigbuild'))) {
  run('python3', ['-m', 'venv', tools]);
  run(join(tools, 'bin', 'pip'), ['install', '--quiet', '--disable-pip-version-check', ...TOOLS]);
}

const versioned = target.endsWith('-gnu') ? `${target}.${GLIBC}` : target;
run('npm', ['run', 'build', '--', '--cross-compile', '--target', versioned], {
  ...process.env,
  PATH: `${join(tools, 'bin')}${delimiter}${process.env.PATH}`,
});
