'use strict';

/** The messages that a client has got, for tests that await them one by one. */
class Received {
  /** Those that nobody has awaited. */
  waiting = [];
  #takers = [];
  /** Code and reason, once no further ones come. */
  #end = null;

  push(message) {
    const taker = this.#takers.shift();
    if (taker === undefined) this.waiting.push(message);
    else taker.resolve(message);
  }

  /** The connection has ended. */
  end(code, reason) {
    this.#end = { code, reason };
    for (const { reject } of this.#takers.splice(0)) reject(this.#wasClosed());
  }

  #wasClosed() {
    const { code, reason } = this.#end;
    return new Error(`the connection was closed with ${code}${reason && `: ${reason}`}`);
  }

  next() {
    if (this.waiting.length > 0) return Promise.resolve(this.waiting.shift());
    if (this.#end !== null) return Promise.reject(this.#wasClosed());
    return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }));
  }

  async nextJson() {
    return JSON.parse((await this.next()).toString());
  }
}

module.exports = { Received };
