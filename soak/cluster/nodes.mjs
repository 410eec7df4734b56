/** The nodes of the cluster under soak. */
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { startProcess } from '../processes.mjs';
import { now } from './message.mjs';

/** How long a node may take to leave, in milliseconds. */
const EXIT_LIMIT = 30_000;

/** The nodes that there are and have been. A new one takes the place of one that ends. */
export class Nodes {
  /** Who they are by their numbers: the file of each journal, and when it was killed, if it was. */
  all = [];
  /** Those that run, by place. */
  running;
  /** How they ended that were asked to leave. */
  #exits = [];
  #broker;
  #folder;
  /** Called when others run than before. */
  onChange = () => {};

  /** @param {{ count: number, broker: string, folder: string }} options `folder` is for the journals */
  constructor({ count, broker, folder }) {
    this.running = Array.from({ length: count }, () => null);
    this.#broker = broker;
    this.#folder = folder;
  }

  /** Where clients are let in. */
  get ports() {
    return this.running.filter((node) => node !== null).map(({ port }) => port);
  }

  async start(place) {
    const node = this.all.length;
    const journal = path.join(this.#folder, `node-${node}`);
    const entry = { journal, killed: undefined };
    this.all.push(entry);
    const child = startProcess('cluster/node', [
      JSON.stringify({ node, broker: this.#broker, journal }),
    ]);
    const { listening: port } = await child.answer('listening');
    this.running[place] = { node, child, port, entry };
    this.onChange();
  }

  /** Has a node leave as a server should when a new version of it is to start, and starts that. */
  async restart(place) {
    await this.#end(place, 'SIGTERM');
    await this.start(place);
  }

  /** Kills a node, and starts another one. */
  async replaceKilled(place) {
    this.running[place].entry.killed = now();
    await this.#end(place, 'SIGKILL');
    await this.start(place);
  }

  async #end(place, signal) {
    const { node, child } = this.running[place];
    this.running[place] = null;
    this.onChange();
    child.kill(signal);
    const exit = await Promise.race([child.exited, wait(EXIT_LIMIT, 'not at all', { ref: false })]);
    if (exit === 'not at all') child.kill('SIGKILL');
    if (signal === 'SIGTERM') this.#exits.push([node, exit]);
  }

  /** The figures of those that run. */
  look() {
    return Promise.all(
      this.running.map(async ({ node, child }) => ({
        node,
        ...(await child.ask('look', 'stats')).stats,
      })),
    );
  }

  /** Has all of them leave; returns how each that was asked to has ended. */
  async leave() {
    await Promise.all(this.running.map((_, place) => this.#end(place, 'SIGTERM')));
    return this.#exits;
  }
}
