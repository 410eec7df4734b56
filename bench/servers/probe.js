/** What `join` and `leave` cost, measured where they are called. For servers with such methods. */
import { ROOM } from './shared.js';

/** Pairs of `join` and `leave` per measurement; before it as many, for V8 to have compiled them. */
const PAIRS = 20_000;

/**
 * @typedef {object} Socket
 * @property {(room: string) => void} join
 * @property {(room: string) => void} leave
 */

/** A connection that joins and leaves {@link ROOM} while it is in so and so many other rooms. */
export function createProbe() {
  /** @type {Socket} */
  let socket;
  let joined = 0;
  return {
    /** @param {Socket} opened the last one to come is measured */
    onConnection(opened) {
      socket = opened;
      joined = 0;
    },

    /** @param {number} others how many rooms it is in besides; never fewer than before */
    measure(others) {
      for (; joined < others; joined++) socket.join(`other-${joined}`);
      repeat(socket);
      const start = process.hrtime.bigint();
      repeat(socket);
      const nanoseconds = Number(process.hrtime.bigint() - start);
      return { others, pairs: PAIRS, ns_each: nanoseconds / PAIRS };
    },
  };
}

/** @param {Socket} socket */
function repeat(socket) {
  for (let pair = 0; pair < PAIRS; pair++) {
    socket.join(ROOM);
    socket.leave(ROOM);
  }
}
