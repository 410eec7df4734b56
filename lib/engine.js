'use strict';

const { closeSync } = require('node:fs');
const { performance } = require('node:perf_hooks');
// Not the global one, which tests of an application may have put a clock of their own in the place of.
const { setImmediate } = require('node:timers');

const { inNoContext } = require('./async-context.js');
const { Bridge } = require('./bridge.js');
const { Connection, internals } = require('./connection/connection.js');
const constants = require('./constants.js');
const { inThisRealm } = require('./errors.js');
const { isCutShort, isPeerShown } = require('./node-internals.js');
const { SecureSocket, pumpOf } = require('./tls/secure-socket.js');

/** Kinds of events; `src/binding/hot.rs` says what their values are. */
const { sharedBinary: KIND_SHARED_BINARY, news: KIND_NEWS, bridge: KIND_BRIDGE } = constants.events;
const { secured: SECURED, lost: LOST, ended: ENDED } = constants.bridge;

/** Bun has the names of libuv's functions, and ends the process where one is called. */
const HAS_EVENT_LOOP = process.versions.bun === undefined;

/** What is left of bridged streams this long after the engine was stopped is destroyed. */
const STOP_LIMIT_MS = 2500;

/**
 * Bytes of messages that are kept, of all connections that have ended together, until their listeners take
 * them: the native half does not count them any more.
 */
const MAX_HELD_BY_ENDED = 16 * 1024 * 1024;

/** So long the coming and going of connections is collected while there is more of it, about. */
const COLLECT_MS = 0.3;

/**
 * The JavaScript side of the native engine: the table of connections, the delivery of events and
 * the flushing of operations.
 *
 * Operations collect in a log of the native half and are handed over once per dispatch, or once
 * per tick outside of one.
 */
class Engine {
  #host;
  /** Connections by slot. */
  #connections = [];
  /** Bridges by key, also those of connections that have ended but are still being closed. */
  #bridges = new Map();
  #open = 0;
  /** What is called when the TLS handshake of a pump is over, by the key of the pump. */
  #handshakes = new Map();
  /** What Node serves clients on with whom TLS is spoken, by the key of the pump, until either is over. */
  #secureSockets = new Map();
  /** Pumps that carry the last bytes of what Node has served, by key. */
  #leaving = new Set();
  /** The native half ends whenever it has no connections: those over TLS outlive a clean-up. */
  #endsWhenIdle = false;
  /** The native half has been started, and not been stopped since. */
  #isRunning = false;
  /** A flush is due anyway: at the end of the dispatch under way, or in the next tick. */
  #flushDue = false;
  /** The same at the end of a turn of the event loop, and since when. */
  #turnFlushDue = false;
  #turnFlushSince = 0;
  /** There is something in the log that was not there at the end of the last turn. */
  #hasNews = false;
  /** Connections that have ended, and whose listeners have not been told, as messages come before. */
  #untold = new Set();
  /** Bytes of those messages. */
  #heldByEnded = 0;
  /** Connections that have taken messages of which the native half wants to know. */
  #takers = [];
  #onEmpty = null;
  /** The other servers, where there are any. */
  #cluster = null;
  /** Something has been published that they have not been handed. */
  #hasPublished = false;

  /** The native plugin, and the native functions that run per message. */
  native;
  hot = null;

  /**
   * @param native the native plugin
   * @param host told of ends, errors and rooms: `onEnd`, `onError`, `onRoomCreated`,
   *   `onRoomDestroyed`
   */
  constructor(native, host) {
    this.native = native;
    this.#host = host;
  }

  get open() {
    return this.#open;
  }

