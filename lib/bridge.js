'use strict';

/** What the native half asks for beside bytes and credit; `src/binding/hot.rs` has the same. */
const END = -1;

/** After this the native half has given up waiting for the peer's end of stream. */
const LINGER_MS = 3000;

/**
 * Pumps the bytes of one stream whose descriptor cannot be taken: TLS, Windows, any `Duplex`.
 *
 * Both directions have a window: the stream is paused when the engine has not consumed what was
 * read, and the engine stops writing when the stream does not take what was written.
 */
class Bridge {
  #hot;
  #stream;
  #slot;
  #key;
  /** Bytes that may still be handed to the engine before the stream is paused. */
  #credit;
  #flush;
  #onGone;
  #timer;

  /**
   * @param hot the native functions
   * @param stream the connection's stream; nobody else reads from it or writes to it any more
   * @param {{ slot: number, bridge: number }} adopted what the native half calls it
   * @param {{ window: number, flush: () => void, onGone: () => void }} engine bytes under way in
   *   each direction; what hands news over to the engine; what is called once the stream is gone
   */
  constructor(hot, stream, { slot, bridge }, { window, flush, onGone }) {
    this.#hot = hot;
    this.#stream = stream;
    this.#slot = slot;
    this.#key = bridge;
    this.#credit = window;
    this.#flush = flush;
    this.#onGone = onGone;
    // An idle connection ends by its heartbeat, and by nothing else.
    stream.setTimeout?.(0);
    stream.setNoDelay?.(true);
    stream.on('data', this.#onData);
    stream.once('end', this.#onEnd);
    stream.once('close', this.#onClose);
    stream.resume();
    // It ended before anybody listened.
    if (stream.readableEnded) this.#onEnd();
  }

  #onData = (chunk) => {
    this.#hot.bridgeReceived(this.#slot, this.#key, chunk);
    this.#credit -= chunk.length;
    if (this.#credit <= 0) this.#stream.pause();
    this.#flush();
  };

  #onEnd = () => {
    this.#hot.bridgeEnded(this.#slot, this.#key);
    this.#flush();
  };

  #onClose = () => {
    clearTimeout(this.#timer);
    this.#hot.bridgeClosed(this.#slot, this.#key);
    this.#flush();
    this.#onGone();
  };

  /** Does what the native half asks for. */
  obey(command) {
    if (typeof command !== 'number') this.#write(command);
    else if (command === END) this.#end();
    else if (command < 0) this.destroy();
    else this.#addCredit(command);
  }

  #write(bytes) {
    const stream = this.#stream;
    // What is asked for in one batch leaves as one.
    if (stream.writableCorked === 0) {
      stream.cork();
      process.nextTick(uncork, stream);
    }
    stream.write(bytes, (error) => {
      if (error) return;
      this.#hot.bridgeWritten(this.#slot, this.#key, bytes.length);
      this.#flush();
    });
  }

  #addCredit(count) {
    const before = this.#credit;
    this.#credit += count;
    if (before <= 0 && this.#credit > 0) this.#stream.resume();
  }

  #end() {
    this.#stream.end();
    this.#timer = setTimeout(() => this.destroy(), LINGER_MS).unref();
  }

  destroy() {
    this.#stream.destroy();
  }
}

function uncork(stream) {
  stream.uncork();
}

module.exports = { Bridge };
