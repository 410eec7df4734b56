/**
 * Everything that a server should not be hurt by. Each attack has a connection of its own, and an
 * outcome that is the only right one: an HTTP status, a close code, or an end.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { deflateRawSync } from 'node:zlib';
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  closePayload,
  frame,
  PING,
  RawPeer,
  TEXT,
  upgradeRequest,
} from './raw.mjs';

/** Attackers at the same time. */
const ATTACKERS = 100;

/** How long the server has for ending what it has to end, in milliseconds. */
const END_LIMIT = 20_000;

const random = (below) => Math.floor(Math.random() * below);

/**
 * @typedef {object} Attack
 * @property {(peer: RawPeer, settings: Settings) => unknown} run
 * @property {string[]} outcomes the right ones: `HTTP n`, `close n`, `cut` (an end without a word),
 *   `left` (the attacker went by itself), `ended` (the server ended it, in whatever way),
 *   `answered`
 * @property {boolean} [allowHalfOpen]
 *
 * @typedef {{ port: number, rooms: number, maxMessageSize: number, maxBackpressure: number }} Settings
 */

/** Sends one request. @returns {Attack} */
function request(outcome, text) {
  return { outcomes: [outcome], run: (peer) => peer.write(text()) };
}

/** Completes the handshake and sends frames at once. @returns {Attack} */
function frames(outcome, make) {
  return {
    outcomes: [outcome],
    async run(peer, settings) {
      if (await peer.upgrade()) peer.write(make(settings));
    },
  };
}

/** As {@link frames}, with permessage-deflate. @returns {Attack} */
function compressed(outcome, make) {
  return {
    outcomes: [outcome],
    async run(peer, settings) {
      const headers = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };
      if (!(await peer.upgrade(headers))) return undefined;
      if (!/^sec-websocket-extensions: permessage-deflate/im.test(peer.head)) return 'not offered';
      peer.write(make(settings));
      return undefined;
    },
  };
}

/** Deflates as a message of permessage-deflate: without the last four bytes. */
function deflate(data) {
  return deflateRawSync(data, { finishFlush: 2 }).subarray(0, -4);
}

const handshakes = {
  'says nothing': {
    outcomes: ['left'],
    async run(peer) {
      await wait(1000 + random(2000));
      peer.leave();
    },
  },
  'half a request': {
    outcomes: ['left'],
    async run(peer) {
      peer.write(upgradeRequest().slice(0, -2 - random(100)));
      await wait(1000 + random(2000));
      peer.leave();
    },
  },
  'request byte by byte, then gone': {
    outcomes: ['left'],
    async run(peer) {
      await peer.drip(upgradeRequest().slice(0, 100), 20);
      peer.leave({ reset: true });
    },
  },
  'reset during the handshake': {
    outcomes: ['left'],
    async run(peer) {
      peer.write(upgradeRequest());
      await wait(random(4));
      peer.leave({ reset: true });
    },
  },
  'not HTTP': request('HTTP 400', () => `${randomBytes(300).toString('base64')}\r\n\r\n`),
  'bad key': request('HTTP 400', () => upgradeRequest({ 'Sec-WebSocket-Key': 'short' })),
  'no key': request('HTTP 400', () => upgradeRequest({ 'Sec-WebSocket-Key': undefined })),
  'two keys': request('HTTP 400', () =>
    upgradeRequest({ 'Sec-WebSocket-Key': Array(2).fill('dGhlIHNhbXBsZSBub25jZQ==') }),
  ),
  'version 8': request('HTTP 426', () => upgradeRequest({ 'Sec-WebSocket-Version': '8' })),
  'not GET': request('HTTP 405', () => upgradeRequest({}, 'PUT')),
  'headers of 64 kB': request('HTTP 431', () => upgradeRequest({ Cookie: 'x'.repeat(65_536) })),
  'two requests at once': request('close 1002', () => upgradeRequest().repeat(2)),
};

