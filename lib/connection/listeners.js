'use strict';

/**
 * The listeners of one event of a connection, as a field that is flat: `null`, one function, or an
 * array, which is never changed: whoever is calling its listeners calls those that there were.
 *
 * @typedef {null | Function | Function[]} Listeners
 */

/** @param {Listeners} listeners */
function withListener(listeners, listener) {
  if (listeners === null) return listener;
  return typeof listeners === 'function' ? [listeners, listener] : [...listeners, listener];
}

/**
 * Without the latest that is `listener`, or is bound to an async context in its place.
 *
 * @param {Listeners} listeners
 */
function withoutListener(listeners, listener) {
  if (listeners === null) return null;
  if (typeof listeners === 'function') return isFor(listeners, listener) ? null : listeners;
  const index = listeners.findLastIndex((each) => isFor(each, listener));
  if (index < 0) return listeners;
  const others = listeners.toSpliced(index, 1);
  return others.length === 1 ? others[0] : others;
}

function isFor(added, listener) {
  return added === listener || added.listener === listener;
}

module.exports = { withListener, withoutListener };
