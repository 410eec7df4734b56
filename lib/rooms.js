'use strict';

const { checkClose, checkMessage, checkOptions, checkString, wrongType } = require('./check.js');
const { Connection, internals } = require('./connection/connection.js');
const { Emitter } = require('./emitter.js');

/** What stands before its errors: most callers have it from `ctx`. */
const NAME = 'wsRooms';

/** `plugin.rooms` and `ctx.wsRooms`: who is where, broadcasts, and an event source. `types/rooms.d.ts` documents it. */
class RoomManager extends Emitter {
  #engine;
  #native;

  constructor(engine, native) {
    super();
    this.#engine = engine;
    this.#native = native;
  }

  get size() {
    return this.#native.roomCount();
  }

  broadcast(room, data, excluded) {
    const method = `${NAME}.broadcast`;
    const rooms = readRooms(method, room);
    const message = checkMessage(method, data);
    // The numbers of another plugin's connection would be those of a stranger here.
    const except = readExcluded(method, excluded).filter((each) => this.#isOwn(each));
    if (rooms.length === 1 && except.length <= 1) {
      this.#engine.broadcast(message, rooms[0], except[0]);
    } else if (rooms.length > 0) {
      this.#engine.broadcastToRooms(message, rooms, except);
    }
  }

  members(room) {
    checkString(`${NAME}.members`, 'room', room);
    return this.#engine.membersOf(room);
  }

  count(room) {
    checkString(`${NAME}.count`, 'room', room);
    return this.#native.memberCount(room);
  }

  has(room) {
    checkString(`${NAME}.has`, 'room', room);
    return this.#native.memberCount(room) > 0;
  }

  of(socket) {
    checkConnection(`${NAME}.of`, 'socket', socket);
    if (!this.#isOwn(socket)) return [];
    return [...this.#native.roomsOf(internals.slotOf(socket), internals.generationOf(socket))];
  }

  close(room, code = 1000, reason = '') {
    const method = `${NAME}.close`;
    checkString(method, 'room', room);
    checkClose(method, code, reason);
    const open = this.#engine.membersOf(room).filter(internals.isOpen);
    for (const member of open) internals.close(member, code, reason);
    return open.length;
  }

  getRooms() {
    return [...this.#native.rooms()];
  }

  #isOwn(connection) {
    return internals.engineOf(connection) === this.#engine;
  }
}

/** One room or several, each once. */
function readRooms(method, room) {
  if (typeof room === 'string') return [room];
  if (!Array.isArray(room)) {
    const error = wrongType(method, 'room', 'a string', room);
    error.message += '; several rooms are an array of strings';
    throw error;
  }
  const rooms = new Set();
  for (const [index, each] of [...room].entries()) {
    checkString(method, `room[${index}]`, each);
    rooms.add(each);
  }
  return [...rooms];
}

/** Who is left out: a connection, or what the options say. */
function readExcluded(method, excluded) {
  if (excluded === undefined) return [];
  if (excluded instanceof Connection) return [excluded];
  // An object without it is none of ours, and would leave out nobody.
  if (excluded === null || typeof excluded !== 'object' || !('except' in excluded)) {
    throw wrongType(method, 'exclude', 'a WSConnection, or { except } with some', excluded);
  }
  const { except } = checkOptions(method, excluded, ['except']);
  if (except === undefined) return [];
  if (except instanceof Connection) return [except];
  if (!Array.isArray(except)) {
    throw wrongType(method, 'except', 'a WSConnection or an array of them', except);
  }
  const all = [...except];
  for (const [index, each] of all.entries()) checkConnection(method, `except[${index}]`, each);
  return all;
}

function checkConnection(method, argument, value) {
  if (!(value instanceof Connection)) throw wrongType(method, argument, 'a WSConnection', value);
}

module.exports = { RoomManager };
