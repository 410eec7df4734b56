'use strict';

const { EventEmitter } = require('node:events');

const { checkMessage, checkString, wrongType } = require('./check.js');
const { Connection } = require('./connection.js');

/** `ctx.wsRooms`: broadcasts from HTTP handlers, and an event source for rooms. */
class RoomManager extends EventEmitter {
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
    this.#engine.broadcast(message, room, exclude);
  }

  getRooms() {
    return this.#native.rooms();
  }
}

module.exports = { RoomManager };
