'use strict';

const { publishError } = require('./diagnostics.js');
const { hears, tell } = require('./emitter.js');
const { toError } = require('./errors.js');
const { readLogger } = require('./logger.js');
const { printable } = require('./text.js');

/** Longest text of a client in a line of the log, in characters. */
const MAX_LOGGED = 200;

/**
 * Tells of what happens: on the plugin, on the application, to tracers, and to the logger. Nothing in
 * here throws, whatever listeners, loggers, errors and connections are like.
 */
class Reporter {
  #name;
  #plugin;
  #debug;
  /** Writes a line, as option `logger` says; `null` for the console. */
  #write;
  /** Where the plugin is installed. */
  #host = null;

  /**
   * @param {string} name stands before each line
   * @param {import('./emitter.js').Emitter} plugin
   * @param {boolean} debug whether decisions are logged
   * @param {unknown} logger option `logger`
   * @throws {TypeError} where that is no logger
   */
  constructor(name, plugin, debug, logger) {
    this.#name = name;
    this.#plugin = plugin;
    this.#debug = debug;
    // What a logger fails to take is lost, but for errors.
    const onFailure = ({ level, fields }) => {
      if (level === 'error') this.#print(fields.err, fields.connection);
    };
    this.#write = logger === undefined ? null : readLogger(logger, name, onFailure);
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

  /** Whether somebody listens to an event on the plugin or on the application, as far as that can be told. */
  hears(event) {
    try {
      return hears(this.#plugin, event) || this.#host?.hears(event) === true;
    } catch {
      return true;
    }
  }

  /** For emitters that throw when they are looked at. */
  #guarded(act, onError) {
    try {
      act();
    } catch (error) {
      onError(error);
    }
  }

  /** Reports what user code or the system is to blame for; to the logger where nobody listens. */
  error(thrown, connection) {
    const error = toError(thrown);
    publishError(this.#plugin, error, connection);
    // A listener of errors that fails itself is not told of that.
    const onError = (own) => this.#logError(toError(own), connection);
    try {
      const heard = this.#plugin.listenerCount('error') > 0;
      const told = this.#host?.hearsErrors();
      if (!heard && !told) return this.#logError(error, connection);
      if (heard) tell(this.#plugin, 'error', [error, connection], onError);
      if (told) this.#host.tell('error', [error, connection], onError);
    } catch (own) {
      this.#logError(error, connection);
      onError(own);
    }
  }

  #logError(error, connection) {
    const id = connection === undefined ? undefined : read(connection, 'id');
    if (this.#write === null) return this.#print(error, id);
    const fields = { plugin: this.#name, ...(id !== undefined && { connection: id }), err: error };
    const message = `error${ofConnection(id)}: ${read(error, 'message')}`;
    this.#write({ level: 'error', message, fields });
  }

  /** Prints an error on stderr. */
  #print(error, id) {
    const line = `[${this.#name}] error${ofConnection(id)}:`;
    try {
      console.error(line, error);
    } catch {
      // An error that throws when it is inspected, or a console that does so always.
      attempt(() => console.error(line, read(error, 'message')));
    }
  }

  /**
   * Logs a decision, where the option `debug` is set. Only then is anything made or called: `message` is
   * of two texts, and `fields` what a logger gets beside it.
   *
   * @param {'debug' | 'info' | 'warn'} level
   * @param {() => string} subject of a client, mostly
   * @param {() => string} message
   * @param {() => object} [fields]
   */
  log(level, subject, message, fields) {
    if (!this.#debug) return;
    attempt(() => {
      const line = `${printable(subject(), MAX_LOGGED)} ${message()}`;
      if (this.#write === null) return console.log(`[${this.#name}] ${line}`);
      return this.#write({ level, message: line, fields: { plugin: this.#name, ...fields?.() } });
    });
  }
}

function ofConnection(id) {
  return id === undefined ? '' : ` (connection ${id})`;
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
