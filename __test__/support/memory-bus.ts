/** An adapter within one process, and adapters with one fault each. */
import { setTimeout as wait } from 'node:timers/promises';
import type { WSClusterAdapter, WSClusterAdapterEvents } from '../../index.js';

export interface MemoryBus {
  adapter(prefix: string): WSClusterAdapter;
  /** Carries nothing until `up`. */
  down(): void;
  up(): void;
}

/** @param fault what all adapters of the bus do wrong, in words; by default nothing */
export function memoryBus(fault = ''): MemoryBus {
  const adapters = new Set<Adapter>();
  let isUp = true;
  let count = 0;

  class Adapter implements WSClusterAdapter {
    readonly #prefix: string;
    /** By topic. */
    readonly #channels = new Map<string, string>();
    events: WSClusterAdapterEvents | undefined;

    constructor(prefix: string) {
      this.#prefix = fault === 'knows no prefix' ? '' : prefix;
    }

    #topic(channel: string): string {
      const topic = `${this.#prefix}/${channel}`;
      return fault === 'mistakes small letters for capitals' ? topic.toLowerCase() : topic;
    }

    async open(events: WSClusterAdapterEvents): Promise<void> {
      await wait(1);
      this.events = events;
      adapters.add(this);
      if (isUp) events.up();
    }

    publish(channel: string, message: Uint8Array): void {
      count += 1;
      if (fault === 'loses messages now and then' && count % 97 === 0) return;
      let sent = Buffer.from(message);
      if (fault === 'cuts long messages off') sent = sent.subarray(0, 65_536);
      if (fault === 'takes bytes for text') sent = Buffer.from(sent.toString());
      let delay = fault === 'changes the order' && count % 97 === 0 ? 20 : 0;
      if (fault === 'forgets what it was given when it closes') delay = 50;
      setTimeout(() => {
        if (!isUp || !adapters.has(this)) return;
        for (const adapter of adapters)
          if (adapter !== this) adapter.hear(this.#topic(channel), sent);
      }, delay);
    }

    hear(topic: string, message: Uint8Array): void {
      const channel = this.#channels.get(topic);
      if (channel !== undefined) this.events?.message(channel, message);
    }

    async subscribe(channel: string): Promise<void> {
      await wait(1);
      if (fault === 'leaves for good' && this.#left.has(channel)) return;
      this.#channels.set(this.#topic(channel), channel);
    }

    readonly #left = new Set<string>();

    unsubscribe(channel: string): void {
      this.#left.add(channel);
      this.#channels.delete(this.#topic(channel));
    }

    down(): void {
      this.#channels.clear();
      this.events?.down('the bus is down');
    }

    async close(): Promise<void> {
      // What has been published is on its way for a moment.
      if (!fault.startsWith('forgets')) await wait(5);
      adapters.delete(this);
    }
  }

  return {
    adapter: (prefix) => new Adapter(prefix),
    down() {
      isUp = false;
      if (fault === 'tells of no interruption') return;
      for (const adapter of adapters) adapter.down();
    },
    up() {
      isUp = true;
      for (const adapter of adapters) adapter.events?.up();
    },
  };
}
