/** Python 2.7, which the Autobahn test suite was written for, and the suite itself. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** The version that the table in `docs/conformance.md` was made with; PyPI has it. */
const SUITE = 'autobahntestsuite==25.10.1';

const directory = fileURLToPath(new URL('.python', import.meta.url));
/** Becomes {@link directory} once everything is in it. */
const partial = `${directory}-partial`;

/**
 * Finds a Python 2.7: `PYTHON27`, `python2.7` on the PATH, or one that pyenv has installed.
 * @returns {string | undefined} a command
 */
export function findPython() {
  return [process.env.PYTHON27, 'python2.7', ...pyenvPythons()].find(
    (candidate) => candidate !== undefined && isPython27(candidate),
  );
}

/** @param {string} command */
function isPython27(command) {
  // pyenv puts a `python2.7` on the PATH that only says that none has been chosen.
  const { status, stdout } = spawnSync(command, ['-c', 'import sys; print(sys.version_info[:2])'], {
    encoding: 'utf8',
  });
  return status === 0 && stdout.trim() === '(2, 7)';
}

/** The interpreters below pyenv's own folder. */
function pyenvPythons() {
  const { status, stdout } = spawnSync('pyenv', ['root'], { encoding: 'utf8' });
  const roots = [
    status === 0 ? stdout.trim() : undefined,
    process.env.PYENV_ROOT,
    path.join(os.homedir(), '.pyenv'),
  ];
  return [...new Set(roots)].flatMap((root) => {
    if (!root) return [];
    const versions = path.join(root, 'versions');
    if (!existsSync(versions)) return [];
    return readdirSync(versions)
      .filter((name) => /^2\.7(\.|$)/.test(name))
      .map((name) => path.join(versions, name, 'bin', 'python'));
  });
}

/**
 * Installs the suite into `conformance/.python`, unless it is there.
 * @param {string} python
 * @param {(line: string) => void} say
 */
export function installSuite(python, say) {
  const marker = path.join(directory, SUITE);
  if (existsSync(marker)) return;
  say(`Installing ${SUITE} into conformance/.python …`);
  for (const folder of [directory, partial]) rmSync(folder, { recursive: true, force: true });
  mkdirSync(partial);
  pipInstall(python);
  // A namespace package whose .pth file Python reads in its own folders only.
  writeFileSync(path.join(partial, 'zope', '__init__.py'), '');
  writeFileSync(path.join(partial, SUITE), '');
  renameSync(partial, directory);
}

/** @param {string} python */
function pipInstall(python) {
  const { status } = spawnSync(
    python,
    ['-m', 'pip', '--disable-pip-version-check', 'install', '--quiet', '--target', partial, SUITE],
    // stdout has only the table.
    { stdio: ['ignore', 2, 2], env: { ...process.env, PYTHONWARNINGS: 'ignore' } },
  );
  if (status !== 0) throw new Error(`${python} -m pip install ${SUITE} failed (status ${status})`);
}

/**
 * What starts `wstest`. `pip install --target` makes a script too, but one without this path.
 * @param {string} python
 * @param {string[]} args
 * @returns {{ command: string, args: string[], env: Record<string, string | undefined> }}
 */
export function wstest(python, args) {
  return {
    command: python,
    args: ['-u', '-c', 'from autobahntestsuite.wstest import run; run()', ...args],
    env: { ...process.env, PYTHONPATH: directory, PYTHONWARNINGS: 'ignore' },
  };
}
