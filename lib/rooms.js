'use strict';

const { checkMessage, checkString, wrongType } = require('./check.js');
const { Connection, internals } = require('./connection/connection.js');
const { Emitter } = require('./emitter.js');

/** `ctx.wsRooms`: broadcasts from HTTP handlers, and an event source for rooms. */
class RoomManager extends Emitter {
  #engine;
  #native;

  constructor(engine, native) {
    super();
    this.#engine = engine;
    this.#native = native;
  }

  broadcast(room, data, exclude) {
    checkString('wsRooms.broadcast', 'room', room);
    const message = checkMessage('wsRooms.broadcast', data);
    if (exclude !== undefined && !(exclude instanceof Connection)) {
      throw wrongType('wsRooms.broadcast', 'exclude', 'a WSConnection', exclude);
    }
    // The numbers of another plugin's connection would be those of a stranger here.
    const own = exclude !== undefined && internals.engineOf(exclude) === this.#engine;
    this.#engine.broadcast(message, room, own ? exclude : undefined);
  }

  getRooms() {
    return [...this.#native.rooms()];
  }
}

module.exports = { RoomManager };
