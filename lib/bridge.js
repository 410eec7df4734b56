'use strict';

// Not the global one, which tests of an application may have put a clock of their own in the place of.
const { setImmediate } = require('node:timers');

const { takeStream } = require('./node-internals.js');

const {
  window: WINDOW,
  writeCost: WRITE_COST,
  end: END,
  destroy: DESTROY,
  abort: ABORT,
  probe: PROBE,
  lingerMs: LINGER_MS,
} = require('./constants.js').bridge;

/**
 * So much has to be written before the engine is told, as each news wakes its thread. The engine waits
 * for room once more than half of the window is under way, so it never waits for what is held back
 * here.
 */
const NEWS_FROM = WINDOW / 4;

/**
 * Pumps the bytes of one stream whose descriptor cannot be taken: TLS, Windows, any `Duplex`.
 *
 * Both directions have a window: the stream is paused when the engine has not consumed what was
 * read, and the engine stops writing when the stream does not take what was written.
 */
class Bridge {
  #hot;
  #stream;
  /** The stream's own methods, which nobody else finds any more. */
  #streamWrite;
  #streamEnd;
  #slot;
  #generation;
  #key;
  /** Bytes that may still be handed to the engine before the stream is paused. */
  #credit = WINDOW;
  /** Bytes of the 101 response that have not been written: they are not in `bufferedAmount`. */
  #response;
  /** Bytes that have been written and that the engine has not been told of. */
  #written = 0;
  #closeTimeoutMs;
  #flush;
  #onGone;
  #isGone = false;
  #timer;

  /**
   * @param hot the native functions
   * @param stream the connection's stream; nobody else reads from it or writes to it any more
   * @param {{ slot: number, generation: number, bridge: number, responseBytes: number }} adopted what
   *   the native half calls it, and how long the response is that comes first
   * @param {number} closeTimeoutMs time for the last bytes
   * @param {{ flush: () => void, onGone: () => void }} engine what hands news over to the engine, and
   *   what is called once the stream is gone
   */
  constructor(
    hot,
    stream,
    { slot, generation, bridge, responseBytes },
    closeTimeoutMs,
    { flush, onGone },
  ) {
    this.#hot = hot;
    this.#stream = stream;
    this.#slot = slot;
    this.#generation = generation;
    this.#key = bridge;
    this.#response = responseBytes;
    this.#closeTimeoutMs = closeTimeoutMs;
    this.#flush = flush;
    this.#onGone = onGone;
    const { write, end } = takeStream(stream);
    this.#streamWrite = write;
    this.#streamEnd = end;
    stream.on('data', this.#onData);
    stream.once('end', this.#onEnd);
    stream.once('close', this.#onClose);
    stream.resume();
    // It ended, or was closed, before anybody listened.
    if (stream.readableEnded) this.#onEnd();
    if (stream.closed) process.nextTick(this.#onClose);
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
    if (this.#isGone) return;
    this.#isGone = true;
    clearTimeout(this.#timer);
    this.#hot.bridgeClosed(this.#slot, this.#key);
    this.#flush();
    this.#onGone();
  };

  /** Does what the native half asks for. */
  obey(command) {
    if (typeof command !== 'number') this.#write(command);
    else if (command === END) this.#end();
    else if (command === PROBE) this.#answerProbe();
    else if (command === ABORT) this.destroy();
    else if (command === DESTROY) this.#release();
    else this.#addCredit(command);
  }

  #write(bytes) {
    const { length } = bytes;
    this.#streamWrite.call(this.#stream, bytes, (error) => {
      if (error) return;
      this.#written += length + WRITE_COST;
      const response = Math.min(this.#response, length);
      this.#response -= response;
      this.#tellWritten(length - response);
    });
  }

  /**
   * So many more bytes have been written. The window is told of many at once, as each news wakes the
   * engine's thread; and of the last ones, as it waits for them.
   */
  #tellWritten(bytes, isLast = false) {
    const isNews = isLast || this.#written >= NEWS_FROM;
    const news = isNews ? this.#written : 0;
    this.#hot.bridgeWritten(this.#slot, this.#generation, this.#key, bytes, news);
    if (!isNews) return;
    this.#written = 0;
    this.#flush();
  }

  #addCredit(count) {
    const before = this.#credit;
    this.#credit += count;
    if (before <= 0 && this.#credit > 0) this.#stream.resume();
  }

  /** The second turn of the event loop from now is after all sockets have been read. */
  #answerProbe() {
    setImmediate(() =>
      setImmediate(() => {
        this.#hot.bridgeProbed(this.#slot, this.#generation);
        this.#flush();
      }),
    );
  }

  #end() {
    this.#streamEnd.call(this.#stream, () => this.#tellWritten(0, true));
    const limit = this.#closeTimeoutMs + LINGER_MS;
    this.#timer = setTimeout(() => this.destroy(), limit).unref();
  }

  /** The native half is done with the stream. What it has written before an end still goes out. */
  #release() {
    const stream = this.#stream;
    if (stream.writableEnded && !stream.writableFinished)
      stream.once('finish', () => this.destroy());
    else this.destroy();
  }

  destroy() {
    this.#stream.destroy();
    // Not every stream emits `close`.
    setImmediate(this.#onClose);
  }
}

module.exports = { Bridge };
