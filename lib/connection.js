'use strict';

const { bind, callListener, inNoContext } = require('./async-context.js');
const { binaryView, checkClose, checkFunction, checkMessage, checkString } = require('./check.js');
const { onRejection } = require('./errors.js');
const { emitClose } = require('./node-internals.js');

const OPEN = 0;
const CLOSING = 1;
const CLOSED = 2;

/** The handler has not been called: messages wait for it. */
const BEFORE_HANDLER = 0;
/** The handler has been called and its promise is pending: messages still wait. */
const IN_HANDLER = 1;
/** Messages go to the listeners as they come. */
const DELIVERING = 2;

/**
 * Texts from this many UTF-16 units on get an allocation of their own. Below, one more copy costs
 * less than memory that goes back and forth between the threads (echo of 16 KiB: 16 % more messages
 * with 64 Ki than with 8 Ki).
 */
const LONG_TEXT = 64 * 1024;

/**
 * What the other files of this folder do with a connection and its users cannot, by name: filled
 * in by the class, which alone sees its private fields.
 */
const internals = {};

/** Adds to a listener field, which is flat: `null`, one function, or an array. */
function withListener(listeners, listener) {
  if (listeners === null) return listener;
  return typeof listeners === 'function' ? [listeners, listener] : [...listeners, listener];
}

/** What a connection needs at its beginning and its end, if at all: apart, as it takes room otherwise. */
class Seldom {
  /** Messages that came before the handler was ready for them; the native half bounds them. */
  held = null;
  /** Ends the middleware chain under way. */
  abortSetup = null;
  /** Node's socket, where somebody waits for its `close`. */
  socket = null;
  /** When `isAlive` was set to false, by the count of signs of life; a further one clears it. */
  doubtedAt = null;
  /** Code and reason once the connection has ended. */
  end = null;

  /** There is nothing in it. */
  get isEmpty() {
    return (
      this.held === null &&
      this.abortSetup === null &&
      this.socket === null &&
      this.doubtedAt === null &&
      this.end === null
    );
  }
}

/**
 * One WebSocket connection, as handlers and middleware see it. `types/connection.d.ts` documents its methods.
 */
class Connection {
  /** The native functions of the engine's run that the connection belongs to, and that engine. */
  #hot;
  #slot;
  #generation;
  #state = OPEN;
  #stage = BEFORE_HANDLER;
  #messageListeners = null;
  #closeListeners = null;
  /** What most connections have no use for while they are open: {@link Seldom}, or `null`. */
  #seldom = null;

  constructor(engine, id, slot, generation, url, protocol) {
    this.id = id;
    this.url = url;
    this.protocol = protocol;
    this.#hot = engine.hot;
    this.#slot = slot;
    this.#generation = generation;
  }

