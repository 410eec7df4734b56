/** A `redis-server` of one's own, on 127.0.0.1, that keeps nothing: for soaks and benchmarks. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as wait } from 'node:timers/promises';
import { freePort } from './free-port.mjs';

/** How long it may take to answer, in milliseconds. */
const START_LIMIT = 10_000;

/** The version of the installed server, `7.0.15`; `undefined` where there is none. */
export function redisVersion() {
  const { stdout } = spawnSync('redis-server', ['--version'], { encoding: 'utf8' });
  return /v=(\S+)/.exec(stdout ?? '')?.[1];
}

/** One server; it ends with this process. */
export class RedisServer {
  /** Stays the same when the server is started again. */
  port = 0;
  #child;
  #exited;
  #folder = mkdtempSync(path.join(tmpdir(), 'redis-'));
  #cleanUp = () => {
    this.#child?.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  };

  constructor() {
    process.once('exit', this.#cleanUp);
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  get pid() {
    return this.#child?.pid;
  }

  /** Starts it, and resolves once it answers. */
  async start() {
    this.port ||= await freePort();
    const settings = { port: this.port, bind: '127.0.0.1', dir: this.#folder, loglevel: 'warning' };
    const args = Object.entries({ ...settings, save: '', appendonly: 'no' });
    this.#child = spawn(
      'redis-server',
      args.flatMap(([name, value]) => [`--${name}`, String(value)]),
      { stdio: 'ignore' },
    );
    this.#exited = once(this.#child, 'exit');
    // What it ends with is seen where somebody waits for it.
    this.#exited.catch(() => {});
    const limit = performance.now() + START_LIMIT;
    while (!(await this.#answers())) {
      if (this.#child.exitCode !== null) throw new Error('redis-server ended as it started');
      if (performance.now() > limit) throw new Error('redis-server does not answer');
      await wait(10);
    }
  }

  /** Ends it: by itself, or with `SIGKILL`. */
  async stop(signal = 'SIGTERM') {
    this.#child.kill(signal);
    await this.#exited;
  }

  /** Lets it do nothing, while its connections stay. */
  freeze() {
    this.#child.kill('SIGSTOP');
  }

  thaw() {
    this.#child.kill('SIGCONT');
  }

  /** Ends it for good, and removes what it left. */
  async close() {
    process.off('exit', this.#cleanUp);
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /**
   * Sends a command of plain words; returns what comes back, as it is on the wire.
   * @param {string} words
   */
  async command(words) {
    const socket = net.connect(this.port, '127.0.0.1');
    try {
      socket.write(`${words}\r\n`);
      const [answer] = await once(socket, 'data');
      return answer.toString().trim();
    } finally {
      socket.destroy();
    }
  }

  async #answers() {
    try {
      return (await this.command('PING')) === '+PONG';
    } catch {
      return false;
    }
  }
}
