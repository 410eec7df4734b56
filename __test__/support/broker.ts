/** Brokers that tests start for themselves, each on a free port and in a folder of its own. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { freePort } from '../../scripts/free-port.mjs';
import { accepts } from '../docs/project.js';

export interface Broker {
  port: number;
  /** Starts it again, on the same port. */
  start(): Promise<void>;
  kill(): Promise<void>;
  /** Has it read this configuration while it runs. */
  reload(config: string): void;
}

/** Programs by name, with the arguments for a port and a file of configuration. */
const PROGRAMS = {
  'nats-server': (port: number, config: string) => [
    '-a',
    '127.0.0.1',
    '-p',
    `${port}`,
    '-c',
    config,
  ],
  'redis-server': (port: number, config: string) => [
    config,
    '--bind',
    '127.0.0.1',
    '--port',
    `${port}`,
  ],
};

export type BrokerProgram = keyof typeof PROGRAMS;

/** Whether a broker is installed; where it is not, a line says what is skipped. */
export function hasBroker(program: BrokerProgram): boolean {
  const found = spawnSync(program, ['--version']).error === undefined;
  if (!found) console.warn(`Tests over ${program} are skipped: it is not installed.`);
  return found;
}

/** Starts a broker, which is killed after the test. */
export async function startBroker(program: BrokerProgram, config = ''): Promise<Broker> {
  const folder = mkdtempSync(join(tmpdir(), 'broker-'));
  const file = join(folder, 'conf');
  writeFileSync(file, config);
  const port = await freePort();
  let child: ChildProcess | undefined;

  async function start() {
    child = spawn(program, PROGRAMS[program](port, file), { cwd: folder, stdio: 'ignore' });
    while (!(await accepts(port))) {
      if (child.exitCode !== null) throw new Error(`${program} does not start`);
      await wait(10);
    }
  }

  async function kill() {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  onTestFinished(async () => {
    await kill();
    rmSync(folder, { recursive: true, force: true });
  });
  await start();
  return {
    port,
    start,
    kill,
    reload(next) {
      writeFileSync(file, next);
      child?.kill('SIGHUP');
    },
  };
}