  get #engine() {
    return this.#hot.engine;
  }

  get #held() {
    return this.#seldom === null ? null : this.#seldom.held;
  }

  get #end() {
    return this.#seldom === null ? null : this.#seldom.end;
  }

  /** For something to be put there. */
  get #seldomUsed() {
    this.#seldom ??= new Seldom();
    return this.#seldom;
  }

  /** Holds no messages any more. */
  #letGo() {
    if (this.#seldom !== null) this.#seldom.held = null;
  }

  get isAlive() {
    if (this.#state !== OPEN || !this.#engine.native.isAlive(this.#slot, this.#generation))
      return false;
    const doubtedAt = this.#seldom?.doubtedAt ?? null;
    return doubtedAt === null || this.#signsOfLife() !== doubtedAt;
  }

  set isAlive(alive) {
    if (alive) this.markAlive();
    else this.#seldomUsed.doubtedAt = this.#signsOfLife();
  }

  #signsOfLife() {
    return this.#engine.native.signsOfLife(this.#slot, this.#generation);
  }

  get lastPong() {
    return this.#lastPong();
  }

  #lastPong() {
    if (this.#end !== null) return this.#end.lastPong;
    return this.#engine.native.lastPong(this.#slot, this.#generation) ?? 0;
  }

  /** Only a pong or `markAlive` moves it; assigning is allowed, as the type says, and ignored. */
  set lastPong(_time) {}

  get remoteAddress() {
    if (this.#state === CLOSED) return undefined;
    return this.#engine.native.remoteAddress(this.#slot, this.#generation) ?? undefined;
  }

  get bufferedAmount() {
    if (this.#state === CLOSED) return 0;
    return this.#engine.native.bufferedAmount(this.#slot, this.#generation);
  }

  send(data) {
    if (typeof data === 'string') {
      if (this.#state !== OPEN) return;
      const { length } = data;
      if (length < LONG_TEXT) this.#hot.sendText(this.#slot, this.#generation, data, length);
      else this.#hot.sendLongText(this.#slot, this.#generation, data);
    } else {
      const view = binaryView('send', data);
      if (this.#state !== OPEN) return;
      this.#hot.sendBinary(this.#slot, this.#generation, view);
    }
    this.#hot.engine.scheduleFlush();
  }

  close(code = 1000, reason = '') {
    checkClose(code, reason);
    this.#close(code, reason);
  }

  /** Not by {@link close}, which user code may have replaced. */
  #close(code, reason) {
    if (this.#state !== OPEN) return;
    this.#state = CLOSING;
    this.#letGo();
    this.#engine.native.close(this.#slot, this.#generation, code, reason);
    this.#engine.scheduleFlush();
  }

  join(room) {
    checkString('join', 'room', room);
    if (this.#state === OPEN) this.#engine.join(this.#slot, this.#generation, room);
  }

  leave(room) {
    checkString('leave', 'room', room);
    if (this.#state !== CLOSED) this.#engine.leave(this.#slot, this.#generation, room);
  }

  broadcast(room, data) {
    checkString('broadcast', 'room', room);
    const message = checkMessage('broadcast', data);
    // From an `onClose` listener, too, but not to members of whom it cannot know any more.
    if (this.#hot === this.#engine.hot) this.#engine.broadcast(message, room, this);
  }

  onMessage(listener) {
    checkFunction('onMessage', 'listener', listener);
    // There will be no more messages, and the listener may hold on to much.
    if (this.#end?.announced) return;
    this.#messageListeners = withListener(this.#messageListeners, bind(listener));
  }

  onClose(listener) {
    checkFunction('onClose', 'listener', listener);
    const bound = bind(listener);
    if (!this.#end?.announced) {
      this.#closeListeners = withListener(this.#closeListeners, bound);
      return;
    }
    // The end has been announced while the handler was still busy: its clean-up has to run all the
    // same.
    const { code, reason } = this.#end;
    queueMicrotask(() => inNoContext(() => this.#call(bound, code, reason)));
  }

  ping() {
    if (this.#state !== OPEN) return;
    this.#engine.native.ping(this.#slot, this.#generation);
    this.#engine.scheduleFlush();
  }

  markAlive() {
    if (this.#seldom !== null) this.#seldom.doubtedAt = null;
    if (this.#state !== OPEN) return;
    this.#engine.native.markAlive(this.#slot, this.#generation);
    this.#engine.scheduleFlush();
  }

  /** Calls a listener; what it throws or rejects with ends this connection and nothing else. */
  #call(listener, first, second) {
    try {
      const result = callListener(listener, first, second);
      // What most listeners return.
      if (result !== undefined) onRejection(result, (error) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  #callAll(listeners, first, second) {
    if (listeners === null) return;
    if (typeof listeners === 'function') this.#call(listeners, first, second);
    else for (const listener of listeners) this.#call(listener, first, second);
  }

  #fail(error) {
    this.#letGo();
    this.#close(1011, 'internal error');
    this.#engine.report(error, this);
    this.#announceEnd();
  }

  #receive(data) {
    if (this.#stage === DELIVERING) {
      if (this.#state === OPEN) this.#callAll(this.#messageListeners, data);
    } else if (this.#state === OPEN) {
      const seldom = this.#seldomUsed;
      seldom.held ??= [];
      seldom.held.push(data);
    }
  }

  #startDelivery() {
    if (this.#stage === DELIVERING) return;
    const held = this.#held;
    this.#letGo();
    if (this.#seldom?.isEmpty) this.#seldom = null;
    this.#stage = DELIVERING;
    if (this.#state === OPEN) {
      this.#hot.startDelivery(this.#slot, this.#generation);
      this.#engine.scheduleTurnFlush();
    }
    if (held === null) return;
    inNoContext(() => {
      for (const data of held) {
        // What arrived before the peer's end is delivered; what we closed on is not.
        if (this.#state === CLOSING) break;
        this.#callAll(this.#messageListeners, data);
      }
    });
    this.#announceEnd();
  }

  /** Tells of the end, once, and not before the messages that came before it. */
  #announceEnd() {
    const end = this.#end;
    if (end === null || end.onAnnounced === null) return;
    if (this.#held !== null) return;
    const { code, reason, onAnnounced } = end;
    const listeners = this.#closeListeners;
    end.announced = true;
    end.onAnnounced = null;
    // User code may keep the connection, but what its listeners hold goes with the last event.
    this.#messageListeners = null;
    this.#closeListeners = null;
    inNoContext(() => this.#callAll(listeners, code, reason));
    onAnnounced();
    end.isOver = true;
    const { socket } = this.#seldom;
    if (socket !== null) this.#emitClose(socket);
    this.#seldom.socket = null;
  }

  #emitClose(socket) {
    try {
      inNoContext(() => emitClose(socket));
    } catch (error) {
      this.#engine.report(error, this);
    }
  }

  static {
    Object.assign(internals, {
      engineOf: (connection) => connection.#engine,
      slotOf: (connection) => connection.#slot,
      generationOf: (connection) => connection.#generation,
      receive: (connection, data) => connection.#receive(data),
      close: (connection, code, reason) => connection.#close(code, reason),
      fail: (connection, error) => connection.#fail(error),
      startDelivery: (connection) => connection.#startDelivery(),
      /** Whether the middleware chain may go on to the handler. */
      wantsHandler: (connection) =>
        connection.#state === OPEN || (connection.#state === CLOSED && connection.#held !== null),
      /** Has Node's socket, which is closed already, emit `close` when the connection is over. */
      closeWith(connection, socket) {
        if (!connection.#end?.isOver) connection.#seldomUsed.socket = socket;
        // The listener that this is about is not there yet.
        else process.nextTick(() => connection.#emitClose(socket));
      },
      /** There will be no handler. */
      giveUp(connection) {
        connection.#letGo();
        connection.#announceEnd();
      },
      /** Has `abort` called should the connection end before its handler is called. */
      onSetupEnd(connection, abort) {
        connection.#seldomUsed.abortSetup = abort;
      },
      startHandler(connection) {
        connection.#stage = IN_HANDLER;
        if (connection.#seldom !== null) connection.#seldom.abortSetup = null;
        connection.#hot.markReady(connection.#slot, connection.#generation);
        connection.#engine.scheduleTurnFlush();
      },
      /** The connection is over; `announceEnd` tells of it. */
      end(connection, code, reason) {
        const lastPong = connection.#lastPong();
        connection.#state = CLOSED;
        const seldom = connection.#seldomUsed;
        seldom.end = {
          code,
          reason,
          lastPong,
          announced: false,
          onAnnounced: null,
          isOver: false,
        };
        // With messages that wait for the handler, it is still called, so that nothing is lost.
        if (seldom.held === null) seldom.abortSetup?.();
      },
      /** Calls the close listeners and then `onAnnounced`, after the messages that came before. */
      announceEnd(connection, onAnnounced) {
        connection.#end.onAnnounced = onAnnounced;
        connection.#announceEnd();
      },
    });
  }
}

module.exports = { Connection, internals };
