'use strict';

/** Checks of arguments. Each throws an error that names the method, the value and what is accepted. */

/** Longest close reason in bytes of UTF-8 (RFC 6455 §5.5.1). */
const MAX_REASON_BYTES = 123;

/** A value in words for an error message. */
function describe(value) {
  if (typeof value === 'string') return JSON.stringify(value);
  if (value === null || typeof value === 'number' || typeof value === 'boolean')
    return String(value);
  if (typeof value === 'object') return `an instance of ${value.constructor?.name ?? 'Object'}`;
  return typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`;
}

function wrongType(method, argument, accepted, value) {
  return new TypeError(`${method}: ${argument} must be ${accepted}, got ${describe(value)}`);
}

function checkString(method, argument, value) {
  if (typeof value !== 'string') throw wrongType(method, argument, 'a string', value);
}

function checkFunction(method, argument, value) {
  if (typeof value !== 'function') throw wrongType(method, argument, 'a function', value);
}

/** The bytes of binary data as a view, or a TypeError for what is neither text nor binary. */
function binaryView(method, data) {
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data))
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const tag = Object.prototype.toString.call(data);
  if (tag === '[object ArrayBuffer]' || tag === '[object SharedArrayBuffer]') {
    return new Uint8Array(data);
  }
  throw wrongType(method, 'data', 'a string, Buffer, Uint8Array or ArrayBuffer', data);
}

/** A message as the native half takes it: a string or a Uint8Array. */
function checkMessage(method, data) {
  return typeof data === 'string' ? data : binaryView(method, data);
}

/** Codes that may be sent in a close frame (RFC 6455 §7.4). */
function isSendableCloseCode(code) {
  return (
    Number.isInteger(code) &&
    ((code >= 1000 && code <= 1003) ||
      (code >= 1007 && code <= 1014) ||
      (code >= 3000 && code <= 4999))
  );
}

function checkClose(code, reason) {
  if (typeof code !== 'number') throw wrongType('close', 'code', 'a number', code);
  if (!isSendableCloseCode(code)) {
    throw new RangeError(
      `close: code must be 1000-1003, 1007-1014 or 3000-4999, got ${String(code)}`,
    );
  }
  checkString('close', 'reason', reason);
  const bytes = Buffer.byteLength(reason);
  if (bytes > MAX_REASON_BYTES) {
    throw new RangeError(
      `close: reason must be at most ${MAX_REASON_BYTES} bytes of UTF-8, got ${bytes} bytes`,
    );
  }
}

module.exports = { binaryView, checkClose, checkFunction, checkMessage, checkString, wrongType };
