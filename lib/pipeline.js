'use strict';

const { internals } = require('./connection/connection.js');
const { isError, onRejection, promiseOf } = require('./errors.js');
const { read } = require('./report.js');
const { describe } = require('./text.js');

/**
 * Runs the WebSocket middleware of a new connection in order, then its handler.
 *
 * A middleware goes on by calling `next()`, now or later; only its first call counts. Closing the
 * connection ends the chain, and so does `next` with an Error, a string or `false`. Whatever throws
 * or rejects closes the connection with 1011 and is reported. A chain that does not reach the
 * handler within `limitMs` is closed with 1008.
 *
 * @param handler undefined for a path that has none
 */
function runPipeline(connection, req, middleware, handler, limitMs) {
  let index = 0;
  let timer;
  let done = false;

  const finish = () => {
    done = true;
    clearTimeout(timer);
  };

  const fail = (error) => {
    finish();
    internals.fail(connection, error);
  };

  const step = () => {
    if (done) return;
    if (!internals.wantsHandler(connection)) {
      finish();
      return internals.giveUp(connection);
    }
    if (index === middleware.length) {
      finish();
      return runHandler(connection, req, handler, limitMs);
    }
    const current = middleware[index++];
    let called = false;
    const next = (value) => {
      if (called) return;
      called = true;
      const error = refusalBy(value);
      if (error === null) step();
      else fail(error);
    };
    try {
      onRejection(current(connection, req, next), fail);
    } catch (error) {
      fail(error);
    }
  };

  step();
  if (done) return;
  timer = setTimeout(() => {
    finish();
    // Short, as a close reason has 123 bytes.
    const which = `middleware ${index} of ${middleware.length}${nameOf(middleware[index - 1])}`;
    const reason = `the connection was not set up in time: ${which} did not call next()`;
    internals.close(connection, 1008, reason);
    internals.giveUp(connection);
  }, limitMs);
  internals.onSetupEnd(connection, finish);
}

function ignore() {}

/** What a middleware refuses a connection with, or `null` where it lets it in. */
function refusalBy(value) {
  if (isError(value)) return value;
  if (typeof value === 'string')
    return new Error(`wsUse: next() was called with ${describe(value)}`);
  if (value === false) return new Error('wsUse: next() was called with false');
  const promise = promiseOf(value);
  if (promise !== null) {
    promise.catch(ignore);
    return new Error('wsUse: next() was called with a promise; await it first');
  }
  // Anything else is what a promise happened to resolve with, so that `.then(next)` works.
  return null;
}

function nameOf(middleware) {
  const name = read(middleware, 'name').slice(0, SHOWN_NAME);
  return name === '' ? '' : ` (${name})`;
}

/** Characters of a middleware's name that a close reason has room for. */
const SHOWN_NAME = 24;

/**
 * Calls the handler. Messages wait until it has returned or its promise has settled, but no longer
 * than `limitMs`: a handler may well run for as long as its connection.
 */
function runHandler(connection, req, handler, limitMs) {
  internals.startHandler(connection);
  let promise;
  try {
    promise = promiseOf(handler?.(connection, req));
  } catch (error) {
    return internals.fail(connection, error);
  }
  if (promise === null) return internals.startDelivery(connection);
  const deliver = () => {
    clearTimeout(timer);
    internals.startDelivery(connection);
  };
  const timer = setTimeout(deliver, limitMs);
  promise.then(deliver, (error) => {
    clearTimeout(timer);
    internals.fail(connection, error);
  });
}

module.exports = { runPipeline };
