'use strict';

const { types } = require('node:util');

const { describe, printable } = require('./text.js');

/** Whether a value is an Error, of whatever realm: test runners have realms of their own. */
function isError(value) {
  try {
    return (
      types.isNativeError(value) ||
      value instanceof Error ||
      /^\[object (Error|DOMException)\]$/.test(Object.prototype.toString.call(value))
    );
  } catch {
    return false;
  }
}

/** Characters of a thrown value that its Error shows. */
const MAX_THROWN_TEXT = 200;

/** What was thrown, as an Error. */
function toError(thrown) {
  if (isError(thrown)) return thrown;
  let text;
  try {
    text = printable(String(thrown), MAX_THROWN_TEXT);
  } catch {
    text = describe(thrown);
  }
  return new Error(`a value that is not an Error was thrown: ${text}`, { cause: thrown });
}

/**
 * Returns what `act` returns. What the native half throws is made by the realm that loaded it; who
 * called is in this one, where `instanceof` and a test runner's `toThrow` have to work.
 */
function inThisRealm(act) {
  try {
    return act();
  } catch (error) {
    const Kind = KINDS.get(error?.name);
    if (Kind === undefined || error instanceof Kind) throw error;
    throw new Kind(error.message);
  }
}

const KINDS = new Map([Error, TypeError, RangeError].map((Kind) => [Kind.name, Kind]));

/**
 * A promise for what user code has returned, or `null` where that is no thenable.
 *
 * `then` is read once, and may throw: that is a rejection.
 */
function promiseOf(value) {
  if ((typeof value !== 'object' || value === null) && typeof value !== 'function') return null;
  let then;
  try {
    then = value.then;
  } catch (error) {
    return Promise.reject(error);
  }
  if (typeof then !== 'function') return null;
  return new Promise((resolve, reject) => then.call(value, resolve, reject));
}

/** Has `onError` called with what a promise that user code has returned rejects with. */
function onRejection(value, onError) {
  promiseOf(value)?.then(undefined, onError);
}

module.exports = { inThisRealm, isError, onRejection, promiseOf, toError };
