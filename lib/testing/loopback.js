'use strict';

const { randomUUID } = require('node:crypto');

const { bridge: BRIDGE, events: EVENTS } = require('../constants.js');

/** The kind of an event whose value is a message. */
const MESSAGE = 0;

const OPENING = 0;
const OPEN = 1;
const CLOSING = 2;
const ENDED = 3;

/**
 * The native half of a plugin without I/O threads, sockets and clocks: what a connection sends is with
 * its {@link Peer} at once, and what a peer sends with the listeners. Decisions on upgrade requests are
 * those of the real native half.
 *
 * Takes the place of the native plugin for `lib/engine.js`: its methods have the names and arguments of
 * those in `src/binding/`.
 */
class Loopback {
  #native;
  /** Of the plugin. */
  #options;
  /** What its routes say of subprotocols, by the number of the route. */
  #protocolsOfRoutes = [];
  /** Peers by slot; those of connections that have ended are gone. */
  #peers = [];
  #generation = 0;
  /** Members by the name of their room, oldest room first. */
  #rooms = new Map();
  /** What the engine is to be told, as pairs of a code and a value. */
  #events = [];
  /** Peers with whom a closing handshake has begun. */
  #closing = new Set();
  #deliver = null;
  #isDraining = false;
  #counts = { messagesReceived: 0, messagesSent: 0, bytesReceived: 0, bytesSent: 0 };
  /** Who has sent the upgrade request that is looked at next. */
  nextPeer = null;
  /** Who has sent those that have been admitted, by the number of their handshake. */
  #admitted = new Map();

  /**
   * @param native the native plugin
   * @param options those of the plugin, which have been checked
   */
  constructor(native, options) {
    this.#native = native;
    this.#options = options ?? {};
  }

  /** What the facade takes for the native half: everything that is not said here, the real one answers. */
  get standIn() {
    const native = this.#native;
    return new Proxy(native, {
      get: (_, name) => {
        const holder = name in this ? this : native;
        const value = holder[name];
        return typeof value === 'function' ? value.bind(holder) : value;
      },
    });
  }

  start(deliver) {
    this.#deliver = deliver;
    const names = [
      'drain',
      'flush',
      'markReady',
      'sendText',
      'sendLongText',
      'sendBinary',
      'sendAs',
    ];
    const functions = names.map((name) => [name, this[name].bind(this)]);
    // The stream of a request is given up for its peer: nothing comes or goes there.
    const unused = [
      'startDelivery',
      'bridgeReceived',
      'bridgeWritten',
      'bridgeEnded',
      'bridgeClosed',
    ];
    for (const name of unused) functions.push([name, () => {}]);
    return { ...Object.fromEntries(functions), flushAll: this.flush.bind(this) };
  }

  stop() {
    this.#peers = [];
    this.#events = [];
  }

  keepAlive() {}

  isHealthy() {
    return true;
  }

  admit(url, head, hosts, matchesPattern, address, forwarded) {
    const native = this.#native;
    const admission = native.admit(url, head, hosts, matchesPattern, address, forwarded);
    if (typeof admission === 'number') {
      const peer = this.nextPeer;
      if (native.trustsProxies) peer.address = native.clientAddress(address, forwarded);
      this.#admitted.set(admission, peer);
    }
    return admission;
  }

  withdraw(handshake) {
    this.#admitted.delete(handshake);
    this.#native.withdraw(handshake);
  }

  ws(path, options) {
    const added = this.#native.ws(path, options);
    this.#protocolsOfRoutes[added.number] = options?.protocols;
    return added;
  }

  adopt(_descriptor, handshake, protocol, _headers, _replay, address) {
    const route = this.#native.routeOf(handshake);
    const agreed = this.#protocolOf(handshake, route, protocol);
    const peer = this.#admitted.get(handshake);
    this.#admitted.delete(handshake);
    const slot = this.#freeSlot();
    this.#generation += 1;
    const id = randomUUID();
    Object.assign(peer, { id, slot, generation: this.#generation, handshake });
    peer.address ??= address;
    peer.phase = OPEN;
    peer.lastPong = Date.now();
    this.#peers[slot] = peer;
    return [id, slot, peer.generation, agreed, route, slot, 0];
  }

  /** What a function of the application has `chosen`, or as the native half agrees without one. */
  #protocolOf(handshake, route, chosen) {
    const spoken = this.#protocolsOfRoutes[route] ?? this.#options.protocols;
    if (typeof spoken === 'function') return chosen;
    const offered = this.#native.protocolChoices(handshake);
    if (spoken === undefined) return offered[0];
    return spoken.find((name) => offered.includes(name));
  }

  #freeSlot() {
    const free = this.#peers.indexOf(undefined);
    return free < 0 ? this.#peers.length : free;
  }

