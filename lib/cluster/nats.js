'use strict';

/** Servers that reach each other over NATS. `nats.d.ts` documents what is exported. */

const { wrongType } = require('../check.js');
const { Joiner, Splitter } = require('./parts.js');
const { readPrefix } = require('./prefix.js');

const NAME = 'natsAdapter';

/** What a server of NATS takes at most where it has not said so, in bytes. */
const MAX_PAYLOAD = 1 << 20;

/**
 * Bytes that are sent without hearing from the broker, after which the plugin is asked for patience, and
 * their bound: the client's own queue has none.
 */
const WINDOW = 256 << 10;
const MAX_UNCONFIRMED = 64 << 20;

/** Methods of a connection that are called here. */
const CALLED = ['publish', 'subscribe', 'flush', 'status', 'closed'];

class NatsAdapter {
  #connection;
  #prefix;
  /** Whom to tell, while it is open. */
  #events = null;
  #isUp = false;
  /** The client's subscriptions, by channel. */
  #subscriptions = new Map();
  #splitter = new Splitter();
  #joiner = new Joiner();
  /** What the client tells of its connection. */
  #status = null;
  /** Bytes of which the broker has not said that it has them. */
  #unconfirmed = 0;
  /** Settles when it does. */
  #confirming = null;
  /** A flush that has not been sent, which others of this moment share. */
  #flush = null;

  constructor(connection, prefix) {
    this.#connection = connection;
    this.#prefix = prefix;
  }

  open(events) {
    if (this.#events !== null) {
      throw new Error(`${NAME}: an adapter serves one plugin; make another one`);
    }
    this.#events = events;
    this.#watch(events);
    this.#connection.closed().then((error) => {
      if (this.#events === events) this.#lost(error?.message ?? 'the connection was closed');
    });
    // Rejects where there is no connection at this moment; its status tells when there is.
    this.#connection.flush().then(
      () => this.#events === events && this.#found(),
      () => {},
    );
  }

  async #watch(events) {
    this.#status = this.#connection.status();
    for await (const { type } of this.#status) {
      if (this.#events !== events) return;
      if (type === 'disconnect') this.#lost('the connection to NATS was lost');
      if (type === 'reconnect') this.#found();
    }
  }

  #found() {
    if (this.#isUp) return;
    this.#isUp = true;
    this.#events.up();
  }

  /** The plugin subscribes again to what it still wants, once it is told that the adapter is up. */
  #lost(reason) {
    if (!this.#isUp) return;
    this.#isUp = false;
    this.#forget();
    this.#events.down(reason);
  }

  #forget() {
    for (const subscription of this.#subscriptions.values()) subscription.unsubscribe();
    this.#subscriptions.clear();
    this.#joiner.clear();
    this.#unconfirmed = 0;
  }

  publish(channel, message) {
    if (this.#unconfirmed + message.length > MAX_UNCONFIRMED) {
      throw new Error('NATS does not take what it is sent');
    }
    const limit = this.#connection.info?.max_payload ?? MAX_PAYLOAD;
    this.#unconfirmed += message.length;
    for (const part of this.#splitter.split(message, limit)) {
      this.#connection.publish(this.#subject(channel), part);
    }
    if (this.#unconfirmed >= WINDOW) this.#confirming ??= this.#confirm();
    return this.#confirming ?? undefined;
  }

  /** Where the connection is lost meanwhile, its status tells. */
  async #confirm() {
    const bytes = this.#unconfirmed;
    await this.#connection.flush().catch(() => {});
    this.#confirming = null;
    this.#unconfirmed = Math.max(0, this.#unconfirmed - bytes);
  }

  async subscribe(channel) {
    this.unsubscribe(channel);
    let refusal = null;
    let isConfirmed = false;
    const subscription = this.#connection.subscribe(this.#subject(channel), {
      callback: (error, message) => {
        if (this.#subscriptions.get(channel) !== subscription) return;
        if (error) {
          refusal = error;
          this.#subscriptions.delete(channel);
          // A permission was taken away. To begin again tells what messages may be missing.
          if (isConfirmed) this.#beginAgain(error.message);
          return;
        }
        const whole = this.#joiner.add(message.data);
        if (whole !== null) this.#events.message(channel, whole);
      },
    });
    this.#subscriptions.set(channel, subscription);
    await this.#flushSoon();
    if (refusal !== null) throw refusal;
    if (this.#subscriptions.get(channel) !== subscription) throw new Error('was interrupted');
    isConfirmed = true;
  }

  #beginAgain(reason) {
    this.#lost(reason);
    this.#found();
  }

  /** One question to the broker for all subscriptions of the same moment. */
  #flushSoon() {
    this.#flush ??= Promise.resolve().then(() => {
      this.#flush = null;
      return this.#connection.flush();
    });
    return this.#flush;
  }

  unsubscribe(channel) {
    this.#subscriptions.get(channel)?.unsubscribe();
    this.#subscriptions.delete(channel);
  }

  async close() {
    if (this.#events === null) return;
    const wasUp = this.#isUp;
    this.#events = null;
    this.#isUp = false;
    this.#forget();
    // The iterator of the client would be kept in its list of listeners.
    this.#status?.stop?.();
    if (wasUp) await this.#connection.flush().catch(() => {});
  }

  #subject(channel) {
    return `${this.#prefix}.${channel}`;
  }
}

function natsAdapter(connection, options) {
  if (CALLED.some((method) => typeof connection?.[method] !== 'function')) {
    const accepted = 'a connection of the "nats" package, as await connect() resolves to';
    throw wrongType(NAME, 'connection', accepted, connection);
  }
  const adapter = new NatsAdapter(connection, readPrefix(NAME, options));
  return {
    open: (events) => adapter.open(events),
    publish: (channel, message) => adapter.publish(channel, message),
    subscribe: (channel) => adapter.subscribe(channel),
    unsubscribe: (channel) => adapter.unsubscribe(channel),
    close: () => adapter.close(),
  };
}

module.exports = { natsAdapter };
