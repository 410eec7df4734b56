'use strict';

const { Writable } = require('node:stream');

/**
 * The socket of an upgrade request's ServerResponse: passes on what the application answers before
 * the upgrade, and swallows what it writes afterwards, so that not a byte gets between frames.
 */
class ResponseSink extends Writable {
  #socket;
  #takesResponse;
  /** The status that the client has been sent, until then 0. */
  status = 0;

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
    // Informational ones go before (RFC 9110 §15.2).
    if (this.status < 200) this.status = statusOf(chunk) ?? this.status;
    this.#socket.write(chunk, encoding, () => callback());
  }

  _destroy(error, callback) {
    if (this.#takesResponse()) this.#socket.destroy();
    callback(error);
  }
}

/** The status of a response that begins here. */
function statusOf(chunk) {
  const start = typeof chunk === 'string' ? chunk : chunk.toString('latin1', 0, 12);
  const [, status] = /^HTTP\/1\.\d (\d{3})/.exec(start) ?? [];
  return status && Number(status);
}

function ignore() {}

module.exports = { ResponseSink };