  /** The connection of a handle, while it has not ended. */
  #peer(slot, generation) {
    const peer = this.#peers[slot];
    return peer?.generation === generation ? peer : undefined;
  }

  release(slot, generation) {
    const peer = this.#peer(slot, generation);
    if (peer === undefined) return [];
    this.#peers[slot] = undefined;
    // It has counted against the limits until now.
    this.withdraw(peer.handshake);
    return [...peer.rooms].filter((room) => this.leave(slot, generation, room, peer));
  }

  // From the connection to its peer.

  sendText(slot, generation, text) {
    this.#send(this.#peer(slot, generation), text);
  }

  sendLongText(slot, generation, text) {
    this.sendText(slot, generation, text);
  }

  sendBinary(slot, generation, view) {
    this.#send(this.#peer(slot, generation), Buffer.from(view));
  }

  /** Nothing ever waits here, and nothing is compressed: the options change nothing. */
  sendAs(slot, generation, message) {
    this.#send(this.#peer(slot, generation), copyOf(message));
  }

  #send(peer, message) {
    if (peer === undefined || peer.phase !== OPEN) return;
    this.#counts.messagesSent += 1;
    this.#counts.bytesSent += Buffer.byteLength(message);
    peer.onMessage(message);
  }

  close(slot, generation, code, reason) {
    const peer = this.#peer(slot, generation);
    if (peer === undefined || peer.phase !== OPEN) return;
    this.#beginClosing(peer, { code, reason });
  }

  terminate(slot, generation) {
    const peer = this.#peer(slot, generation);
    if (peer === undefined || peer.phase === ENDED) return;
    this.#beginClosing(peer, { code: 1006, reason: '' });
  }

  /** The peer knows at once, as of messages; the connection when the peer has answered. */
  #beginClosing(peer, end) {
    const isFirst = peer.phase === OPEN;
    peer.phase = CLOSING;
    peer.end = end;
    this.#closing.add(peer);
    if (isFirst) peer.onEnd(end.code, end.reason);
  }

  ping(slot, generation) {
    const peer = this.#peer(slot, generation);
    if (peer?.phase !== OPEN) return;
    peer.pingedAt = Date.now();
    peer.onPing();
  }

  timePongs(slot, generation, wanted) {
    const peer = this.#peer(slot, generation);
    if (peer !== undefined) peer.timesPongs = wanted;
  }

  /** Nothing ever waits. */
  watchDrain() {}

  /** Whoever is slower than its peer may be so: what it has not taken is kept, however much that is. */
  pace(slot, generation) {
    const peer = this.#peer(slot, generation);
    if (peer !== undefined) this.#events.push(peer.slot * 4 + EVENTS.news, EVENTS.paced);
  }

  holds() {}

  took() {}

  wsBroadcast(message, room, exceptSlot, exceptGeneration) {
    const except = this.#peer(exceptSlot, exceptGeneration);
    const members = room === undefined ? this.#ready() : this.#membersOf(room);
    for (const peer of members) if (peer !== except) this.#send(peer, copyOf(message));
  }

  /** @param {number[]} except slots and generations in turn */
  broadcastToRooms(message, rooms, except) {
    const members = new Set(rooms.flatMap((room) => this.#membersOf(room)));
    for (let index = 0; index < except.length; index += 2) {
      members.delete(this.#peer(except[index], except[index + 1]));
    }
    for (const peer of members) this.#send(peer, copyOf(message));
  }

  #ready() {
    return this.#peers.filter((peer) => peer?.isReady);
  }

  markReady(slot, generation) {
    const peer = this.#peer(slot, generation);
    if (peer !== undefined) peer.isReady = true;
  }

  // From the peer to the connection.

  receive(peer, message) {
    if (peer.phase !== OPEN) return;
    this.#counts.messagesReceived += 1;
    this.#counts.bytesReceived += Buffer.byteLength(message);
    this.#tell(peer, MESSAGE, message);
  }

  pong(peer) {
    if (peer.phase !== OPEN) return;
    this.markAlive(peer.slot, peer.generation);
    const { pingedAt } = peer;
    peer.pingedAt = null;
    if (peer.timesPongs && pingedAt !== null) this.#tell(peer, EVENTS.news, Date.now() - pingedAt);
  }

  /** The peer has closed, or has gone without a word. */
  end(peer, code, reason) {
    if (peer.phase === ENDED) return;
    peer.end ??= { code, reason };
    this.#finish(peer);
    this.#pump();
  }

  #finish(peer) {
    const { code, reason } = peer.end;
    if (peer.phase === OPEN) peer.onEnd(code, reason);
    peer.phase = ENDED;
    this.#closing.delete(peer);
    this.#events.push(peer.slot * 4 + EVENTS.news, `${String(code).padStart(4, '0')}${reason}`);
    this.#events.push(peer.slot * 4 + EVENTS.bridge, BRIDGE.destroy);
  }

  #tell(peer, kind, value) {
    this.#events.push(peer.slot * 4 + kind, value);
    this.#pump();
  }

  #pump() {
    if (!this.#isDraining) this.#deliver();
  }

  drain(dispatch) {
    this.#isDraining = true;
    try {
      while (this.#events.length > 0) {
        const [code, value] = this.#events.splice(0, 2);
        dispatch(undefined, code, value);
      }
    } finally {
      this.#isDraining = false;
    }
    return false;
  }

  /** The end of a turn of the engine: who is being closed has answered. */
  flush() {
    for (const peer of [...this.#closing]) this.#finish(peer);
    // The engine may be in the middle of a delivery.
    if (this.#events.length > 0) queueMicrotask(() => this.#pump());
  }

  terminateAll() {
    for (const peer of this.#peers) if (peer !== undefined) this.end(peer, 1006, '');
  }

  // What is known of a connection.

  isAlive(slot, generation) {
    return this.#peer(slot, generation) !== undefined;
  }

  markAlive(slot, generation) {
    const peer = this.#peer(slot, generation);
    if (peer === undefined) return;
    peer.lastPong = Date.now();
    peer.signsOfLife += 1;
  }

  signsOfLife(slot, generation) {
    return this.#peer(slot, generation)?.signsOfLife ?? 0;
  }

  lastPong(slot, generation) {
    return this.#peer(slot, generation)?.lastPong ?? null;
  }

  bufferedAmount() {
    return 0;
  }

  remoteAddress(slot, generation) {
    return this.#peer(slot, generation)?.address;
  }

  readyCount() {
    return this.#ready().length;
  }

  readySlots() {
    return this.#ready().map(({ slot }) => slot);
  }

  findConnection(id) {
    return this.#ready().find((peer) => peer.id === id)?.slot ?? null;
  }

  // Rooms.

  join(slot, generation, room) {
    const peer = this.#peer(slot, generation);
    if (peer === undefined) return false;
    this.#checkJoin(room, peer.rooms.size + (peer.rooms.has(room) ? 0 : 1));
    peer.rooms.add(room);
    const members = this.#rooms.get(room);
    if (members === undefined) this.#rooms.set(room, new Set([peer]));
    else members.add(peer);
    return members === undefined;
  }

  /** Throws what the native half would throw. */
  #checkJoin({ length }, count) {
    const { maxRoomNameLength = 65_536, maxRoomsPerConnection = 10_000 } = this.#options;
    if (length > maxRoomNameLength) {
      const is = `maxRoomNameLength is ${maxRoomNameLength}`;
      throw new RangeError(`join: option ${is}, the name has ${length} UTF-16 units`);
    }
    if (count > maxRoomsPerConnection) {
      const is = `maxRoomsPerConnection is ${maxRoomsPerConnection}`;
      throw new RangeError(`join: option ${is}, this would be room ${count}`);
    }
  }

  leave(slot, generation, room, peer = this.#peer(slot, generation)) {
    const members = this.#rooms.get(room);
    if (peer === undefined || !members?.delete(peer)) return false;
    peer.rooms.delete(room);
    return members.size === 0 && this.#rooms.delete(room);
  }

  #membersOf(room) {
    return [...(this.#rooms.get(room) ?? [])];
  }

  members(room) {
    return this.#membersOf(room).map(({ slot }) => slot);
  }

  memberCount(room) {
    return this.#rooms.get(room)?.size ?? 0;
  }

  roomCount() {
    return this.#rooms.size;
  }

  rooms() {
    return [...this.#rooms.keys()];
  }

  roomsOf(slot, generation) {
    return [...(this.#peer(slot, generation)?.rooms ?? [])];
  }

  stats() {
    const open = this.#peers.filter((peer) => peer !== undefined).length;
    return {
      ...this.#native.stats(),
      ...this.#counts,
      totalConnections: open,
      closingConnections: 0,
      roomCount: this.roomCount(),
      transports: { adopted: 0, bridged: open },
    };
  }
}

/** A message that stays as it is, whatever becomes of the memory that it was sent from. */
function copyOf(message) {
  return typeof message === 'string' ? message : Buffer.from(message);
}

/** The other end of a connection, as the loopback knows it. */
class Peer {
  id;
  slot;
  generation;
  handshake;
  /** IP address of the client. */
  address;
  phase = OPENING;
  /** Broadcasts to everyone reach it. */
  isReady = false;
  rooms = new Set();
  lastPong = 0;
  signsOfLife = 0;
  /** When the ping that has no answer yet was sent, in milliseconds since the epoch. */
  pingedAt = null;
  /** The connection wants to hear how long answers take. */
  timesPongs = false;
  /** Code and reason, once it is closing. */
  end = null;
  onMessage;
  onPing;
  onEnd;

  /**
   * @param {{ onMessage(message: string | Buffer): void, onPing(): void,
   *   onEnd(code: number, reason: string): void }} listeners what is called with what the connection does
   */
  constructor({ onMessage, onPing, onEnd }) {
    this.onMessage = onMessage;
    this.onPing = onPing;
    this.onEnd = onEnd;
  }
}

module.exports = { Loopback, Peer };
