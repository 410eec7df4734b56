'use strict';

const { Duplex } = require('node:stream');

/** The stream of an upgrade request that comes over no network: keeps the response to a refusal. */
class RequestStream extends Duplex {
  #response = [];
  /** The address of the client, as a socket has it. */
  remoteAddress;
  #onResponse;

  /**
   * @param {string} remoteAddress
   * @param {(response: string) => void} onResponse called with what was answered, once that is all
   */
  constructor(remoteAddress, onResponse) {
    super();
    this.remoteAddress = remoteAddress;
    this.#onResponse = onResponse;
  }

  _read() {}

  _write(chunk, _encoding, callback) {
    this.#response.push(chunk);
    callback();
  }

  _final(callback) {
    this.#tell();
    callback();
  }

  _destroy(error, callback) {
    this.#tell();
    callback(error);
  }

  #tell() {
    this.#onResponse(Buffer.concat(this.#response).toString('latin1'));
  }
}

module.exports = { RequestStream };
