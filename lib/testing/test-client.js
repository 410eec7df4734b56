'use strict';

const { binaryView, checkClose } = require('../check.js');
const { Peer } = require('./loopback.js');

/** The client of a connection without a network. `index.d.ts` documents it. */
class TestClient {
  received = [];
  closed = null;
  pings = 0;
  socket;
  #loopback;
  #peer;
  #unread = [];
  #takers = [];

  constructor(loopback) {
    this.#loopback = loopback;
    this.#peer = new Peer({
      onMessage: (message) => this.#onMessage(message),
      onPing: () => {
        this.pings += 1;
      },
      onEnd: (code, reason) => this.#onEnd(code, reason),
    });
  }

  /** The next upgrade request is this client's. */
  announce() {
    this.#loopback.nextPeer = this.#peer;
  }

  #onMessage(message) {
    this.received.push(message);
    const taker = this.#takers.shift();
    if (taker === undefined) this.#unread.push(message);
    else taker.resolve(message);
  }

  #onEnd(code, reason) {
    this.closed = { code, reason };
    for (const { reject } of this.#takers.splice(0)) reject(this.#wasClosed());
  }

  #wasClosed() {
    const { code, reason } = this.closed;
    return new Error(`the connection was closed with ${code}${reason && `: ${reason}`}`);
  }

  next() {
    if (this.#unread.length > 0) return Promise.resolve(this.#unread.shift());
    if (this.closed !== null) return Promise.reject(this.#wasClosed());
    return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }));
  }

  async nextJson() {
    return JSON.parse((await this.next()).toString());
  }

  send(data) {
    // A copy: who sends may use the memory again.
    const message = typeof data === 'string' ? data : Buffer.from(binaryView('send', data));
    this.#loopback.receive(this.#peer, message);
  }

  json(value) {
    this.send(JSON.stringify(value));
  }

  close(code, reason = '') {
    if (code === undefined) return this.#loopback.end(this.#peer, 1005, '');
    checkClose('close', code, reason);
    this.#loopback.end(this.#peer, code, reason);
  }

  drop() {
    this.#loopback.end(this.#peer, 1006, '');
  }

  pong() {
    this.#loopback.pong(this.#peer);
  }
}

module.exports = { TestClient };
