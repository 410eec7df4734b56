/** Child processes that never outlive this one. */
import { spawn } from 'node:child_process';
import process from 'node:process';

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));

/**
 * Like `spawn`, but the child ends with this process.
 * @param {string} file
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions} options
 */
export function startProcess(file, args, options) {
  const child = spawn(file, args, options);
  running.add(child);
  child.once('close', () => running.delete(child));
  return child;
}
