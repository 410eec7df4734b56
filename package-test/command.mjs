/** How programs are run: with their output in the error where they fail. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Runs a program and returns what it printed to stdout.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd: string, env?: NodeJS.ProcessEnv }} options `env` has what is to be added
 */
export function run(program, args, { cwd, env = {} }) {
  const { status, signal, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: 600_000,
  });
  if (status !== 0) {
    const command = [path.basename(program), ...args].join(' ');
    const how = error?.message ?? status ?? signal;
    throw new Error(`${command}\nended with ${how}:\n${stdout}${stderr}`);
  }
  return stdout;
}

/** Runs a script by this Node and returns what it printed to stdout. */
export function node(args, options) {
  return run(process.execPath, args, options);
}

/**
 * Runs npm, the one that runs this script, and returns what it printed to stdout.
 *
 * @param {string[]} args
 * @param {{ cwd: string, env?: NodeJS.ProcessEnv }} options
 */
export function npm(args, options) {
  const { npm_execpath: cli } = process.env;
  if (cli === undefined) throw new Error('to be run by npm: npm run test:package');
  return node([cli, ...args], options);
}

/** Takes the folders in which cargo is from the PATH of everything that is run from now on. */
export function forgetCargo() {
  process.env.PATH = process.env.PATH.split(path.delimiter)
    .filter((folder) => !['cargo', 'cargo.exe'].some((name) => existsSync(path.join(folder, name))))
    .join(path.delimiter);
}
