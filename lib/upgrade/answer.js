'use strict';

const { types } = require('node:util');

const { binaryView, wrongType } = require('../check.js');
const { onRejection } = require('../errors.js');
const { printable } = require('../text.js');

/**
 * What a result of `verifyClient` says to a client beside a status: headers, and a body. The status
 * stands whatever is wrong with them: what cannot be sent is left out, and told as a fault.
 *
 * @typedef {object} Answer
 * @property {string[]} headers names and values in turn
 * @property {Uint8Array} [body]
 * @property {string} [contentType] what `body` is, unless `headers` says so
 * @property {ReadableStream} [stream] has the body that is to be read by {@link contentOf}
 * @property {Error[]} faults what had to be left out, and why
 */

/** Most header lines, as one is sent for each value, and most bytes of them: clients take 16 KiB. */
const MAX_LINES = 64;
const MAX_HEADER_BYTES = 8 * 1024;

/** Most bytes of a body. It waits in Node's socket for a client that may not read. */
const MAX_BODY = 64 * 1024;

/** A name and a value that may stand in a header (RFC 9110 §5.1 and §5.5). */
const NAME = /^[!#$%&'*+.^_`|~\w-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/**
 * Reads headers and body of a result that has a status, where it is an object literal or a `Response`
 * that the application has made. Any other object was meant for somebody else: what another server has
 * answered to a request of the application's may have in it what is no client's business.
 *
 * @returns {Answer | undefined}
 */
function answerOf(result) {
  const isResponse = isOwnResponse(result);
  if (!isResponse && !isPlain(result)) return undefined;
  const { headers, body } = result;
  const faults = [];
  const lines = isAbsent(headers) ? [] : linesOf(headers, faults);
  if (isAbsent(body))
    return lines.length + faults.length > 0 ? { headers: lines, faults } : undefined;
  const content = isResponse ? streamed(result, faults) : bytesOf(body, faults);
  return { headers: lines, faults, ...content };
}

function isAbsent(value) {
  return value === undefined || value === null;
}

/** An object literal, of whatever realm. */
function isPlain(value) {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** One that `fetch` has returned has the URL that it is from. */
function isOwnResponse(value) {
  return Object.prototype.toString.call(value) === '[object Response]' && value.url === '';
}

function linesOf(headers, faults) {
  const lines = [];
  let bytes = 0;
  try {
    for (const [name, value] of pairsOf(headers)) {
      for (const one of Array.isArray(value) ? value : [value]) {
        if (one === undefined) continue;
        const fault = faultOf(name, one);
        if (fault === null) bytes += name.length + String(one).length;
        // What cannot be sent counts as well: each is told.
        if (lines.length / 2 + faults.length === MAX_LINES || bytes > MAX_HEADER_BYTES) {
          const most = `${MAX_LINES} lines and ${MAX_HEADER_BYTES} bytes`;
          faults.push(new RangeError(`verifyClient: headers must be at most ${most}`));
          return lines;
        }
        if (fault === null) lines.push(name, String(one));
        else faults.push(fault);
      }
    }
  } catch (error) {
    faults.push(error);
  }
  return lines;
}

/** Names with values: of a Headers or a Map, of an array of pairs, or of an object. */
function pairsOf(headers) {
  if (typeof headers !== 'object') {
    const accepted = 'an object, a Headers or an array of names with values';
    throw wrongType('verifyClient', 'headers', accepted, headers);
  }
  return typeof headers[Symbol.iterator] === 'function' ? headers : Object.entries(headers);
}

/** What is wrong with a header, or `null`. */
function faultOf(name, value) {
  if (typeof name !== 'string' || !NAME.test(name)) {
    return wrongType('verifyClient', 'the name of a header', 'an HTTP token', name);
  }
  const argument = `header ${JSON.stringify(printable(name))}`;
  if (typeof value !== 'string' && typeof value !== 'number') {
    return wrongType('verifyClient', argument, 'a string, a number or an array of them', value);
  }
  if (VALUE.test(value)) return null;
  const accepted = 'of characters from U+0020 to U+00FF, without control characters';
  return wrongType('verifyClient', argument, accepted, value);
}

/** A body by what it is. */
function bytesOf(body, faults) {
  try {
    const [contentType, bytes] = encoded(body);
    if (bytes.length > MAX_BODY) throw tooLong();
    return { body: bytes, contentType };
  } catch (error) {
    faults.push(error);
    return {};
  }
}

function encoded(body) {
  if (typeof body === 'string') return [TEXT, Buffer.from(body)];
  if (types.isArrayBuffer(body) || ArrayBuffer.isView(body)) {
    return [BINARY, binaryView('verifyClient', body, 'body')];
  }
  const isJson = Array.isArray(body) || (typeof body === 'object' && isPlain(body));
  const text = isJson ? JSON.stringify(body) : undefined;
  if (text !== undefined) return [JSON_TYPE, Buffer.from(text)];
  const accepted = 'a string, Buffer, Uint8Array, ArrayBuffer, or an object that is sent as JSON';
  throw wrongType('verifyClient', 'body', accepted, body);
}

const TEXT = 'text/plain; charset=utf-8';
const BINARY = 'application/octet-stream';
const JSON_TYPE = 'application/json';

function tooLong() {
  return new RangeError(`verifyClient: body must be at most ${MAX_BODY} bytes`);
}

function streamed({ body, bodyUsed }, faults) {
  if (!bodyUsed && !body.locked) return { stream: body, contentType: BINARY };
  faults.push(new TypeError('verifyClient: the body of the Response has been read already'));
  return {};
}

/**
 * Reads what is in a stream, but not more than a body may have: beyond, it rejects. Once `signal` says
 * that nobody wants it any more, nothing is read and the stream is cancelled.
 *
 * @param {ReadableStream} stream
 * @param {AbortSignal} signal
 */
async function contentOf(stream, signal) {
  const reader = stream.getReader();
  const cancel = (reason) => cancelWith(reader, reason);
  signal.addEventListener('abort', () => cancel(signal.reason), { once: true });
  const chunks = [];
  let length = 0;
  try {
    while (!signal.aborted) {
      const { done, value } = await reader.read();
      if (done) break;
      const chunk = binaryView('verifyClient', value, 'the body of the Response');
      // Empty ones count as well: without an end, they would let nothing else run.
      length += Math.max(chunk.length, 1);
      if (length > MAX_BODY) throw tooLong();
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    cancel(error);
    throw error;
  }
}

/** Tells whoever fills a stream that nobody reads it any more. */
function cancelWith(reader, reason) {
  try {
    onRejection(reader.cancel(reason), ignore);
  } catch {
    // It is no stream of the platform's.
  }
}

function ignore() {}

module.exports = { answerOf, contentOf };
