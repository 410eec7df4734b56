/**
 * What is broadcast: who says it, in which room, as which of what it says there, and a filler that can be
 * checked. All processes have the same clock.
 */
import process from 'node:process';

/** The number that stands for everybody in place of a room's. */
export const EVERYBODY = -1;

const ALPHABET = Buffer.from('abcdefghijklmnopqrstuvwxyz'.repeat(400));

/** The name of a room by its number. */
export const roomName = (room) => `soak ✓ ${room}`;

/** The number of a room by its name. */
export const roomNumber = (name) => Number(name.slice(name.lastIndexOf(' ') + 1));

/** Milliseconds since the machine started. */
export const now = () => Number(process.hrtime.bigint() / 1000n) / 1000;

/** Where the filler of a message is in the alphabet: mostly short, sometimes 8 kB. */
function fillerOf(number) {
  const length = number % 50 === 0 ? 8000 : (number * 37) % 300;
  return [number % 26, (number % 26) + length];
}

/** Whether a message is to be binary: text and binary in turns, but all is text that everybody gets. */
const isBinary = (room, number) => room !== EVERYBODY && number % 3 === 0;

/** Message `number` of a node in a room. */
export function compose(node, room, number) {
  const text = `${node} ${room} ${number} ${ALPHABET.toString('latin1', ...fillerOf(number))}`;
  return isBinary(room, number) ? Buffer.from(text) : text;
}

/**
 * Reads a message; `whole` is false where it is not as it was composed.
 * @param {Buffer} data
 * @param {boolean} binary
 */
export function parse(data, binary) {
  const head = data.toString('latin1', 0, 40).split(' ', 3);
  const [node, room, number] = head.map(Number);
  const start = head.join(' ').length + 1;
  const [from, to] = fillerOf(number);
  const whole =
    data.length - start === to - from &&
    ALPHABET.compare(data, start, data.length, from, to) === 0 &&
    binary === isBinary(room, number);
  return { node, room, number, whole };
}
