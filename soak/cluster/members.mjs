/**
 * Members of rooms, in a process of its own. Started by `../cluster.mjs` with the settings as JSON: each
 * connects to some node, joins its rooms, talks, now and then leaves a room for a while, goes to another
 * node when its own ends, and keeps account of what it gets.
 */
import { randomInt } from 'node:crypto';
import process from 'node:process';
import { setTimeout as wait } from 'node:timers/promises';
import WebSocket from 'ws';
import { EVERYBODY, now, parse } from './message.mjs';
import { Runs } from './runs.mjs';

/** Milliseconds between two looks at what is due. */
const TICK = 20;

/** Rooms of a member. */
const ROOMS = 2;

/** How many connections may be between `connect` and their rooms at a time. */
const ARRIVING = 64;

/** Longest time that a member stays out of a room that it has left, in milliseconds. */
const OUTSIDE = 4000;

/**
 * @type {{ first: number, count: number, rooms: number, says: number, leaves: number, ports: number[] }}
 * `says` and `leaves` are a second, of all members of this process together.
 */
const settings = JSON.parse(process.argv[2]);
let { ports } = settings;

/** What went wrong, by what. */
const faults = { twice: [], 'out of order': [], damaged: [], stray: [] };
/** How connections ended, by node and close code. */
const endings = {};
/** All memberships that there have been. */
const memberships = [];
let received = 0;
let stopped = false;

/** The time of one member in one room of one connection. */
class Membership {
  /** When it was joined, as this side has been told; `null` where that has not come. */
  from = null;
  /** When this side asked to leave, or saw the end of the connection; `null` while it is a member. */
  until = null;
  /** How it ended: `left` or `closed`. */
  how = null;
  /** What has come, by node. */
  runs = new Map();

  constructor(member, node, room) {
    Object.assign(this, { member, node, room });
    memberships.push(this);
  }

  take(node, number) {
    let runs = this.runs.get(node);
    if (runs === undefined) {
      runs = new Runs();
      this.runs.set(node, runs);
    }
    return runs.add(number);
  }

  end(how) {
    if (this.until !== null) return;
    this.until = now();
    this.how = how;
  }

  toJSON() {
    const runs = Object.fromEntries([...this.runs].map(([node, { pairs }]) => [node, pairs]));
    const { member, node, room, from, until, how } = this;
    return { member, node, room, from, until, how, runs };
  }
}

class Member {
  /** Which node it is connected to; `null` while it is to none. */
  node = null;
  /** @type {Map<number, Membership>} those of this connection, by room */
  current = new Map();
  #socket;
  /** While it arrives: told whether it has, or has to try again. */
  #arrived = null;

  constructor(id) {
    this.id = id;
    this.rooms = Array.from({ length: ROOMS }, (_, at) => (id + at * 7 + at) % settings.rooms);
  }

  /** Connects to some node, until one takes it; resolves once it is in all of its rooms. */
  async arrive() {
    while (!stopped) {
      const came = new Promise((resolve) => {
        this.#arrived = resolve;
      });
      this.#connect(ports[randomInt(ports.length)]);
      if (await came) return;
      await wait(randomInt(50, 300));
    }
  }

