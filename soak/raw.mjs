/** A client that writes what it likes, and takes in what the server has to say about it. */
import { randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { dial } from './wire.mjs';

export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;

/**
 * A client frame, masked unless told otherwise. `length` is what the header claims.
 * @param {number} opcode
 * @param {Buffer | string} payload
 * @param {{ fin?: boolean, rsv?: number, masked?: boolean, length?: number }} [how]
 */
export function frame(opcode, payload = '', how = {}) {
  const data = Buffer.from(payload);
  const { fin = true, rsv = 0, masked = true, length = data.length } = how;
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const header = lengthField(length);
  header[0] |= masked ? 0x80 : 0;
  if (!masked) return Buffer.concat([Buffer.of(first), header, data]);
  const mask = randomBytes(4);
  for (let at = 0; at < data.length; at++) data[at] ^= mask[at % 4];
  return Buffer.concat([Buffer.of(first), header, mask, data]);
}

function lengthField(length) {
  if (length < 126) return Buffer.of(length);
  const field = Buffer.alloc(length < 65_536 ? 3 : 9);
  field[0] = length < 65_536 ? 126 : 127;
  if (length < 65_536) field.writeUInt16BE(length, 1);
  else field.writeBigUInt64BE(BigInt(length), 1);
  return field;
}

/** The payload of a close frame. */
export function closePayload(code, reason = '') {
  return Buffer.concat([Buffer.of(code >> 8, code & 255), Buffer.from(reason)]);
}

/** An upgrade request; `undefined` leaves a header out, a list sends it several times. */
export function upgradeRequest(headers = {}, method = 'GET') {
  const all = {
    Host: '127.0.0.1',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version': '13',
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((one) => `${name}: ${one}\r\n`),
  );
  return `${method} /crowd HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** One connection. */
export class RawPeer {
  /** Of the HTTP response; 0 before there is one. */
  status = 0;
  /** Head of the HTTP response. */
  head = '';
  /** Code of the close frame, 1005 without one; 0 before there is a close frame. */
  closeCode = 0;
  /** Messages received. */
  messages = 0;
  /** Whether this side ended the connection. */
  left = false;
  /** Settles when the connection is gone. */
  ended;
  #tcp;
  #unread = Buffer.alloc(0);
  #waiting = [];

  /**
   * @param {number} port
   * @param {{ allowHalfOpen?: boolean }} [options]
   */
  constructor(port, { allowHalfOpen = false } = {}) {
    const { stream, tcp } = dial(port, { allowHalfOpen });
    this.socket = stream;
    this.#tcp = tcp;
    this.socket.on('data', (data) => this.#take(data));
    this.socket.on('error', () => {});
    this.ended = new Promise((resolve) => this.socket.on('close', resolve));
    this.ended.then(() => this.#wake());
  }

  write(data) {
    if (!this.socket.destroyed) this.socket.write(data);
  }

  /** Writes byte by byte, until the connection is gone. */
  async drip(data, gap) {
    for (const byte of Buffer.from(data)) {
      if (this.socket.destroyed) return;
      this.socket.write(Buffer.of(byte));
      await wait(gap);
    }
  }

  /** Completes the handshake; returns whether there is a WebSocket. */
  async upgrade(headers) {
    this.write(upgradeRequest(headers));
    await this.until(() => this.status !== 0);
    return this.status === 101;
  }

  /** Waits until something holds, or the connection is gone. */
  async until(holds) {
    while (!holds() && !this.socket.destroyed) {
      await new Promise((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Ends the connection: with a reset, or in the way of TCP. */
  leave({ reset = false } = {}) {
    this.left = true;
    if (reset) this.#tcp.resetAndDestroy();
    else this.socket.destroy();
  }

  #take(data) {
    this.#unread = this.#unread.length === 0 ? data : Buffer.concat([this.#unread, data]);
    while (this.status === 101 ? this.#takeFrame() : this.#takeHead());
    this.#wake();
  }

  #takeHead() {
    const end = this.#unread.indexOf('\r\n\r\n');
    if (end < 0 || this.status !== 0) return false;
    this.head = this.#unread.toString('latin1', 0, end);
    this.status = Number(/^HTTP\/1\.1 (\d{3})/.exec(this.head)?.[1] ?? 999);
    this.#unread = this.#unread.subarray(end + 4);
    return true;
  }

  #takeFrame() {
    const bytes = this.#unread;
    if (bytes.length < 2) return false;
    const long = { 126: 2, 127: 8 }[bytes[1] & 127] ?? 0;
    const start = 2 + long;
    if (bytes.length < start) return false;
    const length =
      long === 0 ? bytes[1] & 127 : bytes.readUIntBE(start - Math.min(long, 6), Math.min(long, 6));
    if (bytes.length < start + length) return false;
    this.#unread = bytes.subarray(start + length);
    const opcode = bytes[0] & 15;
    if (opcode === CLOSE) this.closeCode = length < 2 ? 1005 : bytes.readUInt16BE(start);
    if (opcode < CLOSE) this.messages += 1;
    return true;
  }

  #wake() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
