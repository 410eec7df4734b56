'use strict';

const { Writable } = require('node:stream');

/**
 * The socket of an upgrade request's ServerResponse: passes on what the application answers before
 * the upgrade, and swallows what it writes afterwards, so that not a byte gets between frames.
 */
class ResponseSink extends Writable {
  #socket;
  #takesResponse;

  /**
   * @param socket the client's
   * @param {() => boolean} takesResponse whether what is written goes to the client
   */
  constructor(socket, takesResponse) {
    super({ decodeStrings: false });
    this.#socket = socket;
    this.#takesResponse = takesResponse;
    // What an application destroys its response with ends this client's request, and nothing else.
    this.on('error', ignore);
  }

  get remoteAddress() {
    return this.#socket.remoteAddress;
  }

  get encrypted() {
    return this.#socket.encrypted;
  }

  setTimeout() {
    return this;
  }

  _write(chunk, encoding, callback) {
    if (!this.#takesResponse()) return callback();
    this.#socket.write(chunk, encoding, () => callback());
  }

  _destroy(error, callback) {
    if (this.#takesResponse()) this.#socket.destroy();
    callback(error);
  }
}

function ignore() {}

module.exports = { ResponseSink };
