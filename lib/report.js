'use strict';

const { toError } = require('./errors.js');
const { tell } = require('./emitter.js');
const { printable } = require('./text.js');

/** Longest text of a client in a line of the log, in characters. */
const MAX_LOGGED = 200;

/**
 * Tells of what happens: on the plugin, on the application, and on the console. Nothing in here
 * throws, whatever listeners, errors and connections are like.
 */
class Reporter {
  #name;
  #plugin;
  #debug;
  /** Where the plugin is installed. */
  #host = null;

  /**
   * @param {string} name stands before each line
   * @param {import('./emitter.js').Emitter} plugin
   * @param {boolean} debug whether decisions are logged
   */
  constructor(name, plugin, debug) {
    this.#name = name;
    this.#plugin = plugin;
    this.#debug = debug;
  }

  /** @param {import('./host.js').Host | null} host */
  set host(host) {
    this.#host = host;
  }

  /**
   * Emits an event of a connection, or of none, on the plugin and on the application.
   *
   * @param {import('./connection/connection.js').Connection} [connection] whose event it is: an error of a
   *   listener is reported with it
   */
  emit(event, args, connection) {
    const onError = (error) => this.error(error, connection);
    this.#guarded(() => tell(this.#plugin, event, args, onError), onError);
    this.#guarded(() => this.#host?.tell(event, args, onError), onError);
  }

  /** The same for an event of another emitter of ours. */
  emitOn(emitter, event, args) {
    const onError = (error) => this.error(error);
    this.#guarded(() => tell(emitter, event, args, onError), onError);
  }

  /** For emitters that throw when they are looked at. */
  #guarded(act, onError) {
    try {
      act();
    } catch (error) {
      onError(error);
    }
  }

  /** Reports what user code or the system is to blame for; on stderr where nobody listens. */
  error(thrown, connection) {
    const error = toError(thrown);
    // A listener of errors that fails itself is not told of that.
    const onError = (own) => this.#print(toError(own), connection);
    try {
      const heard = this.#plugin.listenerCount('error') > 0;
      const told = this.#host?.hears('error');
      if (!heard && !told) return this.#print(error, connection);
      if (heard) tell(this.#plugin, 'error', [error, connection], onError);
      if (told) this.#host.tell('error', [error, connection], onError);
    } catch (own) {
      this.#print(error, connection);
      onError(own);
    }
  }

  #print(error, connection) {
    const where = connection === undefined ? '' : ` (connection ${read(connection, 'id')})`;
    const line = `[${this.#name}] error${where}:`;
    try {
      console.error(line, error);
    } catch {
      // An error that throws when it is inspected, or a console that does so always.
      attempt(() => console.error(line, printable(read(error, 'message'), MAX_LOGGED)));
    }
  }

  /** Logs a line of two texts, which are only made where the option `debug` is set. */
  log(subject, message) {
    if (!this.#debug) return;
    attempt(() => console.log(`[${this.#name}] ${printable(subject(), MAX_LOGGED)} ${message()}`));
  }
}

/** A property of an object that user code may have made anything of. */
function read(object, name, limit = MAX_LOGGED) {
  try {
    return printable(object[name], limit);
  } catch {
    return `(${name} throws)`;
  }
}

function attempt(act) {
  try {
    act();
  } catch {
    // There is nowhere left to say so.
  }
}

module.exports = { Reporter, read };
