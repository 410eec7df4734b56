'use strict';

const { checkString } = require('./check.js');

/** `plugin.connections`: who is connected. `types/connections.d.ts` documents it. */
class Connections {
  #engine;

  constructor(engine) {
    this.#engine = engine;
  }

  get size() {
    return this.#engine.native.readyCount();
  }

  get(id) {
    checkString('connections.get', 'id', id);
    return this.#engine.find(id);
  }

  [Symbol.iterator]() {
    return this.#engine.readyConnections();
  }
}

module.exports = { Connections };
