'use strict';

/**
 * A WebSocket client that is no part of this package's server: what an adapter's author gets to see
 * comes over the wire (RFC 6455), and needs no dependency.
 */

const { createHash, randomBytes } = require('node:crypto');
const { once } = require('node:events');
const { createConnection } = require('node:net');

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

const CONTINUATION = 0;
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

class Client {
  #socket;
  #received = Buffer.alloc(0);
  /** The message whose fragments are coming. */
  #opcode = 0;
  #fragments = [];
  #onMessage;
  /** Settles when the connection has ended. */
  closed;

  /**
   * Connects, and resolves once messages can be sent.
   *
   * @param {number} port on 127.0.0.1
   * @param {(message: string | Buffer) => void} onMessage
   */
  static async connect(port, path, onMessage) {
    const socket = createConnection(port, '127.0.0.1');
    socket.setNoDelay(true);
    // Refusals and resets end it, which is all that has to be known.
    socket.on('error', () => {});
    const client = new Client(socket, onMessage);
    await client.#shakeHands(port, path);
    return client;
  }

  constructor(socket, onMessage) {
    this.#socket = socket;
    this.#onMessage = onMessage;
    this.closed = once(socket, 'close');
  }

  async #shakeHands(port, path) {
    const key = randomBytes(16).toString('base64');
    const accept = createHash('sha1')
      .update(key + GUID)
      .digest('base64');
    this.#socket.write(
      [
        `GET ${path} HTTP/1.1`,
        `Host: 127.0.0.1:${port}`,
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        `Sec-WebSocket-Key: ${key}`,
        '\r\n',
      ].join('\r\n'),
    );
    await new Promise((resolve, reject) => {
      this.closed.then(() => reject(new Error(`${path} was not accepted`)));
      this.#socket.on('data', (bytes) => {
        this.#received = Buffer.concat([this.#received, bytes]);
        const end = this.#received.indexOf('\r\n\r\n');
        if (end < 0) return;
        const head = this.#received.toString('latin1', 0, end);
        if (!head.startsWith('HTTP/1.1 101 ') || !head.includes(accept)) {
          reject(new Error(`${path} was answered by ${head.split('\r\n')[0]}`));
          return;
        }
        this.#received = this.#received.subarray(end + 4);
        this.#socket.removeAllListeners('data');
        this.#socket.on('data', (more) => this.#read(more));
        resolve();
        this.#read(Buffer.alloc(0));
      });
    });
  }

  #read(bytes) {
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    for (;;) {
      const frame = firstFrame(this.#received);
      if (frame === null) return;
      this.#received = this.#received.subarray(frame.length);
      this.#take(frame);
    }
  }

  #take({ isFinal, opcode, payload }) {
    if (opcode === PING) return this.#write(PONG, payload);
    if (opcode === CLOSE) {
      this.#write(CLOSE, payload);
      this.#socket.end();
      return;
    }
    if (opcode === PONG) return;
    if (opcode !== CONTINUATION) this.#opcode = opcode;
    this.#fragments.push(payload);
    if (!isFinal) return;
    const message = Buffer.concat(this.#fragments);
    this.#fragments = [];
    this.#onMessage(this.#opcode === TEXT ? message.toString() : message);
  }

  /** @param {string | Uint8Array} message */
  send(message) {
    if (typeof message === 'string') this.#write(TEXT, Buffer.from(message));
    else this.#write(BINARY, message);
  }

  /** A frame of a client is masked (§5.3). */
  #write(opcode, payload) {
    const mask = randomBytes(4);
    const masked = Buffer.from(payload);
    for (let index = 0; index < masked.length; index += 1) masked[index] ^= mask[index & 3];
    this.#socket.write(Buffer.concat([headOf(opcode, payload.length), mask, masked]));
  }

  /** Ends the connection, in whatever state it is. */
  destroy() {
    this.#socket.destroy();
    return this.closed;
  }
}

function headOf(opcode, length) {
  const first = 0x80 | opcode;
  if (length < 126) return Buffer.from([first, 0x80 | length]);
  if (length < 0x10000) return Buffer.from([first, 0xfe, length >> 8, length & 0xff]);
  const head = Buffer.from([first, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(length, 6);
  return head;
}

/** The frame at the beginning (§5.2), or `null` where it has not come yet. Servers do not mask. */
function firstFrame(bytes) {
  if (bytes.length < 2) return null;
  let at = 2;
  let length = bytes[1] & 0x7f;
  if (length === 126) {
    if (bytes.length < 4) return null;
    length = bytes.readUInt16BE(2);
    at = 4;
  } else if (length === 127) {
    if (bytes.length < 10) return null;
    length = Number(bytes.readBigUInt64BE(2));
    at = 10;
  }
  if (bytes.length < at + length) return null;
  return {
    length: at + length,
    isFinal: (bytes[0] & 0x80) !== 0,
    opcode: bytes[0] & 0x0f,
    payload: bytes.subarray(at, at + length),
  };
}

module.exports = { Client };
