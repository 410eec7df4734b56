'use strict';

/**
 * Messages in parts, for a broker that takes none as long as they can be.
 *
 *     mark   sender  message  part  parts   bytes
 *      8       8        4       4     4      ...
 *
 * Numbers are big-endian. A sender's parts come one after the other, with nothing of its own in
 * between, so that of each sender there is one message under way at most.
 */

const { randomBytes } = require('node:crypto');

/** What a part begins with. A whole message that begins so too is sent as one part. */
const MARK = Buffer.from('NRWSPART', 'latin1');
const SENDER = 8;
const HEAD = MARK.length + SENDER + 12;

/** Most bytes of messages under way, of all senders together; also the longest message. */
const MAX_BYTES = 64 << 20;
const MAX_SENDERS = 1024;

/** Splits the messages of one sender. */
class Splitter {
  #sender = randomBytes(SENDER);
  #messages = 0;

  /**
   * What is to be sent in the place of a message, in this order.
   *
   * @param {Uint8Array} message
   * @param {number} limit longest message that the broker takes, in bytes
   * @returns {Uint8Array[]}
   */
  split(message, limit) {
    if (message.length <= limit && !isPart(message)) return [message];
    if (message.length > MAX_BYTES) {
      throw new RangeError(`a message of ${message.length} bytes is longer than ${MAX_BYTES}`);
    }
    const room = limit - HEAD;
    if (room < 1) throw new RangeError(`the broker takes messages of ${limit} bytes at most`);
    const count = Math.ceil(message.length / room);
    this.#messages = (this.#messages + 1) >>> 0;
    return Array.from({ length: count }, (_, index) => {
      const bytes = message.subarray(index * room, (index + 1) * room);
      const head = Buffer.alloc(HEAD);
      head.set(MARK);
      head.set(this.#sender, MARK.length);
      const at = MARK.length + SENDER;
      [this.#messages, index, count].forEach((number, field) => {
        head.writeUInt32BE(number, at + 4 * field);
      });
      return Buffer.concat([head, bytes]);
    });
  }
}

/** Puts the messages of all senders together again. */
class Joiner {
  /** What has come of the message that a sender is sending. */
  #underWay = new Map();
  #bytes = 0;

  /**
   * The whole message, or `null` where more has to come, or something is missing.
   *
   * @param {Uint8Array} part
   */
  add(part) {
    if (!isPart(part)) return part;
    const view = Buffer.from(part.buffer, part.byteOffset, part.length);
    const at = MARK.length + SENDER;
    const sender = view.toString('latin1', MARK.length, at);
    const [message, index, count] = [0, 4, 8].map((offset) => view.readUInt32BE(at + offset));
    const bytes = view.subarray(HEAD);
    if (index === 0) {
      this.#forget(sender);
      this.#underWay.set(sender, { message, count, parts: [], bytes: 0 });
    }
    const known = this.#underWay.get(sender);
    if (known?.message !== message || known.count !== count || known.parts.length !== index) {
      this.#forget(sender);
      return null;
    }
    // A copy: the client's buffer may be much longer, and belongs to it.
    known.parts.push(Buffer.from(bytes));
    known.bytes += bytes.length;
    this.#bytes += bytes.length;
    if (known.parts.length < count) {
      this.#keepBound();
      return null;
    }
    this.#forget(sender);
    return Buffer.concat(known.parts);
  }

  clear() {
    this.#underWay.clear();
    this.#bytes = 0;
  }

  #forget(sender) {
    this.#bytes -= this.#underWay.get(sender)?.bytes ?? 0;
    this.#underWay.delete(sender);
  }

  /** Gives up what was begun first. */
  #keepBound() {
    for (const sender of this.#underWay.keys()) {
      if (this.#bytes <= MAX_BYTES && this.#underWay.size <= MAX_SENDERS) return;
      this.#forget(sender);
    }
  }
}

function isPart(message) {
  return message.length >= HEAD && MARK.every((byte, index) => message[index] === byte);
}

module.exports = { Joiner, Splitter };