  /**
   * The connections that have passed all middleware, one by one, as they are when the first is asked for:
   * nobody who comes meanwhile, and nobody who has ended by then.
   */
  *readyConnections() {
    for (const connection of this.#at(this.native.readySlots())) {
      if (this.#connections[internals.slotOf(connection)] === connection) yield connection;
    }
  }

  /** The one of them that was given this id, whatever its property says by now. */
  find(id) {
    const slot = this.native.findConnection(id);
    return slot === null ? undefined : this.#connections[slot];
  }

  /** The members of a room. */
  membersOf(room) {
    return this.#at(this.native.members(room));
  }

  #at(slots) {
    return Array.from(slots, (slot) => this.#connections[slot]);
  }

  /**
   * Makes a connection of a handshake, which is named by its number, and returns it with the number of
   * its route, if it has one. Without `fd` its bytes are pumped through `socket`. Throws where that
   * fails.
   */
  adopt(fd, handshake, handOff) {
    const { socket, protocol, headers, replay, address } = handOff;
    // A bridge leaves the pump as it is.
    const pump = fd === undefined ? undefined : pumpOf(socket, this);
    const adopted = inThisRealm(() => {
      if (!this.#isRunning) this.#start();
      const descriptor = pump === undefined ? fd : { fd, pump };
      // A plain descriptor is asked when somebody wants to know.
      const isKnown = fd !== undefined && pump === undefined && !isPeerShown(socket);
      const told = isKnown ? undefined : address;
      return this.native.adopt(descriptor, handshake, protocol, headers, replay, told);
    });
    const [, slot, generation, , route, bridge, responseBytes] = adopted;
    const connection = new Connection(this, adopted, handOff);
    this.#connections[slot] = connection;
    this.#open += 1;
    // Its pump is over.
    if (pump !== undefined) this.#secureSockets.delete(pump);
    if (fd === undefined) this.#bridge(socket, { slot, generation, bridge, responseBytes });
    this.scheduleTurnFlush();
    return { connection, route };
  }

  /**
   * Speaks TLS with a client, whose descriptor is duplicated. Once the handshake is over, `onSecured` is
   * called with the client, or with the `reason` why there is none. With `expectsHeader` a PROXY header
   * comes first. Throws where that cannot begin.
   */
  secure(fd, context, expectsHeader, onSecured) {
    try {
      const key = inThisRealm(() => {
        if (!this.#isRunning) this.#start();
        return this.native.secure(fd, context, expectsHeader);
      });
      this.#handshakes.set(key, onSecured);
    } catch (error) {
      this.#endIfIdle();
      throw error;
    }
    this.#keepAlive();
    this.scheduleFlush();
  }

  #onSecured(key) {
    const onSecured = this.#handshakes.get(key);
    this.#handshakes.delete(key);
    const result = this.native.secured(key);
    if (result.reason === undefined) result.pump = key;
    this.#attempt(() => onSecured?.(result));
    this.#endIfIdle();
  }

  #attempt(act) {
    try {
      act();
    } catch (error) {
      this.report(error);
    }
  }

  /** What Node serves a client on with whom TLS is spoken. */
  socketOf(client, addresses) {
    const { fd, pump } = client;
    let socket;
    try {
      const onDestroy = this.#onSecureDestroy;
      socket = new SecureSocket(fd, client, addresses, { engine: this, pump, onDestroy });
    } catch (error) {
      this.#leavePump(pump, true);
      closeSync(fd);
      throw error;
    }
    this.#secureSockets.set(pump, socket);
    return socket;
  }

  #onSecureDestroy = (socket, pump) => {
    if (this.#secureSockets.delete(pump)) this.#leavePump(pump, isCutShort(socket));
  };

  /** Node closes its end of a pump right behind this. */
  #leavePump(pump, inTheMiddle) {
    this.#leaving.add(pump);
    this.native.nodeLeaves(pump, inTheMiddle);
    this.#keepAlive();
    this.scheduleFlush();
  }