const badFrames = {
  'random bytes': {
    // By chance they are a ping, a close frame, or the header of a frame that never comes.
    outcomes: ['ended', 'left'],
    async run(peer) {
      if (!(await peer.upgrade())) return undefined;
      peer.write(randomBytes(500));
      await Promise.race([peer.ended, wait(2000)]);
      const ended = peer.socket.destroyed;
      peer.leave();
      return ended ? 'ended' : undefined;
    },
  },
  unmasked: frames('close 1002', () => frame(TEXT, 'text', { masked: false })),
  'reserved opcode': frames('close 1002', () => frame(3 + random(5), 'text')),
  'reserved bits': frames('close 1002', () => frame(TEXT, 'text', { rsv: 1 + random(7) })),
  'fragmented ping': frames('close 1002', () => frame(PING, 'ping', { fin: false })),
  'long ping': frames('close 1002', () => frame(PING, Buffer.alloc(126))),
  'nothing to continue': frames('close 1002', () => frame(CONTINUATION, 'text')),
  'message in a message': frames('close 1002', () =>
    Buffer.concat([frame(TEXT, 'one', { fin: false }), frame(TEXT, 'two')]),
  ),
  'invalid UTF-8': frames('close 1007', () => frame(TEXT, Buffer.of(0xce, 0xba, 0xff))),
  'invalid UTF-8 in an unfinished message': frames('close 1007', () =>
    frame(TEXT, Buffer.of(0xed, 0xa0), { fin: false }),
  ),
  'bad close code': frames('close 1002', () => frame(CLOSE, closePayload(1005))),
  'close frame of one byte': frames('close 1002', () => frame(CLOSE, Buffer.of(3))),
  'declared size of 4 GB': frames('close 1009', () => frame(BINARY, '', { length: 2 ** 32 })),
  'too long in fragments': frames('close 1009', ({ maxMessageSize }) => {
    const half = Buffer.alloc(maxMessageSize / 2 + 1);
    return Buffer.concat([
      frame(BINARY, half, { fin: false }),
      frame(CONTINUATION, half, { fin: false }),
    ]);
  }),
  'not deflated': compressed('close 1007', () => frame(TEXT, Buffer.alloc(50, 0xff), { rsv: 4 })),
  'deflate bomb': compressed('close 1009', ({ maxMessageSize }) =>
    frame(BINARY, deflate(Buffer.alloc(maxMessageSize * 100)), { rsv: 4 }),
  ),
  'asks a listener to throw': frames('close 1011', () => frame(TEXT, 'throw')),
};

