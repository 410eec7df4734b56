/**
 * Well-behaved peers: each pair exchanges numbered messages through the server and checks that
 * what arrives is complete, in order and whole.
 */
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import WebSocket from 'ws';
import { clientOptions, wsUrl } from './wire.mjs';

const PAIRS = 20;

/** Milliseconds between two bursts of an end, and messages in a burst. */
const TICK = 50;
const BURST = 3;

/** Messages under way from one end above which it waits, so that the soak measures no overload. */
const WINDOW = 256;

/** How long the last messages may take, in milliseconds. */
const LAST_MESSAGES_LIMIT = 20_000;

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz'.repeat(2000);

/** The rest of message `number`: always the same, mostly short, sometimes 30 kB. */
function filler(number) {
  const length = number % 50 === 0 ? 30_000 : (number * 37) % 500;
  return ALPHABET.slice(number % 26, (number % 26) + length);
}

/** One end of a pair. */
class End {
  sent = 0;
  received = 0;
  lost = 0;
  outOfOrder = 0;
  damaged = 0;
  /** Milliseconds that each message took. */
  times = [];
  /** Code and reason where the connection ended before its time. */
  endedEarly = null;
  /** @type {End} */
  partner;
  #sentAt = new Map();
  #leaving = false;

  constructor(url, perMessageDeflate) {
    this.socket = new WebSocket(url, { ...clientOptions, perMessageDeflate });
    this.socket.on('message', (data) => this.#check(data.toString()));
    this.socket.on('close', (code, reason) => {
      if (!this.#leaving) this.endedEarly = `${code} ${reason}`.trim();
    });
    this.socket.on('error', (error) => {
      this.endedEarly ??= error.message;
    });
  }

  /** Sends the next messages: directly and through the room, as text and as binary, in turns. */
  sendBurst() {
    for (let count = 0; count < BURST; count++) {
      if (this.sent - this.partner.received > WINDOW || this.endedEarly !== null) return;
      this.sent += 1;
      const text = `${this.sent % 2 === 0 ? 'd' : 'r'} ${this.sent} ${filler(this.sent)}`;
      this.#sentAt.set(this.sent, performance.now());
      this.socket.send(this.sent % 3 === 0 ? Buffer.from(text) : text);
    }
  }

  #check(text) {
    const [, digits, rest] = text.split(' ');
    const number = Number(digits);
    const expected = this.received + this.lost + 1;
    if (number < expected) this.outOfOrder += 1;
    else this.lost += number - expected;
    if (rest !== filler(number)) this.damaged += 1;
    this.received += 1;
    this.times.push(performance.now() - this.partner.#sentAt.get(number));
    this.partner.#sentAt.delete(number);
  }

  get isComplete() {
    return this.received + this.lost >= this.partner.sent;
  }

  /** Counts what has not come by now as lost, and closes; returns the close code. */
  async leave() {
    this.lost = this.partner.sent - this.received;
    this.#leaving = true;
    if (this.endedEarly !== null) return undefined;
    const closed = once(this.socket, 'close');
    this.socket.close(1000);
    const [code] = await closed;
    return code;
  }
}

/** Connects a pair; half of the pairs offer compression. */
function makePair(port, index) {
  const url = (side) => wsUrl(port, `/pair/${index}/${side}`);
  const [one, other] = ['a', 'b'].map((side) => new End(url(side), index % 2 === 0));
  one.partner = other;
  other.partner = one;
  return [one, other];
}

/**
 * Starts the pairs; the promise is fulfilled once all are connected.
 * @param {{ port: number }} settings
 */
export async function startPairs({ port }) {
  const ends = Array.from({ length: PAIRS }, (_, index) => makePair(port, index)).flat();
  await Promise.all(ends.map(({ socket }) => once(socket, 'open')));
  const timer = setInterval(() => {
    for (const end of ends) end.sendBurst();
  }, TICK);

  return {
    progress: () => `${sum(ends, 'received')} messages between pairs`,
    /** Waits for the last messages and returns the figures. */
    async finish() {
      clearInterval(timer);
      const limit = performance.now() + LAST_MESSAGES_LIMIT;
      while (!ends.every((end) => end.isComplete) && performance.now() < limit) await wait(20);
      const codes = await Promise.all(ends.map((end) => end.leave()));
      const times = ends.flatMap((end) => end.times).sort((a, b) => a - b);
      return {
        pairs: PAIRS,
        sent: sum(ends, 'sent'),
        received: sum(ends, 'received'),
        lost: sum(ends, 'lost'),
        outOfOrder: sum(ends, 'outOfOrder'),
        damaged: sum(ends, 'damaged'),
        endedEarly: ends.map((end) => end.endedEarly).filter((reason) => reason !== null),
        closedOtherwise: codes.filter((code) => code !== undefined && code !== 1000),
        median: times[Math.floor(times.length / 2)],
        slowest: times.at(-1),
      };
    },
  };
}

function sum(ends, name) {
  return ends.reduce((total, end) => total + end[name], 0);
}
