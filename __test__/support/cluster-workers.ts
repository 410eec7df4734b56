/** A primary of `node:cluster` with workers that do what a test says. */
import { deferred } from './events.js';
import { type Exit, script } from './process.js';

export interface Workers {
  /** Has a worker run the body of an async function, and resolves with what it returns. */
  inWorker<T>(worker: number, body: string): Promise<T>;
  /** The same in the primary, where `relay` is. */
  inPrimary<T>(body: string): Promise<T>;
  /** Settles when the primary has ended. */
  exited: Promise<Exit>;
}

/**
 * Forks workers, numbered from 1. All have `keep`, an object that stays from call to call, and
 * `require`. Killed after the test.
 */
export function startWorkers(count: number, serialization: 'json' | 'advanced'): Workers {
  // Errors come back as text; what is asked for comes back by its number.
  const { line, tell, exited } = script(`
    const cluster = require('node:cluster');
    const keep = {};
    async function answer({ id, body }) {
      try {
        const run = new (async () => {}).constructor('keep', 'require', 'cluster', body);
        return { id, value: (await run(keep, require, cluster)) ?? null };
      } catch (error) {
        return { id, error: error.stack };
      }
    }
    if (cluster.isPrimary) {
      cluster.setupPrimary({ exec: 'the same source', serialization: '${serialization}' });
      const { relayClusterWorkers } = require('nextrush-websocket/cluster-workers');
      keep.relay = relayClusterWorkers();
      const print = (message) => console.log(JSON.stringify(message));
      const workers = Array.from({ length: ${count} }, () => cluster.fork());
      cluster.on('message', (_, message) => message.answer && print(message.answer));
      require('node:readline').createInterface({ input: process.stdin })
        .on('line', (line) => {
          const { worker, ...task } = JSON.parse(line);
          if (worker === 0) answer(task).then(print);
          else workers[worker - 1].send({ task });
        });
    } else {
      process.on('message', ({ task }) => {
        if (task) answer(task).then((answer) => process.send({ answer }));
      });
    }`);
  const waiting = new Map<number, ReturnType<typeof deferred<unknown>>>();
  let asked = 0;

  async function readAnswers() {
    for (;;) {
      const { id, value, error } = JSON.parse(await line());
      if (error !== undefined) waiting.get(id)?.reject(new Error(error));
      else waiting.get(id)?.resolve(value);
      waiting.delete(id);
    }
  }
  void readAnswers().catch((error) => {
    for (const each of waiting.values()) each.reject(error);
  });

  function ask<T>(worker: number, body: string): Promise<T> {
    asked += 1;
    const answer = deferred<unknown>();
    waiting.set(asked, answer);
    tell(JSON.stringify({ worker, id: asked, body }));
    return answer.promise as Promise<T>;
  }

  return {
    inWorker: ask,
    inPrimary: (body) => ask(0, body),
    exited,
  };
}
