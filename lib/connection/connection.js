'use strict';

const { bind, callListener, inNoContext } = require('../async-context.js');
const {
  binaryView,
  checkClose,
  checkEvent,
  checkFunction,
  checkJson,
  checkMessage,
  checkSendOptions,
  checkString,
} = require('../check.js');
const constants = require('../constants.js');
const { onRejection } = require('../errors.js');
const { emitClose } = require('../node-internals.js');
const { Inflow } = require('./inflow.js');
const { withListener, withoutListener } = require('./listeners.js');
const { Messages } = require('./messages.js');
const { Seldom } = require('./seldom.js');

const { drained: DRAINED, paced: PACED } = constants.events;
const {
  text: SEND_TEXT,
  volatile: SEND_VOLATILE,
  uncompressed: SEND_UNCOMPRESSED,
} = constants.send;

/** The connection is open, and messages go by way of an {@link Inflow}: as the handler is not ready. */
const HOLDING = 0;
/** It is open, and messages go to the listeners as they come. */
const FLOWING = 1;
const CLOSING = 2;
const CLOSED = 3;

/** The number of its route where the path has none. */
const NO_ROUTE = -1;

/** What `off` takes. */
const EVENTS = ['message', 'close', 'drain', 'pong'];

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

/**
 * One WebSocket connection, as handlers and middleware see it. `types/connection.d.ts` and
 * `types/socket.d.ts` document its members.
 */
class Connection {
  /** The native functions of the engine's run that the connection belongs to, and that engine. */
  #hot;
  #slot;
  #generation;
  #state = HOLDING;
  #route;
  #messageListeners = null;
  #closeListeners = null;
  /** What most connections have no use for while they are open: {@link Seldom}, or `null`. */
  #seldom = null;

  /**
   * @param engine what it belongs to
   * @param adopted what the native half says of it: id, slot, generation, subprotocol and route, ...
   * @param {{ url: string, request: import('node:http').IncomingMessage }} handOff what it began with
   */
  constructor(engine, [id, slot, generation, protocol, route], { url, request }) {
    this.id = id;
    this.url = url;
    this.protocol = protocol ?? '';
    this.#hot = engine.hot;
    this.#slot = slot;
    this.#generation = generation;
    this.#route = route ?? NO_ROUTE;
    this.#seldomUsed.request = request;
  }

