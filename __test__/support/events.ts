/** Promises that a test settles, and events that a test awaits one by one. */

export interface Deferred<T> {
  promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** A promise with its own `resolve` and `reject`: the moment until which something has to wait. */
export function deferred<T = void>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((settle, fail) => {
    resolve = settle;
    reject = fail;
  });
  return { promise, resolve, reject };
}

export interface Queue<T> {
  push(item: T): void;
  /** The oldest item that was not taken yet, or the next one that comes. */
  next(): Promise<T>;
  /** Items that nobody has taken. */
  readonly waiting: T[];
}

/** Keeps what happens on the server until the test asks for it. */
export function queue<T>(): Queue<T> {
  const waiting: T[] = [];
  const takers: ((item: T) => void)[] = [];
  return {
    waiting,
    push(item) {
      const taker = takers.shift();
      if (taker) taker(item);
      else waiting.push(item);
    },
    next() {
      if (waiting.length > 0) return Promise.resolve(waiting.shift() as T);
      return new Promise((resolve) => takers.push(resolve));
    },
  };
}
