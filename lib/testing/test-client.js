'use strict';

const { binaryView, checkClose } = require('../check.js');
const { Peer } = require('./loopback.js');
const { Received } = require('./received.js');

/** The client of a connection without a network. `index.d.ts` documents it. */
class TestClient {
  received = [];
  closed = null;
  pings = 0;
  socket;
  #loopback;
  #peer;
  /** Those of {@link received} that have not been awaited. */
  #unread = new Received();

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
    this.#unread.push(message);
  }

  #onEnd(code, reason) {
    this.closed = { code, reason };
    this.#unread.end(code, reason);
  }

  next() {
    return this.#unread.next();
  }

  nextJson() {
    return this.#unread.nextJson();
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