  get #engine() {
    return this.#hot.engine;
  }

  get #isOpen() {
    return this.#state <= FLOWING;
  }

  get #inflow() {
    return this.#seldom === null ? null : this.#seldom.inflow;
  }

  /** There are messages that no listener has been told of. */
  get #holdsMessages() {
    const inflow = this.#inflow;
    return inflow !== null && !inflow.isEmpty;
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
    this.#inflow?.clear();
  }

  get isAlive() {
    if (!this.#isOpen || !this.#engine.native.isAlive(this.#slot, this.#generation)) return false;
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

  get params() {
    const seldom = this.#seldomUsed;
    seldom.params ??= this.#route === NO_ROUTE ? {} : this.#readParams();
    return seldom.params;
  }

  #readParams() {
    const parts = this.#engine.native.params(this.#route, String(this.url));
    const params = {};
    for (let index = 0; index < parts.length; index += 2) {
      const value = parts[index + 1];
      // As data, also where the name is `__proto__`.
      Object.defineProperty(params, parts[index], { value, enumerable: true });
    }
    return params;
  }

  get data() {
    const seldom = this.#seldomUsed;
    seldom.data ??= {};
    return seldom.data;
  }

  set data(data) {
    this.#seldomUsed.data = data;
  }

  get request() {
    const seldom = this.#seldom;
    if (seldom === null) return undefined;
    seldom.requestIsKept = seldom.request !== undefined;
    return seldom.request;
  }

  get rooms() {
    if (this.#state === CLOSED) return [];
    return [...this.#engine.native.roomsOf(this.#slot, this.#generation)];
  }

  send(data, options) {
    return options === undefined ? this.#send(data) : this.#sendAs('send', data, options);
  }

  #send(data) {
    let outcome;
    if (typeof data === 'string') {
      if (this.#state > FLOWING) return 'dropped';
      const { length } = data;
      if (length < LONG_TEXT) {
        outcome = this.#hot.sendText(this.#slot, this.#generation, data, length);
      } else {
        outcome = this.#hot.sendLongText(this.#slot, this.#generation, data);
      }
    } else {
      const view = binaryView('send', data);
      if (this.#state > FLOWING) return 'dropped';
      outcome = this.#hot.sendBinary(this.#slot, this.#generation, view);
    }
    this.#hot.engine.scheduleFlush();
    return outcome === undefined ? 'sent' : this.#hasToWait(outcome);
  }

  #sendAs(method, data, options) {
    const message = checkMessage(method, data);
    const { compress, volatile } = checkSendOptions(method, options);
    // Getters of the options are code of the user's.
    if (!this.#isOpen) return 'dropped';
    let flags = typeof message === 'string' ? SEND_TEXT : 0;
    if (volatile) flags |= SEND_VOLATILE;
    if (compress === false) flags |= SEND_UNCOMPRESSED;
    const outcome = this.#hot.sendAs(this.#slot, this.#generation, message, flags);
    this.#hot.engine.scheduleFlush();
    return outcome === undefined ? 'sent' : this.#hasToWait(outcome);
  }

  /** A message waits, or is dropped since others do. */
  #hasToWait(isQueued) {
    const listeners = this.#seldom === null ? null : this.#seldom.drainListeners;
    if (listeners !== null) this.#watchDrain();
    return isQueued ? 'queued' : 'dropped';
  }

  #watchDrain() {
    this.#engine.native.watchDrain(this.#slot, this.#generation);
  }

  json(value, options) {
    const text = checkJson('json', value);
    return options === undefined ? this.#send(text) : this.#sendAs('json', text, options);
  }

  close(code = 1000, reason = '') {
    checkClose('close', code, reason);
    this.#close(code, reason);
  }

  /** Not by {@link close}, which user code may have replaced. */
  #close(code, reason) {
    if (this.#state === CLOSED) return this.#dropRest();
    if (this.#state === CLOSING) return;
    this.#state = CLOSING;
    this.#letGo();
    this.#engine.native.close(this.#slot, this.#generation, code, reason);
    this.#engine.scheduleFlush();
  }

  terminate() {
    if (this.#state === CLOSED) return this.#dropRest();
    this.#state = CLOSING;
    this.#letGo();
    this.#engine.native.terminate(this.#slot, this.#generation);
    this.#engine.scheduleFlush();
  }

  /** Messages of a connection that has ended are not wanted any more. */
  #dropRest() {
    if (!this.#holdsMessages) return;
    this.#letGo();
    process.nextTick(() => this.#announceEnd());
  }

  join(room) {
    checkString('join', 'room', room);
    if (this.#isOpen) this.#engine.join(this.#slot, this.#generation, room);
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

  onDrain(listener) {
    checkFunction('onDrain', 'listener', listener);
    if (!this.#isOpen) return;
    const seldom = this.#seldomUsed;
    seldom.drainListeners = withListener(seldom.drainListeners, bind(listener));
    // A message may have been queued just now, and have left in the meantime.
    this.#watchDrain();
  }

  onPong(listener) {
    checkFunction('onPong', 'listener', listener);
    if (!this.#isOpen) return;
    const seldom = this.#seldomUsed;
    if (seldom.pongListeners === null) this.#timePongs(true);
    seldom.pongListeners = withListener(seldom.pongListeners, bind(listener));
  }

  #timePongs(wanted) {
    this.#engine.native.timePongs(this.#slot, this.#generation, wanted);
    this.#engine.scheduleFlush();
  }

  off(event, listener) {
    checkEvent('off', event, EVENTS);
    checkFunction('off', 'listener', listener);
    const seldom = this.#seldom;
    if (event === 'message') {
      this.#messageListeners = withoutListener(this.#messageListeners, listener);
    } else if (event === 'close') {
      this.#closeListeners = withoutListener(this.#closeListeners, listener);
    } else if (seldom === null) {
      // There are none of the others.
    } else if (event === 'drain') {
      seldom.drainListeners = withoutListener(seldom.drainListeners, listener);
    } else if (seldom.pongListeners !== null) {
      seldom.pongListeners = withoutListener(seldom.pongListeners, listener);
      if (seldom.pongListeners === null && this.#isOpen) this.#timePongs(false);
    }
  }

  pause() {
    if (this.#isOpen) this.#slowDown();
    if (this.#state !== CLOSING) this.#inflow?.pause();
  }

  resume() {
    const inflow = this.#inflow;
    if (inflow === null || !inflow.isPaused) return;
    inflow.isPaused = false;
    this.#passSoon();
  }

  [Symbol.asyncIterator]() {
    const messages = new Messages(
      () => this.#passSoon(),
      (each) => {
        this.#inflow?.remove(each);
        this.#passSoon();
      },
    );
    const isOver = this.#end !== null && !this.#holdsMessages;
    if (isOver || this.#state === CLOSING) {
      messages.end();
    } else {
      if (this.#isOpen) this.#slowDown();
      this.#inflow.add(messages);
    }
    return messages.iterator;
  }

  /** From now on messages go by way of an {@link Inflow}, and few are read beyond it. */
  #slowDown() {
    const seldom = this.#seldomUsed;
    seldom.inflow ??= new Inflow(this.#state === FLOWING);
    this.#state = HOLDING;
    if (!seldom.inflow.askToCount()) return;
    this.#engine.native.pace(this.#slot, this.#generation);
    this.#engine.scheduleFlush();
  }

  ping() {
    if (!this.#isOpen) return;
    this.#engine.native.ping(this.#slot, this.#generation);
    this.#engine.scheduleFlush();
  }

  markAlive() {
    if (this.#seldom !== null) this.#seldom.doubtedAt = null;
    if (!this.#isOpen) return;
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
    if (this.#state === FLOWING) {
      this.#callAll(this.#messageListeners, data);
    } else if (this.#state === HOLDING) {
      const seldom = this.#seldomUsed;
      seldom.inflow ??= new Inflow(false);
      seldom.inflow.push(data);
      this.#pass();
    }
  }

  /** Hands messages over that somebody may have now, and tells of the end behind them. */
  #pass() {
    const inflow = this.#inflow;
    if (inflow === null || inflow.isPassing) return;
    if (this.#mayPass(inflow)) {
      inflow.isPassing = true;
      inNoContext(() => {
        do {
          this.#callAll(this.#messageListeners, inflow.take());
        } while (this.#mayPass(inflow));
      });
      inflow.isPassing = false;
      if (inflow.hasUntold && this.#isOpen) this.#engine.tellTaken(this);
    }
    if (this.#state === HOLDING && inflow.mayFlow) this.#flow();
    this.#announceEnd();
  }

  /** What arrived before the peer's end is delivered; what we closed on is not. */
  #mayPass(inflow) {
    return this.#state !== CLOSING && inflow.mayPass(this.#state === CLOSED);
  }

  /** The same once whoever is running now is done. */
  #passSoon() {
    const inflow = this.#inflow;
    if (inflow === null || inflow.isDue) return;
    inflow.isDue = true;
    process.nextTick(() => {
      inflow.isDue = false;
      this.#pass();
    });
  }

  /** Messages go to the listeners as they come. */
  #flow() {
    this.#state = FLOWING;
    const seldom = this.#seldom;
    if (seldom !== null) {
      seldom.inflow = null;
      if (seldom.isEmpty) this.#seldom = null;
    }
    this.#hot.startDelivery(this.#slot, this.#generation);
    this.#engine.scheduleTurnFlush();
  }

  #startDelivery() {
    this.#letGoOfRequest();
    const inflow = this.#inflow;
    if (inflow === null) {
      if (this.#state === HOLDING) this.#flow();
    } else {
      inflow.isReady = true;
      this.#pass();
    }
  }

  /** It takes several kilobytes, so only who has asked for it keeps it. */
  #letGoOfRequest() {
    const seldom = this.#seldom;
    if (seldom !== null && !seldom.requestIsKept) seldom.request = undefined;
  }

  #onNews(news) {
    if (!this.#isOpen) return;
    if (news === PACED) this.#onPaced();
    else if (news === DRAINED) this.#callAll(this.#seldom?.drainListeners ?? null);
    else this.#callAll(this.#seldom?.pongListeners ?? null, news);
  }

  /** The native half counts from here on which messages have been taken. */
  #onPaced() {
    const inflow = this.#inflow;
    if (inflow === null) return;
    const held = inflow.countFromHere();
    if (held > 0) this.#engine.native.holds(this.#slot, this.#generation, held);
    if (inflow.hasUntold) this.#engine.tellTaken(this);
    this.#pass();
  }

  /** Tells of the end, once, and not before the messages that came before it. */
  #announceEnd() {
    const end = this.#end;
    if (end === null || end.onAnnounced === null) return;
    if (this.#holdsMessages) return;
    const { code, reason, onAnnounced } = end;
    const listeners = this.#closeListeners;
    end.announced = true;
    end.onAnnounced = null;
    // User code may keep the connection, but what its listeners hold goes with the last event.
    this.#messageListeners = null;
    this.#closeListeners = null;
    const seldom = this.#seldom;
    seldom.drainListeners = null;
    seldom.pongListeners = null;
    inNoContext(() => this.#callAll(listeners, code, reason));
    onAnnounced();
    end.isOver = true;
    seldom.inflow?.end();
    seldom.inflow = null;
    this.#letGoOfRequest();
    const { socket } = seldom;
    if (socket !== null) this.#emitClose(socket);
    seldom.socket = null;
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
      isOpen: (connection) => connection.#isOpen,
      close: (connection, code, reason) => connection.#close(code, reason),
      fail: (connection, error) => connection.#fail(error),
      startDelivery: (connection) => connection.#startDelivery(),
      /** Whether the middleware chain may go on to the handler. */
      wantsHandler: (connection) =>
        connection.#isOpen || (connection.#state === CLOSED && connection.#holdsMessages),
      onNews: (connection, news) => connection.#onNews(news),
      /** Tells the native half which messages have been taken. */
      tellTaken(connection) {
        const count = connection.#inflow?.takeUntold() ?? 0;
        if (count === 0 || !connection.#isOpen) return;
        connection.#engine.native.took(connection.#slot, connection.#generation, count);
      },
      /** Has Node's socket, which is closed already, emit `close` when the connection is over. */
      closeWith(connection, socket) {
        if (!connection.#end?.isOver) connection.#seldomUsed.socket = socket;
        // The listener that this is about is not there yet.
        else process.nextTick(() => connection.#emitClose(socket));
      },
      /** Whoever has paused a connection that has ended does not resume. */
      endPause(connection) {
        if (connection.#inflow?.isPaused) connection.#dropRest();
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
        if (connection.#seldom !== null) connection.#seldom.abortSetup = null;
        connection.#hot.markReady(connection.#slot, connection.#generation);
        connection.#engine.scheduleTurnFlush();
      },
      /** Bytes of messages that no listener has been told of. */
      held: (connection) => connection.#inflow?.bytes ?? 0,
      /**
       * The connection is over; `announceEnd` tells of it. Messages that no listener has been told of are
       * dropped unless it `keepsHeld`.
       */
      end(connection, code, reason, keepsHeld) {
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
        if (!keepsHeld) connection.#letGo();
        // With messages that wait for the handler, it is still called, so that nothing is lost.
        if (!connection.#holdsMessages) seldom.abortSetup?.();
      },
      /** Calls the close listeners and then `onAnnounced`, after the messages that came before. */
      announceEnd(connection, onAnnounced) {
        connection.#end.onAnnounced = onAnnounced;
        connection.#pass();
        connection.#announceEnd();
      },
    });
  }
}

module.exports = { Connection, internals };
