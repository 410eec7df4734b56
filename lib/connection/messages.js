'use strict';

/** What generators inherit from: an iterator of ours has what theirs have, whatever Node comes to add. */
const AsyncIteratorPrototype = Object.getPrototypeOf(
  Object.getPrototypeOf(async function* () {}.prototype),
);

/** What a message counts beside its content, as the native half has it. */
const MESSAGE_COST = 64;

/** Bytes that a message counts. */
function costOf(message) {
  return Buffer.byteLength(message) + MESSAGE_COST;
}

/** Who has iterators that nobody can ask any more told of that. */
const forgotten = new FinalizationRegistry((onTaken) => onTaken());

/**
 * An async iterator over the messages of a connection, and what the connection does with it.
 *
 * It keeps one message that nobody has asked for. Further ones are kept by the connection, and so by the
 * peer.
 */
class Messages {
  /** Messages that nobody has asked for: one, unless the connection has ended. */
  #waiting = [];
  /** Who has asked for messages that have not come. */
  #asking = [];
  #isOver = false;
  /** Called once nothing waits any more, after the end. */
  #onTaken = null;
  #onAsk;
  #onLeave;

  /** What user code gets. */
  iterator = Object.assign(Object.create(AsyncIteratorPrototype), {
    next: () => this.#next(),
    return: (value) => {
      this.#leave();
      return Promise.resolve({ done: true, value });
    },
    throw: (error) => {
      this.#leave();
      return Promise.reject(error);
    },
  });

  /**
   * @param {() => void} onAsk called when there is room for a message
   * @param {(messages: Messages) => void} onLeave called when user code wants no more
   */
  constructor(onAsk, onLeave) {
    this.#onAsk = onAsk;
    this.#onLeave = onLeave;
  }

  /** Somebody waits for a message. */
  get isAsked() {
    return this.#asking.length > 0;
  }

  /** It takes no further message for now. */
  get isFull() {
    return this.#waiting.length > 0;
  }

  /** What the messages count that wait. */
  get bytes() {
    return this.#waiting.reduce((bytes, message) => bytes + costOf(message), 0);
  }

  #next() {
    if (this.#waiting.length > 0) {
      const value = this.#waiting.shift();
      this.#onAsk();
      this.#tellTaken();
      return Promise.resolve({ done: false, value });
    }
    if (this.#isOver) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => {
      this.#asking.push(resolve);
      this.#onAsk();
    });
  }

  #leave() {
    this.clear();
    this.#tellTaken();
    if (this.#isOver) return;
    this.end();
    this.#onLeave(this);
  }

  /** After the end: nothing waits any more. */
  #tellTaken() {
    if (this.#onTaken === null || this.isFull) return;
    const onTaken = this.#onTaken;
    this.#onTaken = null;
    forgotten.unregister(this);
    onTaken();
  }

  /** Takes a message. */
  push(value) {
    if (this.#isOver) return;
    if (this.#asking.length === 0) this.#waiting.push(value);
    else this.#asking.shift()({ done: false, value });
  }

  /** Forgets what nobody has asked for. */
  clear() {
    this.#waiting = [];
  }

  /**
   * There are no further messages.
   *
   * @param {() => void} [onTaken] called once none of those waits that have come, or nobody can ask for them
   *   any more; does not hold on to the iterator
   */
  end(onTaken = null) {
    this.#isOver = true;
    for (const resolve of this.#asking.splice(0)) resolve({ done: true, value: undefined });
    if (onTaken === null) return;
    if (!this.isFull) return onTaken();
    this.#onTaken = onTaken;
    forgotten.register(this.iterator, onTaken, this);
  }
}

module.exports = { Messages, costOf };
