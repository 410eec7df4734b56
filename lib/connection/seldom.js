'use strict';

/**
 * What a connection needs at its beginning and its end, or only where somebody asks for it: apart, as it
 * takes room otherwise.
 */
class Seldom {
  /** Messages that do not go straight to the listeners: an {@link import('./inflow.js').Inflow}. */
  inflow = null;
  /** Ends the middleware chain under way. */
  abortSetup = null;
  /** Node's socket, where somebody waits for its `close`. */
  socket = null;
  /** When `isAlive` was set to false, by the count of signs of life; a further one clears it. */
  doubtedAt = null;
  /** The upgrade request, and whether user code has asked for it. */
  request = undefined;
  requestIsKept = false;
  /** What the application knows of the connection, once it has asked for it. */
  data = undefined;
  /** What the path of the route names, once somebody has asked. */
  params = null;
  /** @type {import('./listeners.js').Listeners} */
  drainListeners = null;
  /** @type {import('./listeners.js').Listeners} */
  pongListeners = null;
  /** Code and reason once the connection has ended. */
  end = null;

  /** There is nothing in it. */
  get isEmpty() {
    return Object.keys(NOTHING).every((name) => this[name] === NOTHING[name]);
  }
}

const NOTHING = new Seldom();

module.exports = { Seldom };
