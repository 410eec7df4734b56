'use strict';

const { errorMonitor, EventEmitter } = require('node:events');

const { bind, callListener, inNoContext } = require('./async-context.js');
const { onRejection } = require('./errors.js');

/** The names of the methods that add a listener for good. */
const ADD = ['on', 'addListener', 'prependListener'];

/**
 * An event emitter whose listeners may be anything: each runs in the async context of the code that
 * added it, and what it throws or rejects with harms neither the others nor the process.
 */
class Emitter extends EventEmitter {
  once(event, listener) {
    return super.on(event, this.#single(event, listener));
  }

  prependOnceListener(event, listener) {
    return super.prependListener(event, this.#single(event, listener));
  }

  #single(event, listener) {
    if (typeof listener !== 'function') return listener;
    const bound = bind(listener);
    const emitter = this;
    let called = false;
    const single = function (...args) {
      emitter.removeListener(event, single);
      if (called) return undefined;
      called = true;
      return bound.apply(this, args);
    };
    // By this property `off` and `listeners` know whose it is.
    single.listener = listener;
    return single;
  }
}

for (const method of ADD) {
  Emitter.prototype[method] = function (event, listener) {
    return EventEmitter.prototype[method].call(this, event, bound(listener));
  };
}

function bound(listener) {
  return typeof listener === 'function' ? bind(listener) : listener;
}

/**
 * Calls the listeners of an event one by one; `onError` gets what each throws or rejects with.
 *
 * @param {import('node:events').EventEmitter} emitter an {@link Emitter}, or one of the
 *   application's, of which nothing more is known than that it emits
 */
function tell(emitter, event, args, onError) {
  const listeners = listenersOf(emitter, event);
  if (listeners.length === 0) return;
  inNoContext(() => {
    for (const listener of listeners) {
      try {
        onRejection(
          callListener(() => listener.apply(emitter, args)),
          onError,
        );
      } catch (error) {
        onError(error);
      }
    }
  });
}

/**
 * Who has to be called for an event. An `emit` of somebody's own is asked only where there are no
 * listeners to be called one by one: it would stop at the first that throws, and drop their promises.
 */
function listenersOf(emitter, event) {
  const isOwn = emitter.emit !== EventEmitter.prototype.emit;
  if (emitter.listenerCount?.(event) > 0) {
    const monitors = event === 'error' ? emitter.rawListeners(errorMonitor) : [];
    return [...monitors, ...emitter.rawListeners(event)];
  }
  return isOwn ? [(...all) => emitter.emit(event, ...all)] : [];
}

/** Whether {@link tell} would call somebody. */
function hears(emitter, event) {
  return emitter.listenerCount?.(event) > 0 || emitter.emit !== EventEmitter.prototype.emit;
}

module.exports = { Emitter, hears, tell };
