'use strict';

const { EventEmitter } = require('node:events');

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
  if (typeof listener !== 'function') return listener;
  const inContext = bind(listener);
  if (inContext !== listener) inContext.listener = listener;
  return inContext;
}

/**
 * Calls the listeners of an event one by one; `onError` gets what each throws or rejects with.
 *
 * @param {import('node:events').EventEmitter} emitter an {@link Emitter}, or one of the
 *   application's, of which nothing more is known than that it emits
 */
function tell(emitter, event, args, onError) {
  if (emitter.listenerCount?.(event) === 0) return;
  inNoContext(() => {
    for (const listener of listenersOf(emitter, event)) {
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

/** An emitter with an `emit` of its own is told by that, as one listener. */
function listenersOf(emitter, event) {
  if (emitter.emit === EventEmitter.prototype.emit) return emitter.rawListeners(event);
  return [
    (...args) => {
      emitter.emit(event, ...args);
    },
  ];
}

module.exports = { Emitter, tell };
