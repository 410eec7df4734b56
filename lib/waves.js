'use strict';

/** Closes connections a few at a time, so that their clients do not all come back in one moment. */

const { performance } = require('node:perf_hooks');

const { checkClose, checkOptions, wrongType } = require('./check.js');

/** Longest timer of Node, in milliseconds. */
const MAX_MS = 2 ** 31 - 1;

/** Time between two waves, about, in milliseconds. */
const WAVE_MS = 100;

/** What `cleanup` is told, by name. */
const NAMES = ['overMs', 'code', 'reason'];

const ACCEPTED_MS = `a whole number of milliseconds from 0 to ${MAX_MS}`;

/**
 * Checks what `cleanup` is told.
 *
 * @param {string} where the method, for errors
 * @returns {{ overMs: number, code: number, reason: string }}
 */
function readWaves(options, where) {
  if (options === undefined) options = {};
  if (options === null || typeof options !== 'object' || Array.isArray(options)) {
    throw wrongType(where, 'options', 'an object with overMs, code and reason', options);
  }
  // `undefined` is the default.
  const {
    overMs = 0,
    code = 1001,
    reason = 'server is shutting down',
  } = checkOptions(where, options, NAMES);
  if (typeof overMs !== 'number') throw wrongType(where, 'overMs', ACCEPTED_MS, overMs);
  if (!Number.isInteger(overMs) || overMs < 0 || overMs > MAX_MS) {
    throw new RangeError(`${where}: overMs must be ${ACCEPTED_MS}, got ${String(overMs)}`);
  }
  checkClose(where, code, reason);
  return { overMs, code, reason };
}

/** Closes some connections within a time, in an order and at moments that nobody can foresee. */
class Waves {
  #waiting;
  #close;
  #total;
  #overMs;
  #since = performance.now();
  #timer;
  #onDone;
  /** Resolves once all have been closed, or {@link hasten} has been called. */
  done;

  /**
   * @param {object[]} connections
   * @param {number} overMs the last is closed so many milliseconds from now
   * @param {(connection: object) => void} close does nothing where a connection has ended by itself
   */
  constructor(connections, overMs, close) {
    this.#waiting = shuffled(connections);
    this.#total = connections.length;
    this.#overMs = overMs;
    this.#close = close;
    this.done = new Promise((resolve) => {
      this.#onDone = resolve;
    });
    this.#next();
  }

  /** Closes no more of them one by one: whoever is waiting for the end sees to the rest. */
  hasten() {
    clearTimeout(this.#timer);
    this.#waiting = [];
    this.#onDone();
  }

  #next() {
    if (this.#waiting.length === 0) return this.#onDone();
    const left = this.#overMs - (performance.now() - this.#since);
    // Not at equal distances, which other servers that end at the same time would have as well.
    const wait = Math.max(0, Math.min(left, WAVE_MS * (0.5 + Math.random())));
    this.#timer = setTimeout(() => this.#wave(), wait);
  }

  /** Closes as many as are due by now, also where a busy process has let timers wait. */
  #wave() {
    const share = Math.min(1, (performance.now() - this.#since) / this.#overMs);
    const left = Math.floor(this.#total * (1 - share));
    while (this.#waiting.length > left) this.#close(this.#waiting.pop());
    this.#next();
  }
}

/** In random order (Fisher–Yates): by age they would come back as they came. */
function shuffled(items) {
  const all = [...items];
  for (let index = all.length - 1; index > 0; index -= 1) {
    const other = Math.floor(Math.random() * (index + 1));
    [all[index], all[other]] = [all[other], all[index]];
  }
  return all;
}

module.exports = { Waves, readWaves };
