'use strict';

const { internals } = require('./connection.js');
const { isThenable } = require('./errors.js');

/**
 * Runs the WebSocket middleware of a new connection in order, then its handler.
 *
 * A middleware goes on by calling `next()`, now or later; only its first call counts. Closing the
 * connection ends the chain. Whatever throws or rejects closes the connection with 1011 and is
 * reported. A chain that does not reach the handler within `limitMs` is closed with 1008.
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
    const next = (error) => {
      if (called) return;
      called = true;
      // As in Express; other arguments are ignored, so that `.then(next)` works.
      if (error instanceof Error) fail(error);
      else step();
    };
    try {
      const result = current(connection, req, next);
      if (isThenable(result)) result.then(undefined, fail);
    } catch (error) {
      fail(error);
    }
  };

  step();
  if (done) return;
  timer = setTimeout(() => {
    finish();
    connection.close(1008, 'the connection was not set up in time');
    internals.giveUp(connection);
  }, limitMs);
  internals.onSetupEnd(connection, finish);
}

/**
 * Calls the handler. Messages wait until it has returned or its promise has settled, but no longer
 * than `limitMs`: a handler may well run for as long as its connection.
 */
function runHandler(connection, req, handler, limitMs) {
  internals.startHandler(connection);
  let result;
  try {
    result = handler?.(connection, req);
  } catch (error) {
    return internals.fail(connection, error);
  }
  if (!isThenable(result)) return internals.startDelivery(connection);
  const deliver = () => {
    clearTimeout(timer);
    internals.startDelivery(connection);
  };
  const timer = setTimeout(deliver, limitMs);
  result.then(deliver, (error) => {
    clearTimeout(timer);
    internals.fail(connection, error);
  });
}

module.exports = { runPipeline };
