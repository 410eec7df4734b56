'use strict';

/**
 * Servers in the workers of `node:cluster` reach each other through their primary, by the channel that
 * Node has between the two. `workers.d.ts` documents what is exported.
 *
 * A worker sends its primary logs: what an adapter subscribes to, leaves and publishes, in this order.
 * The primary sends a worker messages, each with the adapter that has published it, and confirms logs
 * that subscribe. Nothing else decides on order: a channel of Node delivers in order.
 */

const cluster = require('node:cluster');
const { randomBytes } = require('node:crypto');
const { types } = require('node:util');

const { readPrefix } = require('./prefix.js');

/** Stands in every message: the application's own listeners see them, and ours see the application's. */
const TYPE = 'nextrush-websocket';
const VERSION = 1;

/** Bytes on their way to the primary from which an adapter asks for patience, and its hard bound. */
const WINDOW = 1 << 20;
const MAX_WAITING = 64 << 20;

/** What the primary keeps for a worker that reads slowly, in bytes. */
const MAX_BUFFERED = 16 << 20;

/** So long an adapter waits for the primary before it says what may be wrong. */
const PATIENCE_MS = 10_000;

/** A relay that runs in this process, also that of another copy of this package. */
const RUNNING = Symbol.for('nextrush-websocket.relay');

/**
 * Whether a channel carries bytes shows in what arrives: with `serialization: 'json'` bytes become an
 * ordinary object.
 */
const PROBE = new Uint8Array(1);
const carriesBytes = (probe) => types.isUint8Array(probe);

/** Bytes as a channel takes them. */
function packed(message, asBytes) {
  if (typeof message === 'string') return asBytes ? Buffer.from(message, 'base64') : message;
  if (asBytes) return message;
  const { buffer, byteOffset, length } = message;
  return Buffer.from(buffer, byteOffset, length).toString('base64');
}

const isOurs = (message) => message?.type === TYPE && message.version === VERSION;
const ours = (fields) => ({ type: TYPE, version: VERSION, ...fields });

/** In a worker: the way of one plugin to the others. */
class WorkersAdapter {
  /** Its name among all adapters of all workers. */
  #id = randomBytes(9).toString('base64url');
  #prefix;
  /** Whom to tell, while it is open. */
  #events = null;
  #isUp = false;
  #carriesBytes = false;
  /** Topics subscribed to. */
  #topics = new Set();
  /** What is sent at the end of this turn of the event loop. */
  #log = [];
  #logged = null;
  /** Counts logs that want to be confirmed. */
  #logs = 0;
  /** Settles the subscriptions of a log that has not been confirmed, by its number. */
  #unconfirmed = new Map();
  /** Bytes of messages that have not left. */
  #waiting = 0;
  /** Calls those who have been asked for patience. */
  #patient = [];
  #warning = null;

  constructor(prefix) {
    this.#prefix = prefix;
  }

  open(events) {
    if (this.#events !== null) {
      throw new Error('workersAdapter: an adapter serves one plugin; make another one');
    }
    this.#events = events;
    process.on('message', this.#hear);
    process.once('disconnect', this.#lose);
    this.#warning = setTimeout(() => {
      process.emitWarning(
        'workersAdapter: the primary does not answer; it has to call relayClusterWorkers()',
      );
    }, PATIENCE_MS).unref();
    this.#greet();
  }

