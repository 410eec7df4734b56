'use strict';

// Not the global ones, which tests of an application may have put a clock of their own in the place of.
const { clearInterval, setInterval, setTimeout, clearTimeout } = require('node:timers');
const { performance } = require('node:perf_hooks');
const { types } = require('node:util');

const { toError, promiseOf } = require('../errors.js');
const { describe, printable } = require('../text.js');

/** Between two heartbeats. */
const BEAT_MS = 1000;

/** Longest reason that an adapter may give, in characters. */
const MAX_REASON = 200;

/**
 * Messages, and bytes of them, that an adapter sends at a time. What it has not sent by then waits, and
 * is bounded by `publishBuffer`. One may always be on its way, however long it is.
 */
const UNDER_WAY = 1024;
const BYTES_UNDER_WAY = 4 << 20;

/**
 * Carries what a node says to an adapter of the application, and back what it hears. The adapter may
 * throw, reject, tell things twice or at any time, or never answer.
 */
class AdapterDriver {
  #node;
  #adapter;
  #onError;
  #isUp = false;
  #isClosed = false;
  /** Grows whenever the adapter goes down: answers of before mean nothing any more. */
  #session = 0;
  /** The adapter is being asked for channels: what is to be asked next, that loop asks. */
  #isAsking = false;
  #underWay = 0;
  #bytesUnderWay = 0;
  #beat;
  /** Called when something has been sent. */
  #onSent = null;

  /**
   * @param node the native node
   * @param adapter a `WSClusterAdapter`
   * @param onError told of what the adapter throws or rejects with
   */
  constructor(node, adapter, onError) {
    this.#node = node;
    this.#adapter = adapter;
    this.#onError = onError;
  }

  start() {
    this.#beat = setInterval(() => this.#tick(), BEAT_MS);
    this.#beat.unref();
    const events = {
      up: () => this.#up(),
      down: (reason) => this.#down(reason),
      message: (channel, message) => this.#receive(channel, message),
    };
    this.#call('open', [events], undefined, (error) => {
      this.#onError(error);
      if (!this.#isUp) this.#node.down(reasonOf(error));
    });
  }

  #up() {
    if (this.#isClosed || this.#isUp) return;
    this.#isUp = true;
    this.#session += 1;
    this.#underWay = 0;
    this.#bytesUnderWay = 0;
    this.#node.beginSession();
    this.subscribe();
    this.#look();
    this.publish();
  }

  #down(reason) {
    if (this.#isClosed) return;
    if (this.#isUp) this.#session += 1;
    this.#isUp = false;
    this.#node.down(typeof reason === 'string' ? printable(reason, MAX_REASON) : 'it is down');
  }

  #receive(channel, message) {
    if (this.#isClosed) return;
    if (typeof channel !== 'string' || !types.isUint8Array(message)) {
      const got = `${describe(channel)} and ${describe(message)}`;
      const accepted = 'a channel and a Uint8Array';
      this.#onError(new TypeError(`cluster: an adapter's message must be ${accepted}, got ${got}`));
      return;
    }
    this.#node.received(channel, message);
  }

  /** Says so, once everything has been subscribed to. */
  #look() {
    if (this.#isUp && this.#node.isSettled()) this.#node.up();
  }

  #tick() {
    this.#node.tick(this.#isUp);
    this.subscribe();
    this.publish();
  }

  /** Asks for what is wanted, and leaves what is not. */
  subscribe() {
    // Called from below itself by an adapter that answers at once.
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      while (this.#isUp) {
        const request = this.#node.nextRequest();
        if (request === null) return;
        this.#askAll(request);
      }
    } finally {
      this.#isAsking = false;
    }
  }

  #askAll({ subscribes, channels }) {
    const session = this.#session;
    for (const channel of channels) {
      // The adapter may go down in the middle: then all are asked for again.
      if (!this.#isUp || session !== this.#session) return;
      this.#ask(subscribes, channel);
    }
  }

  #ask(subscribes, channel) {
    const session = this.#session;
    const method = subscribes ? 'subscribe' : 'unsubscribe';
    this.#call(
      method,
      [channel],
      () => {
        if (session !== this.#session || this.#isClosed) return;
        this.#node.requestDone(subscribes, channel);
        this.subscribe();
        this.#look();
      },
      (error) => {
        if (session !== this.#session || this.#isClosed) return;
        this.#node.requestRefused(subscribes, channel, reasonOf(error));
        this.#look();
      },
    );
  }

  /** Sends what waits. */
  publish() {
    while (this.#isUp && !this.#isBusy()) {
      const publication = this.#node.takePublication();
      if (publication === null) break;
      const session = this.#session;
      const [channel, message, isBroadcast] = publication;
      const { byteLength } = message;
      this.#underWay += 1;
      this.#bytesUnderWay += byteLength;
      const sent = () => {
        if (session !== this.#session) return;
        const wasBusy = this.#isBusy();
        this.#underWay -= 1;
        this.#bytesUnderWay -= byteLength;
        this.#onSent?.();
        // Where the loop above has ended because of it.
        if (wasBusy && !this.#isBusy()) this.publish();
      };
      this.#call('publish', [channel, message], sent, (error) => {
        this.#onError(error);
        // A heartbeat that is lost is no message that is missing.
        if (isBroadcast) this.#node.publicationLost();
        sent();
      });
    }
    this.#onSent?.();
  }

  #isBusy() {
    return this.#underWay >= UNDER_WAY || this.#bytesUnderWay >= BYTES_UNDER_WAY;
  }

  /**
   * Calls a method of the adapter, which may be of any kind. Either function is called once, at once
   * where the method returns no promise.
   */
  #call(method, args, onDone, onError) {
    let promise;
    try {
      promise = promiseOf(this.#adapter[method](...args));
    } catch (error) {
      return onError(toError(error));
    }
    if (promise === null) return onDone?.();
    promise.then(onDone, (error) => onError(toError(error)));
  }

  /** Lets out what waits, for at most `limitMs`, and closes the adapter. */
  async close(limitMs) {
    if (this.#isClosed) return;
    const end = performance.now() + limitMs;
    if (this.#isUp) {
      this.#node.sayGoodbye();
      this.publish();
      await this.#within(limitMs, (resolve) => {
        this.#onSent = () => {
          if (this.#underWay === 0 && this.#node.hasPublishedAll()) resolve();
        };
        this.#onSent();
      });
      this.#onSent = null;
    }
    this.#isUp = false;
    this.#isClosed = true;
    clearInterval(this.#beat);
    this.#node.closed();
    await this.#within(Math.max(end - performance.now(), CLOSE_MS), (resolve) => {
      this.#call('close', [], resolve, (error) => {
        this.#onError(error);
        resolve();
      });
    });
  }

  /** Waits for something that may never come. */
  async #within(limitMs, begin) {
    let timer;
    await new Promise((resolve) => {
      timer = setTimeout(resolve, limitMs);
      begin(resolve);
    });
    clearTimeout(timer);
  }
}

/** The least time that an adapter has to close. */
const CLOSE_MS = 1000;

/** What went wrong, in a line. */
function reasonOf(error) {
  try {
    return printable(String(error.message), MAX_REASON);
  } catch {
    return 'it failed';
  }
}

module.exports = { AdapterDriver };
