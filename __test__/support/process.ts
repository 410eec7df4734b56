/** Scripts in a Node process of their own, for what a test runner's process must not do. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { queue } from './events.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
  stderr: string;
}

export interface Script {
  /** The next line on stdout. Rejects where the process ends without one. */
  line(): Promise<string>;
  /** Writes a line to the script's stdin. */
  tell(line: string): void;
  /** Settles when the process has ended. */
  exited: Promise<Exit>;
}

/**
 * Runs `source` by `node -e` in the package's folder, where `nextrush-websocket` and `ws` can be
 * imported by name. Killed after the test.
 */
export function script(source: string, { module = false } = {}): Script {
  const type = module ? 'module' : 'commonjs';
  const child = spawn(process.execPath, [`--input-type=${type}`, '-e', source], {
    cwd: root,
    stdio: 'pipe',
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  child.stdin.on('error', () => {});
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  const lines = queue<string>();
  createInterface({ input: child.stdout }).on('line', lines.push);
  const exited = once(child, 'close').then(([code, signal]): Exit => ({ code, signal, stderr }));
  return {
    line: () =>
      Promise.race([
        lines.next(),
        exited.then((exit) => {
          const last = lines.waiting.shift();
          if (last !== undefined) return last;
          throw new Error(`the script ended: ${JSON.stringify(exit)}`);
        }),
      ]),
    tell: (line) => void child.stdin.write(`${line}\n`),
    exited,
  };
}