  #greet() {
    this.#tell({ does: 'hello', probe: PROBE });
  }

  #tell(fields, onSent) {
    // Where the channel is closed, the callback is told, and `disconnect` has been emitted.
    process.send(
      ours({ adapter: this.#id, ...fields }),
      undefined,
      undefined,
      onSent ?? (() => {}),
    );
  }

  #hear = (message) => {
    if (!isOurs(message)) return;
    // The relay begins: whoever has spoken before has not been heard.
    if (message.does === 'begin') return this.#greet();
    if (message.does === 'end') return this.#lose('the primary relays no more');
    if (message.does === 'messages') return this.#deliver(message.messages);
    if (message.adapter !== this.#id) return;
    if (message.does === 'welcome') this.#find(message);
    if (message.does === 'confirm') this.#confirm(message.number);
  };

  #find({ probe }) {
    if (this.#isUp) return;
    clearTimeout(this.#warning);
    this.#carriesBytes = carriesBytes(probe);
    this.#isUp = true;
    this.#events.up();
  }

  #lose = (reason = 'the channel to the primary is closed') => {
    if (!this.#isUp) return;
    this.#isUp = false;
    this.#forget();
    this.#events.down(reason);
  };

  #forget() {
    this.#topics.clear();
    this.#log = [];
    clearImmediate(this.#logged);
    this.#logged = null;
    for (const { reject } of this.#unconfirmed.values()) reject(new Error('was interrupted'));
    this.#unconfirmed.clear();
    this.#waiting = 0;
    this.#callPatient();
  }

  #deliver(messages) {
    for (const [topic, from, message] of messages) {
      // A listener may close it, or leave a topic.
      if (from === this.#id || !this.#topics.has(topic)) continue;
      this.#events?.message(topic.slice(this.#prefix.length + 1), packed(message, true));
    }
  }

  #topic(channel) {
    return `${this.#prefix}/${channel}`;
  }

  #append(...entry) {
    this.#log.push(entry);
    this.#logged ??= setImmediate(() => this.#sendLog());
  }

  #sendLog(onSent = () => {}) {
    clearImmediate(this.#logged);
    this.#logged = null;
    const log = this.#log;
    this.#log = [];
    let bytes = 0;
    let number;
    for (const entry of log) {
      if (entry[0] === 'subscribe') number = this.#logs;
      if (entry[0] !== 'publish') continue;
      bytes += entry[2].length;
      entry[2] = packed(entry[2], this.#carriesBytes);
    }
    if (number !== undefined) this.#logs += 1;
    this.#tell({ does: 'log', log, number }, () => {
      this.#waiting = Math.max(0, this.#waiting - bytes);
      if (this.#waiting < WINDOW) this.#callPatient();
      onSent();
    });
  }

  #callPatient() {
    for (const resolve of this.#patient.splice(0)) resolve();
  }

  publish(channel, message) {
    if (this.#waiting + message.length > MAX_WAITING) {
      throw new Error('the primary does not take what it is sent');
    }
    this.#waiting += message.length;
    this.#append('publish', this.#topic(channel), message);
    if (this.#waiting < WINDOW) return undefined;
    return new Promise((resolve) => this.#patient.push(resolve));
  }

  subscribe(channel) {
    const topic = this.#topic(channel);
    this.#topics.add(topic);
    this.#append('subscribe', topic);
    // All subscriptions of this turn leave in one log, and are confirmed at once.
    const number = this.#logs;
    let settle = this.#unconfirmed.get(number);
    if (settle === undefined) {
      settle = {};
      settle.promise = new Promise((resolve, reject) => Object.assign(settle, { resolve, reject }));
      this.#unconfirmed.set(number, settle);
    }
    return settle.promise;
  }

  #confirm(number) {
    this.#unconfirmed.get(number)?.resolve();
    this.#unconfirmed.delete(number);
  }

  unsubscribe(channel) {
    const topic = this.#topic(channel);
    this.#topics.delete(topic);
    this.#append('unsubscribe', topic);
  }

  async close() {
    if (this.#events === null) return;
    clearTimeout(this.#warning);
    process.off('message', this.#hear);
    process.off('disconnect', this.#lose);
    this.#events = null;
    if (this.#isUp) {
      await new Promise((resolve) => this.#sendLog(resolve));
      await new Promise((resolve) => this.#tell({ does: 'goodbye' }, resolve));
    }
    this.#isUp = false;
    this.#forget();
  }
}

function workersAdapter(options) {
  const prefix = readPrefix('workersAdapter', options);
  if (!cluster.isWorker) {
    throw new Error('workersAdapter: this is no worker of node:cluster');
  }
  const adapter = new WorkersAdapter(prefix);
  return {
    open: (events) => adapter.open(events),
    publish: (channel, message) => adapter.publish(channel, message),
    subscribe: (channel) => adapter.subscribe(channel),
    unsubscribe: (channel) => adapter.unsubscribe(channel),
    close: () => adapter.close(),
  };
}

/** In the primary: the way to one worker. */
class Link {
  #worker;
  #maxBuffered;
  /** Messages of this moment. */
  #messages = [];
  /** Bytes of messages that have not left, those of this moment included. */
  #buffered = 0;
  /** Bytes of the messages of this moment. */
  #fresh = 0;
  /** Messages that were one too many. */
  dropped = 0;
  carriesBytes = false;
  /** What its adapters have subscribed to. */
  adapters = new Map();

  constructor(worker, maxBuffered) {
    this.#worker = worker;
    this.#maxBuffered = maxBuffered;
  }

  get buffered() {
    return this.#buffered;
  }

  /** Keeps a message for the next `flush`, or drops it where the worker is too slow. */
  add(topic, from, message) {
    if (this.#buffered + message.length > this.#maxBuffered) {
      this.dropped += 1;
      return;
    }
    this.#buffered += message.length;
    this.#fresh += message.length;
    this.#messages.push([topic, from, packed(message, this.carriesBytes)]);
  }

  flush() {
    const bytes = this.#fresh;
    this.#fresh = 0;
    this.tell({ does: 'messages', messages: this.#messages }, () => {
      this.#buffered -= bytes;
    });
    this.#messages = [];
  }

  tell(fields, onSent = () => {}) {
    // The callback is told of a channel that is closed; without one, the worker would emit an error.
    this.#worker.send(ours(fields), undefined, undefined, onSent);
  }
}

/** In the primary: passes on what adapters publish to those that have subscribed. */
class Relay {
  #maxBuffered;
  /** By worker. */
  #links = new Map();
  /** The adapters that have subscribed to a topic, by link. */
  #topics = new Map();
  #relayed = 0;
  /** Of workers that are gone. */
  #dropped = 0;

  constructor(maxBuffered) {
    this.#maxBuffered = maxBuffered;
    cluster.on('message', this.#hear);
    cluster.on('disconnect', this.#forget);
    cluster.on('exit', this.#forget);
    this.#tellAll('begin');
  }

  /** Also those that have not been heard of. */
  #tellAll(does) {
    for (const worker of Object.values(cluster.workers)) new Link(worker, 0).tell({ does });
  }

  #hear = (worker, message) => {
    if (!isOurs(message)) return;
    const { does, adapter } = message;
    if (does === 'hello') return this.#welcome(worker, message);
    const link = this.#links.get(worker);
    // It has been told, or will be, to begin anew.
    if (link === undefined || !link.adapters.has(adapter)) return;
    if (does === 'log') this.#carryOut(link, message);
    if (does === 'goodbye') this.#dismiss(link, adapter);
  };

  #welcome(worker, { adapter, probe }) {
    let link = this.#links.get(worker);
    if (link === undefined) {
      link = new Link(worker, this.#maxBuffered);
      this.#links.set(worker, link);
    }
    link.carriesBytes = carriesBytes(probe);
    if (!link.adapters.has(adapter)) link.adapters.set(adapter, new Set());
    link.tell({ does: 'welcome', adapter, probe: PROBE });
  }

  #carryOut(link, { adapter, log, number }) {
    const reached = new Set();
    for (const [does, topic, message] of log) {
      if (does === 'subscribe') this.#subscribe(link, adapter, topic);
      else if (does === 'unsubscribe') this.#unsubscribe(link, adapter, topic);
      else this.#publish(link, adapter, topic, message, reached);
    }
    for (const each of reached) each.flush();
    if (number !== undefined) link.tell({ does: 'confirm', adapter, number });
  }

  #publish(link, adapter, topic, message, reached) {
    this.#relayed += 1;
    for (const [target, adapters] of this.#topics.get(topic) ?? []) {
      // Nobody else is there.
      if (target === link && adapters.size === 1 && adapters.has(adapter)) continue;
      target.add(topic, adapter, message);
      reached.add(target);
    }
  }

  #subscribe(link, adapter, topic) {
    link.adapters.get(adapter).add(topic);
    let links = this.#topics.get(topic);
    if (links === undefined) {
      links = new Map();
      this.#topics.set(topic, links);
    }
    const adapters = links.get(link);
    if (adapters === undefined) links.set(link, new Set([adapter]));
    else adapters.add(adapter);
  }

  #unsubscribe(link, adapter, topic) {
    link.adapters.get(adapter).delete(topic);
    const links = this.#topics.get(topic);
    const adapters = links?.get(link);
    if (!adapters?.delete(adapter) || adapters.size > 0) return;
    links.delete(link);
    if (links.size === 0) this.#topics.delete(topic);
  }

  #dismiss(link, adapter) {
    for (const topic of link.adapters.get(adapter)) this.#unsubscribe(link, adapter, topic);
    link.adapters.delete(adapter);
  }

  #forget = (worker) => {
    const link = this.#links.get(worker);
    if (link === undefined) return;
    for (const adapter of link.adapters.keys()) this.#dismiss(link, adapter);
    this.#links.delete(worker);
    this.#dropped += link.dropped;
  };

  getStats() {
    const links = [...this.#links.values()];
    const sum = (of) => links.reduce((total, link) => total + of(link), 0);
    return {
      workers: links.length,
      adapters: sum((link) => link.adapters.size),
      topics: this.#topics.size,
      relayed: this.#relayed,
      dropped: this.#dropped + sum((link) => link.dropped),
      bufferedBytes: sum((link) => link.buffered),
    };
  }

  close() {
    if (cluster[RUNNING] !== this) return;
    cluster[RUNNING] = undefined;
    cluster.off('message', this.#hear);
    cluster.off('disconnect', this.#forget);
    cluster.off('exit', this.#forget);
    this.#tellAll('end');
    for (const worker of [...this.#links.keys()]) this.#forget(worker);
  }
}

function relayClusterWorkers(options = {}) {
  const name = 'relayClusterWorkers';
  if (!cluster.isPrimary) throw new Error(`${name}: this is not the primary of node:cluster`);
  if (cluster[RUNNING]) throw new Error(`${name}: was called already; close() that relay first`);
  if (options === null || typeof options !== 'object') {
    throw new TypeError(`${name}: options must be an object with the options as properties`);
  }
  const unknown = Object.keys(options).find((option) => option !== 'maxBufferedBytes');
  if (unknown !== undefined) {
    throw new TypeError(`${name}: unknown option; accepted is "maxBufferedBytes"`);
  }
  const { maxBufferedBytes = MAX_BUFFERED } = options;
  if (typeof maxBufferedBytes !== 'number') {
    throw new TypeError(`${name}: option "maxBufferedBytes" must be a number of bytes`);
  }
  if (!(maxBufferedBytes >= 1)) {
    throw new RangeError(`${name}: option "maxBufferedBytes" must be at least 1`);
  }
  const relay = new Relay(maxBufferedBytes);
  cluster[RUNNING] = relay;
  return { close: () => relay.close(), getStats: () => relay.getStats() };
}

module.exports = { relayClusterWorkers, workersAdapter };