  #connect(port) {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/member/${this.id}`, {
      perMessageDeflate: false,
    });
    this.#socket = socket;
    socket.on('message', (data, binary) => this.#take(data, binary));
    // The end tells of it.
    socket.on('error', () => {});
    socket.on('close', (code) => this.#gone(code));
  }

  #take(data, binary) {
    if (data[0] === 0x3d) return this.#hear(data.toString().split(' '));
    received += 1;
    const { node, room, number, whole } = parse(data, binary);
    const fault = whole ? this.current.get(room)?.take(node, number) : 'damaged';
    if (fault) this.#complain(fault, node, room, number);
    // Another node may speak to everybody before this one has said welcome.
    const early = room === EVERYBODY && this.node === null;
    if (whole && !early && !this.current.has(room)) this.#complain('stray', node, room, number);
  }

  #complain(fault, node, room, number) {
    faults[fault].push(
      `member ${this.id} on node ${this.node}: ${number} of node ${node} in ${room}`,
    );
  }

  /** What its node has to say to it. */
  #hear([, word, argument]) {
    const number = Number(argument);
    if (word === 'welcome') {
      this.node = number;
      this.#enter(EVERYBODY);
      this.current.get(EVERYBODY).from = now();
      for (const room of this.rooms) this.join(room);
    } else if (word === 'joined') {
      this.current.get(number).from = now();
      if (this.rooms.every((room) => this.current.get(room)?.from)) this.#settle(true);
    } else if (word === 'left') {
      this.current.delete(number);
    }
  }

  #enter(room) {
    this.current.set(room, new Membership(this.id, this.node, room));
  }

  /** Ends the account of this connection, and goes elsewhere. */
  #gone(code) {
    for (const membership of this.current.values()) membership.end('closed');
    this.current.clear();
    if (this.node !== null) {
      const ending = `${this.node} ${code}`;
      endings[ending] = (endings[ending] ?? 0) + 1;
    }
    this.node = null;
    if (this.#arrived) this.#settle(false);
    else arrivals.add(this);
  }

  #settle(arrived) {
    this.#arrived?.(arrived);
    this.#arrived = null;
  }

  join(room) {
    this.#enter(room);
    this.#socket.send(`join ${room}`);
  }

  /** Asks to leave a room, and joins it again some time later. */
  leaveForAWhile() {
    const room = this.rooms[randomInt(ROOMS)];
    const membership = this.current.get(room);
    if (!membership?.from || membership.until !== null) return;
    const { node } = membership;
    membership.end('left');
    this.#socket.send(`leave ${room}`);
    setTimeout(
      () => {
        // Unless it is elsewhere meanwhile, and has joined there, or has not been let go of yet.
        if (!stopped && this.node === node && !this.current.has(room)) this.join(room);
      },
      randomInt(200, OUTSIDE),
    );
  }

  say() {
    const room = this.rooms[randomInt(ROOMS)];
    if (this.current.get(room)?.from) this.#socket.send(`say ${room}`);
  }

  leave() {
    this.#socket?.terminate();
  }
}

/** Those who want to a node; a few at a time. */
const arrivals = {
  waiting: [],
  underWay: 0,
  add(member) {
    if (stopped) return;
    this.waiting.push(member);
    this.next();
  },
  next() {
    while (this.underWay < ARRIVING && this.waiting.length > 0) {
      this.underWay += 1;
      const member = this.waiting.shift();
      member.arrive().then(() => {
        this.underWay -= 1;
        this.next();
      });
    }
  },
};

const members = Array.from({ length: settings.count }, (_, at) => new Member(settings.first + at));
for (const member of members) arrivals.add(member);

/** Everybody talks; how often is counted in what is due. */
const due = { says: 0, leaves: 0 };
let talking;
function talk() {
  due.says += (settings.says * TICK) / 1000;
  due.leaves += (settings.leaves * TICK) / 1000;
  for (; due.says >= 1; due.says--) members[randomInt(members.length)].say();
  for (; due.leaves >= 1; due.leaves--) members[randomInt(members.length)].leaveForAWhile();
}

const answers = {
  progress: () => ({
    progress: { received, connected: members.filter(({ node }) => node !== null).length },
  }),
  /** Whether everybody is where they want to be. */
  settled: () => ({ settled: arrivals.underWay === 0 && arrivals.waiting.length === 0 }),
  finish() {
    stopped = true;
    const account = { memberships, faults, endings: { ...endings }, received };
    for (const member of members) member.leave();
    return { account };
  },
};

process.on('message', (message) => {
  if (Array.isArray(message)) ports = message;
  else if (message === 'talk') talking = setInterval(talk, TICK);
  else if (message === 'hush') clearInterval(talking);
  else if (message === 'stop') process.disconnect();
  else process.send(answers[message]());
});
// Whoever started this is gone.
process.on('disconnect', () => process.exit());
process.send({ ready: true });
