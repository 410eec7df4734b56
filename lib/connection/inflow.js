'use strict';

/** Nobody says to the native half which messages have been taken. */
const FREE = 0;
/** It has been asked to count, and has not said from where on it does. */
const ASKED = 1;
/** It counts, and hears what has been taken. */
const COUNTED = 2;

/** Stands among the messages where the native half has begun to count. */
const MARK = Symbol('counted from here on');

/** Whoever has let so many messages pass without a pause may have them straight again. */
const CALM_AFTER = 64;

/** What a message counts beside its content, as the native half has it. */
const MESSAGE_COST = 64;

/** So many places of messages that are gone are kept, or as many as there are messages. */
const MAX_GONE = 1024;

/**
 * The messages of a connection that do not go straight to its listeners: its handler is not ready for
 * them, it is paused, or somebody iterates over them. While the native half counts what is in here, it
 * reads no more of the peer than some 64 KiB beyond it.
 */
class Inflow {
  /** Oldest first; before `#first` they have been taken. */
  #messages = [];
  #first = 0;
  #pace = FREE;
  /** What is taken is counted: the mark has been. */
  #counts = false;
  /** @type {import('./messages.js').Messages[]} */
  #iterators = [];
  /** Messages that have been taken since the last pause. */
  #calm = 0;
  /** Messages taken of which the native half has not been told. */
  #untold = 0;

  /** The handler is ready. Before that, messages are for those only who ask for one by an iterator. */
  isReady;
  /** By user code. */
  isPaused = false;
  /** Messages are being handed over, further down the stack. */
  isPassing = false;
  /** They are going to be, in this tick. */
  isDue = false;

  /** @param {boolean} isReady the handler is ready */
  constructor(isReady) {
    this.isReady = isReady;
  }

  get isEmpty() {
    return this.#first === this.#messages.length;
  }

  /** What its messages count. */
  get bytes() {
    let bytes = 0;
    for (let index = this.#first; index < this.#messages.length; index++) {
      const message = this.#messages[index];
      if (message !== MARK) bytes += Buffer.byteLength(message) + MESSAGE_COST;
    }
    return bytes;
  }

  push(message) {
    this.#messages.push(message);
  }

  /** Takes the oldest message, and shows it to the iterators. */
  take() {
    const message = this.#next();
    if (this.#counts) this.#untold += 1;
    this.#calm += 1;
    // Nobody waits for the mark.
    if (this.#messages[this.#first] === MARK) {
      this.#next();
      this.#count();
    }
    for (const each of this.#iterators) each.push(message);
    return message;
  }

  #next() {
    const next = this.#messages[this.#first];
    this.#messages[this.#first++] = undefined;
    if (this.isEmpty) this.#forget();
    else if (this.#first > MAX_GONE + this.#messages.length / 2) {
      this.#messages = this.#messages.slice(this.#first);
      this.#first = 0;
    }
    return next;
  }

  /** What is taken counts from here on, and the mark is the first. */
  #count() {
    this.#counts = true;
    this.#untold += 1;
  }

  /** Whether a message may be handed over. Of a connection that has ended, iterators keep them all. */
  mayPass(hasEnded) {
    if (this.isEmpty || this.isPaused) return false;
    if (!this.isReady) return this.#iterators.some((each) => each.isAsked);
    return hasEnded || !this.#iterators.some((each) => each.isFull);
  }

  /** Whether messages may go straight to the listeners from now on. */
  get mayFlow() {
    if (!this.isReady || !this.isEmpty || this.isPaused || this.#iterators.length > 0) return false;
    return this.#pace === FREE || (this.#pace === COUNTED && this.#calm >= CALM_AFTER);
  }

  pause() {
    this.isPaused = true;
    this.#calm = 0;
  }

  add(iterator) {
    this.#iterators = [...this.#iterators, iterator];
  }

  remove(iterator) {
    this.#iterators = this.#iterators.filter((each) => each !== iterator);
  }

  #forget() {
    this.#messages.length = 0;
    this.#first = 0;
  }

  /** Forgets all messages. */
  clear() {
    this.#forget();
    for (const each of this.#iterators) each.clear();
  }

  /** No message follows. */
  end() {
    for (const each of this.#iterators) each.end();
    this.#iterators = [];
  }

  /** The native half is to be asked to count; returns whether it has not been yet. */
  askToCount() {
    if (this.#pace !== FREE) return false;
    this.#pace = ASKED;
    return true;
  }

  /** The native half counts from here on, this among it. Returns how many bytes are held of before. */
  countFromHere() {
    this.#pace = COUNTED;
    const { bytes } = this;
    if (this.isEmpty) this.#count();
    else this.#messages.push(MARK);
    return bytes;
  }

  /** How many messages have been taken since this was asked. */
  takeUntold() {
    const untold = this.#untold;
    this.#untold = 0;
    return untold;
  }

  get hasUntold() {
    return this.#untold > 0;
  }
}

module.exports = { Inflow };
