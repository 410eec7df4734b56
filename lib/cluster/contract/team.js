'use strict';

/** Servers that are to hear of each other, and members of rooms on them, seen from outside. */

const { deepStrictEqual } = require('node:assert/strict');
const { setTimeout: wait } = require('node:timers/promises');

const { Client } = require('./client.js');
const { MARK } = require('./node.js');

/** Between two attempts to reach members that have not been reached. */
const AGAIN_MS = 20;

/** What a member is sent only to see whether it can be reached; `next` does not show it. */
const PROBE = '\u0001probe ';

/** Things that come one by one, and may be waited for. */
class Arrivals {
  #what;
  #limitMs;
  /** All that have come. */
  all = [];
  /** How many `next` has shown. */
  #shown = 0;
  #waiters = new Set();

  constructor(what, limitMs) {
    this.#what = what;
    this.#limitMs = limitMs;
  }

  push(item) {
    this.all.push(item);
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** The oldest that has not been shown. */
  async next() {
    await this.until(() => this.all.length > this.#shown);
    this.#shown += 1;
    return this.all[this.#shown - 1];
  }

  /** All that have not been shown, without waiting for more. */
  rest() {
    const rest = this.all.slice(this.#shown);
    this.#shown = this.all.length;
    return rest;
  }

  /** Waits until a condition holds, which is asked again whenever something has come. */
  until(isSo) {
    if (isSo()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const waiter = () => {
        if (!isSo()) return;
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        const last = this.all.slice(-5).map(shown).join(', ');
        const count = `${this.all.length} had come, the last ones ${last || 'none'}`;
        reject(new Error(`${this.#what}: nothing more came in ${this.#limitMs} ms; ${count}`));
      }, this.#limitMs);
      this.#waiters.add(waiter);
    });
  }
}

function shown(item) {
  const text = typeof item === 'string' ? item : JSON.stringify(item);
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}

/** One of the servers. */
class Server {
  #node;
  #control;
  #answers = new Map();
  #asked = 0;
  events;

  static async start(name, node, limitMs) {
    const server = new Server(name, node, limitMs);
    server.#control = await Client.connect(node.port, '/control', (text) => server.#hear(text));
    return server;
  }

  constructor(name, node, limitMs) {
    this.name = name;
    this.limitMs = limitMs;
    this.#node = node;
    this.events = new Arrivals(`events of node ${name}`, limitMs);
  }

  #hear(text) {
    if (typeof text !== 'string' || !text.startsWith(MARK)) return;
    const { id, answer, ...event } = JSON.parse(text.slice(MARK.length));
    if (id === undefined) return this.events.push(event);
    this.#answers.get(id)(answer);
    this.#answers.delete(id);
  }

  /** Has the server do something, and resolves with its answer once it is done. */
  ask(does, what = {}) {
    this.#asked += 1;
    const id = this.#asked;
    return new Promise((resolve) => {
      this.#answers.set(id, resolve);
      this.#control.send(JSON.stringify({ id, does, ...what }));
    });
  }

  /** Waits for an event that is not among the first `after` ones. */
  async event(name, after = 0) {
    const find = () => this.events.all.slice(after).find(({ event }) => event === name);
    await this.events.until(() => find() !== undefined);
    return find().detail;
  }

  /** `cluster:gap` events since a moment. */
  gaps(after = 0) {
    const later = this.events.all.slice(after);
    return later.filter(({ event }) => event === 'cluster:gap').map(({ detail }) => detail);
  }

  /** Says texts in a room, in several, or to everyone for `null`. */
  broadcast(room, ...texts) {
    return this.ask('broadcast', { room, texts });
  }

  async member(name, ...rooms) {
    const member = new Member(name, this);
    await member.connect(this.#node.port);
    for (const room of rooms) await member.join(room);
    return member;
  }

  async close() {
    await this.#node.close();
    await this.#control?.destroy();
  }
}

/** A client of one of the servers. */
class Member {
  #client;
  messages;
  /** Of which servers it has been reached. */
  probes = new Set();

  constructor(name, server) {
    this.name = name;
    this.server = server;
    this.messages = new Arrivals(`messages of member ${name} on ${server.name}`, server.limitMs);
  }

  async connect(port) {
    const path = `/member?name=${encodeURIComponent(this.name)}`;
    this.#client = await Client.connect(port, path, (message) => {
      if (typeof message === 'string' && message.startsWith(PROBE)) {
        this.probes.add(message.slice(PROBE.length));
      } else if (typeof message !== 'string' || !message.startsWith(MARK)) {
        this.messages.push(message);
      }
    });
    deepStrictEqual(await this.next(), 'welcome');
  }

  join(room) {
    return this.server.ask('join', { name: this.name, room });
  }

  leave(room) {
    return this.server.ask('leave', { name: this.name, room });
  }

  /** Broadcasts to the other members of a room. */
  async say(room, ...messages) {
    await this.server.ask('speakIn', { name: this.name, room });
    for (const message of messages) this.#client.send(message);
  }

  next() {
    return this.messages.next();
  }

  /** Has these messages, in this order, and none in between. */
  async hears(...expected) {
    for (const message of expected) deepStrictEqual(await this.next(), message);
  }

  destroy() {
    return this.#client.destroy();
  }
}

/** All servers of a test, and who is on them. */
class Team {
  #options;
  #prefix;
  servers = [];

  constructor(options, prefix) {
    this.#options = options;
    this.#prefix = prefix;
  }

  /** Starts a server more, and waits until it is up. */
  async add(prefix = this.#prefix) {
    const name = 'ABCDEFGH'[this.servers.length];
    const node = await this.#options.start({ prefix });
    const server = await Server.start(name, node, this.#options.limitMs);
    this.servers.push(server);
    await server.event('cluster:up');
    return server;
  }

  /**
   * Waits until members get what all servers broadcast in a room, or to everyone for `null`: a
   * subscription takes its time, and what is said before is for those who have come before.
   */
  async reach(room, members, servers = this.servers) {
    const missing = (server) =>
      members.some((member) => member.server !== server && !member.probes.has(server.name));
    for (const member of members) member.probes.clear();
    const deadline = Date.now() + this.#options.limitMs;
    while (servers.some(missing)) {
      for (const server of servers.filter(missing)) {
        await server.broadcast(room, PROBE + server.name);
      }
      if (Date.now() > deadline) {
        const unheard = servers.filter(missing).map(({ name }) => name);
        throw new Error(`members are not reached by the nodes ${unheard.join(', ')}`);
      }
      await wait(AGAIN_MS);
    }
  }

  async close() {
    await Promise.all(this.servers.map((server) => server.close()));
  }
}

module.exports = { Team };
