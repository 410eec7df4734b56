import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What is installed for builds and tests of other platforms goes here, each into a folder of its own. */
export const TOOLS = fileURLToPath(new URL('../../target/tools', import.meta.url));

/** A tool that this machine lacks and that could not be installed. The message says which, and why. */
export class Lacking extends Error {}

/** Runs a program of an installation; throws {@link Lacking} with what it printed where it fails. */
export function install(what, command, args, options = {}) {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: 'pipe', ...options });
  } catch (error) {
    const said = error.code === 'ENOENT' ? `no ${command} here` : error.stderr || error.message;
    throw new Lacking(`${what} could not be installed: ${said.trim().split('\n').at(-1)}`);
  }
}

/** Does something and returns `undefined`, or the message of what this machine lacks for it. */
export function lackOf(action) {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof Lacking) return error.message;
    throw error;
  }
}
