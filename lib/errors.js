'use strict';

/** What was thrown, as an Error. */
function toError(thrown) {
  if (thrown instanceof Error) return thrown;
  // Errors of another realm, as test runners make them.
  if (Object.prototype.toString.call(thrown) === '[object Error]') return thrown;
  let text;
  try {
    text = String(thrown);
  } catch {
    text = typeof thrown;
  }
  return new Error(`a value that is not an Error was thrown: ${text}`, { cause: thrown });
}

function isThenable(value) {
  const mayHaveThen = (typeof value === 'object' && value !== null) || typeof value === 'function';
  return mayHaveThen && typeof value.then === 'function';
}

module.exports = { isThenable, toError };
