import { EventEmitter } from 'node:events';

/** How often subscriptions that nobody uses are looked for, in milliseconds. */
const CLEANUP_MS = 30_000;

/** Events as objects with a `type`. */
export class EventSystem {
  #emitter = new EventEmitter();
  /** Referenced, so a process that has made an application lives until `shutdown` is called. */
  #cleanup = setInterval(() => {}, CLEANUP_MS);

  async emit(event) {
    this.#emitter.emit(event.type, event);
  }

  subscribe(type, handler) {
    this.#emitter.on(type, handler);
    return { unsubscribe: () => this.#emitter.off(type, handler) };
  }

  async shutdown() {
    clearInterval(this.#cleanup);
    this.#emitter.removeAllListeners();
  }
}

/** Simple named events, on the same system. */
export class Events {
  #system;
  /** @type {Map<string, Set<() => void>>} By the name of the event: what ends each subscription. */
  #subscriptions = new Map();

  /** @param {EventSystem} system */
  constructor(system) {
    this.#system = system;
  }

  async emit(name, data) {
    await this.#system.emit({ type: name, data });
  }

  on(name, handler) {
    const { unsubscribe } = this.#system.subscribe(name, ({ data }) => handler(data));
    const ends = this.#subscriptions.get(name) ?? new Set();
    this.#subscriptions.set(name, ends.add(unsubscribe));
    return () => {
      ends.delete(unsubscribe);
      unsubscribe();
    };
  }

  once(name, handler) {
    return new Promise((resolve) => {
      const off = this.on(name, (data) => {
        off();
        handler?.(data);
        resolve(data);
      });
    });
  }

  off(name) {
    for (const unsubscribe of this.#subscriptions.get(name) ?? []) unsubscribe();
    this.#subscriptions.delete(name);
  }
}
