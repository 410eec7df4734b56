'use strict';

/** Checks of arguments. Each throws an error that names the method, the value and what is accepted. */

const { types } = require('node:util');

const { maxCloseReasonBytes, sendableCloseCodes } = require('./constants.js');
const { describe, printable } = require('./text.js');

function wrongType(method, argument, accepted, value) {
  return new TypeError(`${method}: ${argument} must be ${accepted}, got ${describe(value)}`);
}

function checkString(method, argument, value) {
  if (typeof value !== 'string') throw wrongType(method, argument, 'a string', value);
}

function checkFunction(method, argument, value) {
  if (typeof value !== 'function') throw wrongType(method, argument, 'a function', value);
}

/** Refuses what is no object with options, and options that do not exist. Returns the options. */
function checkOptions(method, options, names) {
  if (options === null || typeof options !== 'object') {
    throw wrongType(method, 'options', 'an object with the options as properties', options);
  }
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    const accepted = `accepted ${names.length > 1 ? 'are' : 'is'} ${listed(names, 'and')}`;
    const shown = JSON.stringify(printable(unknown));
    throw new TypeError(`${method}: unknown option ${shown}; ${accepted}`);
  }
  return options;
}

/** Refuses what would silently be left out, such as a middleware between path and handler. */
function checkCount(method, args, signature, hint) {
  const expected = signature.split(',').length;
  if (args.length <= expected) return;
  throw new TypeError(`${method} takes (${signature}), got ${args.length} arguments: ${hint}`);
}

/**
 * The bytes of binary data as a view, or a TypeError for what is neither text nor binary.
 *
 * Told by what a value is and not by what it says: a Proxy of a Buffer has no bytes of its own.
 * Shared memory is refused, as `WebSocket.send` of browsers does: another thread may be writing it.
 */
function binaryView(method, data, argument = 'data') {
  if (types.isUint8Array(data) && bufferOf.call(data) instanceof ArrayBuffer) return data;
  const view = ArrayBuffer.isView(data);
  const isDataView = types.isDataView(data);
  const buffer = view ? (isDataView ? bufferOfDataView : bufferOf).call(data) : data;
  if (!types.isArrayBuffer(buffer)) {
    const accepted = 'a string, Buffer, Uint8Array or ArrayBuffer';
    if (!types.isSharedArrayBuffer(buffer)) {
      const error = wrongType(method, argument, accepted, data);
      // What users of libraries hand over that send such values.
      if (/^an (object|array|empty array)$/.test(describe(data))) {
        error.message += '; JSON.stringify() makes a string of it';
      }
      throw error;
    }
    throw new TypeError(
      `${method}: ${argument} must be ${accepted}, got shared memory; copy it first, for example by Buffer.from(new Uint8Array(data))`,
    );
  }
  if (types.isUint8Array(data)) return data;
  return view ? new Uint8Array(buffer, data.byteOffset, data.byteLength) : new Uint8Array(buffer);
}

/** The memory of a view, whatever it says of itself. */
const bufferOf = getter(Object.getPrototypeOf(Uint8Array.prototype), 'buffer');
const bufferOfDataView = getter(DataView.prototype, 'buffer');

function getter(prototype, name) {
  return Object.getOwnPropertyDescriptor(prototype, name).get;
}

/** A message as the native half takes it: a string or a Uint8Array. */
function checkMessage(method, data, argument) {
  return typeof data === 'string' ? data : binaryView(method, data, argument);
}

/** Whether a code may be sent in a close frame (RFC 6455 §7.4). */
function isSendableCloseCode(code) {
  return (
    Number.isInteger(code) &&
    sendableCloseCodes.some(([first, last]) => code >= first && code <= last)
  );
}

/** As in `1000-1003, 1007-1014 or 3000-4999`. */
const ACCEPTED_CODES = sendableCloseCodes
  .map((range) => range.join('-'))
  .join(', ')
  .replace(/, (?=[^,]*$)/, ' or ');

/** Checks what a close frame is to say. */
function checkClose(method, code, reason) {
  if (typeof code !== 'number') throw wrongType(method, 'code', 'a number', code);
  if (!isSendableCloseCode(code)) {
    throw new RangeError(`${method}: code must be ${ACCEPTED_CODES}, got ${String(code)}`);
  }
  checkString(method, 'reason', reason);
  const bytes = Buffer.byteLength(reason);
  if (bytes > maxCloseReasonBytes) {
    throw new RangeError(
      `${method}: reason must be at most ${maxCloseReasonBytes} bytes of UTF-8, got ${bytes} bytes`,
    );
  }
}

/** The options of a message, each read once. */
function checkSendOptions(method, options) {
  if (options === null || typeof options !== 'object') {
    throw wrongType(method, 'options', 'an object', options);
  }
  const { compress, volatile } = options;
  for (const [name, value] of Object.entries({ compress, volatile })) {
    if (value !== undefined && typeof value !== 'boolean') {
      throw wrongType(method, `options.${name}`, 'a boolean', value);
    }
  }
  return { compress, volatile };
}

/** A value as JSON. What `JSON.stringify` throws is thrown. */
function checkJson(method, value) {
  const text = JSON.stringify(value);
  if (typeof text === 'string') return text;
  throw wrongType(method, 'value', 'what JSON can express', value);
}

/** The name of an event. */
function checkEvent(method, event, events) {
  if (events.includes(event)) return;
  throw wrongType(method, 'event', listed(events, 'or'), event);
}

/** Names in quotes, as in `"a", "b" or "c"`. */
function listed(names, word) {
  const quoted = names.map((name) => JSON.stringify(name));
  return quoted.length < 2
    ? quoted.join()
    : `${quoted.slice(0, -1).join(', ')} ${word} ${quoted.at(-1)}`;
}

module.exports = {
  binaryView,
  checkClose,
  checkCount,
  checkEvent,
  checkFunction,
  checkJson,
  checkMessage,
  checkOptions,
  checkSendOptions,
  checkString,
  wrongType,
};