const behaviours = {
  'reset in the middle of a frame': {
    outcomes: ['left'],
    async run(peer) {
      if (!(await peer.upgrade())) return;
      peer.write(frame(BINARY, Buffer.alloc(1000)).subarray(0, 1 + random(1000)));
      await wait(random(50));
      peer.leave({ reset: true });
    },
  },
  'half-closed': {
    outcomes: ['cut'],
    allowHalfOpen: true,
    async run(peer) {
      if (!(await peer.upgrade())) return;
      peer.socket.end();
    },
  },
  'frame byte by byte': {
    outcomes: ['answered'],
    async run(peer) {
      if (!(await peer.upgrade())) return undefined;
      await peer.drip(frame(TEXT, `echo ${'slow'.repeat(20)}`), 20);
      await peer.until(() => peer.messages === 1);
      const answered = peer.messages === 1;
      peer.leave();
      return answered ? 'answered' : undefined;
    },
  },
  'message of 20,000 fragments': {
    outcomes: ['answered', 'close 1008', 'close 1009'],
    async run(peer) {
      if (!(await peer.upgrade())) return undefined;
      const tiny = frame(CONTINUATION, 'x', { fin: false });
      peer.write(frame(TEXT, 'echo ', { fin: false }));
      peer.write(Buffer.concat(Array(20_000).fill(tiny)));
      peer.write(frame(CONTINUATION, 'x'));
      await peer.until(() => peer.messages === 1 || peer.closeCode !== 0);
      if (peer.messages === 0) return undefined;
      peer.leave();
      return 'answered';
    },
  },
  'flood of pings, pongs unread': {
    outcomes: ['close 1000', 'close 1008'],
    async run(peer) {
      if (!(await peer.upgrade())) return;
      const pings = Buffer.concat(Array(1000).fill(frame(PING, Buffer.alloc(125))));
      peer.socket.pause();
      for (let round = 0; round < 20; round++) peer.write(pings);
      await wait(1000);
      peer.socket.resume();
      peer.write(frame(CLOSE, closePayload(1000)));
    },
  },
  'does not read': {
    outcomes: ['close 1008', 'cut'],
    async run(peer, { maxBackpressure }) {
      if (!(await peer.upgrade())) return;
      peer.write(frame(TEXT, `flood ${16 * 1024 * 1024 + maxBackpressure}`));
      peer.socket.pause();
      await wait(2000);
      peer.socket.resume();
    },
  },
  'does not read, in many rooms': {
    outcomes: ['left'],
    async run(peer, { rooms }) {
      if (!(await peer.upgrade())) return;
      const joins = Array.from({ length: Math.min(rooms, 100) }, (_, room) =>
        frame(TEXT, `join room-${room}`),
      );
      peer.write(Buffer.concat(joins));
      peer.socket.pause();
      await wait(3000);
      peer.leave({ reset: random(2) === 0 });
    },
  },
  'enters rooms of its own, then gone': {
    outcomes: ['left'],
    async run(peer) {
      if (!(await peer.upgrade())) return;
      const joins = Array.from({ length: 50 }, () =>
        frame(TEXT, `join own-${randomBytes(8).toString('hex')}`),
      );
      peer.write(Buffer.concat(joins));
      await wait(random(20));
      peer.leave({ reset: true });
    },
  },
  'never answers a ping': {
    outcomes: ['close 1001'],
    async run(peer) {
      await peer.upgrade();
    },
  },
  'never answers a close frame': {
    outcomes: ['close 4000'],
    allowHalfOpen: true,
    async run(peer) {
      if (!(await peer.upgrade())) return;
      peer.write(frame(TEXT, 'close'));
    },
  },
};

/** @type {Record<string, Attack>} */
const attacks = { ...handshakes, ...badFrames, ...behaviours };

/**
 * Makes one attack.
 * @param {Attack} attack
 * @param {Settings} settings
 * @returns {Promise<string>} the outcome; `stuck` where the server did not end the connection
 */
async function perform({ run, allowHalfOpen }, settings) {
  const peer = new RawPeer(settings.port, { allowHalfOpen });
  const completed = async () => {
    const outcome = await run(peer, settings);
    if (outcome === undefined) await peer.ended;
    return outcome;
  };
  // The server's end of the stream is its last word, where this side keeps its own open.
  if (allowHalfOpen) peer.socket.on('end', () => peer.socket.destroy());
  const outcome = await Promise.race([completed(), wait(END_LIMIT, 'stuck')]);
  peer.socket.destroy();
  return outcome ?? outcomeOf(peer);
}

/** @param {RawPeer} peer */
function outcomeOf({ status, closeCode, left }) {
  if (status > 101) return `HTTP ${status}`;
  if (closeCode !== 0) return `close ${closeCode}`;
  return left ? 'left' : 'cut';
}

/**
 * Starts the attackers.
 * @param {Settings} settings
 */
export function startAttacks(settings) {
  /** Outcomes of each attack and how often they came. */
  const figures = {};
  let made = 0;
  let over = false;

  async function attackOver(first) {
    for (let kind = first; !over; kind = random(Object.keys(attacks).length)) {
      const name = Object.keys(attacks)[kind];
      const outcome = await perform(attacks[name], settings);
      figures[name] ??= { right: attacks[name].outcomes, outcomes: {} };
      const { outcomes } = figures[name];
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      made += 1;
    }
  }

  // Each kind comes at least once.
  const attackers = Array.from({ length: ATTACKERS }, (_, index) =>
    attackOver(index % Object.keys(attacks).length),
  );
  return {
    progress: () => `${made} attacks`,
    /** Waits until the last attack is over and returns the figures. */
    async finish() {
      over = true;
      await Promise.all(attackers);
      return figures;
    },
  };
}