  #onPumpEnded(pump, isLost) {
    const socket = this.#secureSockets.get(pump);
    this.#secureSockets.delete(pump);
    this.#leaving.delete(pump);
    if (isLost) this.#attempt(() => socket?.destroy(wasReset()));
    this.#endIfIdle();
  }

  /** Nothing is heard any more of what the native half speaks TLS with. */
  #abandonSecured() {
    const sockets = [...this.#secureSockets.values()];
    const handshakes = [...this.#handshakes.values()];
    this.#secureSockets.clear();
    this.#handshakes.clear();
    this.#leaving.clear();
    for (const socket of sockets) this.#attempt(() => socket.destroy());
    const failure = { reason: 'the engine has ended', isOurs: true };
    for (const onSecured of handshakes) this.#attempt(() => onSecured(failure));
  }

  /**
   * What is under way of TLS keeps the process alive where no socket of Node's does. On Windows there is
   * none, as the native half has no descriptors to speak it on, and no such function.
   */
  #keepAlive() {
    this.native.keepAlive?.(this.#handshakes.size + this.#leaving.size > 0);
  }

  #start() {
    // What an engine before this one has not finished, nobody will.
    destroyAll(this.#bridges);
    this.#bridges = new Map();
    // What wakes the JavaScript thread would otherwise keep the context of the first request.
    inNoContext(() => {
      const functions = this.native.start(this.#pump, HAS_EVENT_LOOP);
      this.hot = { ...functions, engine: this };
    });
    this.#isRunning = true;
  }

  #bridge(stream, adopted) {
    const bridges = this.#bridges;
    try {
      const bridge = new Bridge(this.hot, stream, adopted, this.native.closeTimeoutMs, {
        flush: () => this.scheduleTurnFlush(),
        onGone: () => bridges.delete(adopted.bridge),
      });
      bridges.set(adopted.bridge, bridge);
    } catch (error) {
      // A stream that does not let itself be read from: the connection ends as one that was lost.
      this.hot.bridgeClosed(adopted.slot, adopted.bridge);
      this.report(error);
    }
  }

  /** Runs on every wake: delivers what waits, then hands over what listeners asked for. */
  #pump = () => inNoContext(this.#deliver);

  #deliver = () => {
    this.#flushDue = true;
    let more = false;
    try {
      more = this.hot.drain(this.#dispatch);
    } finally {
      this.#flush();
    }
    // The rest waits a turn, so that HTTP and timers are not starved.
    if (more) setImmediate(this.#pump);
  };

  /** Takes events as pairs of a code and a value. Nothing may be thrown out of here. */
  #dispatch = (shared, ...pairs) => {
    for (let index = 0; index < pairs.length; index += 2) {
      const code = pairs[index];
      const value = pairs[index + 1];
      if ((code & 3) === KIND_BRIDGE) {
        const key = code >>> 2;
        if (value === SECURED) this.#onSecured(key);
        else if (value === LOST || value === ENDED) this.#onPumpEnded(key, value === LOST);
        else this.#pass(key, value);
        continue;
      }
      const connection = this.#connections[code >>> 2];
      if (connection === undefined) continue;
      switch (code & 3) {
        case KIND_SHARED_BINARY: {
          const start = Math.floor(value / 65536);
          internals.receive(connection, shared.subarray(start, start + (value % 65536)));
          break;
        }
        case KIND_NEWS:
          if (typeof value !== 'string') internals.onNews(connection, value);
          else this.#end(connection, Number(value.slice(0, 4)), value.slice(4));
          break;
        default:
          internals.receive(connection, value);
      }
    }
  };

  /** Has a bridge do what the native half wants; its stream may be one of the application's own. */
  #pass(key, command) {
    const bridge = this.#bridges.get(key);
    try {
      bridge?.obey(command);
    } catch (error) {
      this.report(error);
      process.nextTick(() => bridge.destroy());
    }
  }

  #end(connection, code, reason) {
    const held = internals.held(connection);
    // Where there is nothing else, it is kept however much that is: one message may be longer.
    const keepsHeld = this.#heldByEnded === 0 || this.#heldByEnded + held <= MAX_HELD_BY_ENDED;
    const kept = keepsHeld ? held : 0;
    this.#heldByEnded += kept;
    internals.end(connection, code, reason, keepsHeld);
    const slot = internals.slotOf(connection);
    this.#connections[slot] = undefined;
    this.#open -= 1;
    const destroyed = this.native.release(slot, internals.generationOf(connection), code);
    this.scheduleTurnFlush();
    for (const room of destroyed) this.#host.onRoomDestroyed(room);
    this.#untold.add(connection);
    internals.announceEnd(connection, () => {
      this.#untold.delete(connection);
      this.#heldByEnded -= kept;
      this.#host.onEnd(connection, code, reason);
    });
    if (this.#open === 0) {
      this.#connections.length = 0;
      this.#onEmpty?.();
    }
  }

  /** Has the native half told with the next flush which messages a connection has taken. */
  tellTaken(connection) {
    this.#takers.push(connection);
    this.scheduleFlush();
  }

  scheduleFlush() {
    if (this.#flushDue) return;
    this.#flushDue = true;
    process.nextTick(this.#flush);
  }

  #flush = () => {
    this.#flushDue = false;
    if (this.#takers.length > 0) this.#takers.splice(0).forEach(internals.tellTaken);
    this.hot?.flush();
    // Members here come first.
    if (this.#hasPublished) {
      this.#hasPublished = false;
      this.#cluster?.flush();
    }
  };

  /** @param {import('./cluster/cluster.js').Cluster | null} cluster the other servers */
  set cluster(cluster) {
    this.#cluster = cluster;
    if (cluster === null) this.native.leaveCluster();
    else inThisRealm(() => this.native.joinCluster(cluster.node));
  }

  /**
   * What all bridged streams have read in one turn of the event loop is handed over at its end. So is
   * the coming and going of connections, but that is put off for a moment as long as each turn brings
   * more of it: Node accepts one connection per turn, and to wake a thread costs more than what is
   * to be done there.
   */
  scheduleTurnFlush() {
    this.#hasNews = true;
    if (this.#turnFlushDue) return;
    this.#turnFlushDue = true;
    this.#turnFlushSince = performance.now();
    setImmediate(this.#endTurn);
  }

  #endTurn = () => {
    // Where turns take long, the next one is not waited for.
    if (this.#hasNews && performance.now() - this.#turnFlushSince < COLLECT_MS) {
      this.#hasNews = false;
      setImmediate(this.#endTurn);
      this.hot?.flush();
    } else {
      this.#turnFlushDue = false;
      this.hot?.flushAll();
    }
  };

  report(error, connection) {
    this.#host.onError(error, connection);
  }

  join(slot, generation, room) {
    const created = inThisRealm(() => this.native.join(slot, generation, room));
    if (!created) return;
    this.#cluster?.roomsChanged();
    this.#host.onRoomCreated(room);
  }

  leave(slot, generation, room) {
    if (this.native.leave(slot, generation, room)) this.#host.onRoomDestroyed(room);
  }

  /** Sends a checked message to a room, or to everyone, except one connection. */
  broadcast(message, room, except) {
    if (except === undefined) {
      this.native.wsBroadcast(message, room);
    } else {
      const slot = internals.slotOf(except);
      this.native.wsBroadcast(message, room, slot, internals.generationOf(except));
    }
    this.#broadcasted();
  }

  /** Sends a checked message to several rooms, except some connections. Nobody gets it twice. */
  broadcastToRooms(message, rooms, except) {
    const numbers = except.flatMap((each) => [
      internals.slotOf(each),
      internals.generationOf(each),
    ]);
    this.native.broadcastToRooms(message, rooms, numbers);
    this.#broadcasted();
  }

  #broadcasted() {
    this.#hasPublished = this.#cluster !== null;
    this.scheduleFlush();
  }

  /** Those that have not ended. */
  get connections() {
    return this.#connections.filter((connection) => connection !== undefined);
  }

  /** Starts the close handshake with everyone. */
  closeAll(code, reason) {
    for (const connection of this.#connections) {
      if (connection !== undefined) internals.close(connection, code, reason);
    }
    this.#untold.forEach(internals.endPause);
  }

  /** Lets the native half end. A later connection starts it again. */
  stop() {
    // Of what is left nobody would hear any more.
    const left = this.#connections.filter((connection) => connection !== undefined);
    for (const connection of left) this.#end(connection, 1006, '');
    this.#endsWhenIdle = true;
    // What comes late of those must not be taken for somebody else's, and a thread that has died tells
    // nothing any more: then nothing keeps the native half.
    if (left.length > 0 || !this.native.isHealthy()) this.#abandonSecured();
    this.#endIfIdle();
    if (this.#bridges.size === 0) return;
    setTimeout(destroyAll, STOP_LIMIT_MS, new Map(this.#bridges)).unref();
  }

  /** Connections are served again. */
  reopen() {
    this.#endsWhenIdle = false;
  }

  #endIfIdle() {
    this.#keepAlive();
    const secured = this.#secureSockets.size + this.#leaving.size + this.#handshakes.size;
    if (!this.#endsWhenIdle || secured > 0 || !this.#isRunning) return;
    this.native.stop();
    this.#isRunning = false;
  }

  /**
   * Resolves once no connection is open. What is left after `limitMs` is cut off, and no longer
   * waited for after twice that time. By default, nobody is. One caller waits at a time: who has waited
   * before does so for ever.
   */
  async whenEmpty(limitMs) {
    if (this.#open === 0) return;
    const timers = [];
    await new Promise((resolve) => {
      this.#onEmpty = resolve;
      if (limitMs === undefined) return;
      timers.push(setTimeout(() => this.native.terminateAll(), limitMs));
      timers.push(setTimeout(resolve, 2 * limitMs));
    });
    timers.forEach(clearTimeout);
    this.#onEmpty = null;
  }
}

/** What Node says of a connection that the client has reset. */
function wasReset() {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read' });
}

/** @param {Map<number, Bridge>} bridges */
function destroyAll(bridges) {
  for (const bridge of bridges.values()) bridge.destroy();
}

module.exports = { Engine };
