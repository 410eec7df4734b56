'use strict';

const { STATUS_CODES } = require('node:http');
const { types } = require('node:util');

const { isError } = require('../errors.js');
const { answerOf } = require('./answer.js');

/** Properties by which a result says that the answer is no. */
const DENIALS = ['ok', 'success', 'allowed', 'authorized', 'authenticated'];

/**
 * What a settled result of `verifyClient` means: `null` lets the client in, anything else is why it
 * does not, with a status of its own where the result has one, and with headers and a body of its own
 * where it has those as well.
 *
 * `true` lets in, and so does a user, which is any other truthy value that does not say no: an
 * object with a status, as a `Response` has, is the refusal it describes.
 *
 * Reads properties of the result, so it throws what their getters throw.
 *
 * @returns {({ status?: number, phrase?: string } & Partial<import('./answer.js').Answer>) | null}
 */
function refusalOf(result) {
  if (result === true) return null;
  if (!result || isFalseInDisguise(result)) return {};
  if (typeof result !== 'object') return null;
  const status = statusOf(result);
  if (status !== undefined) {
    return { status, phrase: STATUS_CODES[status], ...answerOf(result) };
  }
  const denied =
    result.valid === false || DENIALS.some((name) => result[name] !== undefined && !result[name]);
  const failed = Boolean(result.error) || result.errors?.length > 0;
  return denied || failed ? {} : null;
}

/**
 * Truthy, and no user: an Error that was returned, a function that was not called, a query without
 * rows, `new Boolean(false)`.
 */
function isFalseInDisguise(result) {
  return (
    typeof result === 'function' ||
    isError(result) ||
    (Array.isArray(result) && !result.some(Boolean)) ||
    (types.isBoxedPrimitive(result) && !result.valueOf())
  );
}

/** The HTTP status that an object carries, where it is one that can end a request. */
function statusOf({ status, statusCode }) {
  return [status, statusCode]
    .map((code) => (/^\d{3}$/.test(code) ? Number(code) : code))
    .find((code) => Number.isInteger(code) && code >= 200 && code < 600);
}

module.exports = { refusalOf };
