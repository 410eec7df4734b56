'use strict';

/**
 * Values as text for logs and error messages. What a client has sent may be in any of them, so what
 * comes out of here is one printable line of bounded length, and nothing in here throws.
 */

const { shownCharacters } = require('./constants.js');

/**
 * Control and format characters (line ends, escapes, directions and zero widths among them),
 * separators other than the space, unassigned code points and whatever else is invisible.
 */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}/gu;

/** Text on one line: what cannot be seen is escaped, and what exceeds `limit` is left out. */
function printable(text, limit = shownCharacters) {
  const whole = typeof text === 'string' ? text : describe(text);
  const shown = whole.slice(0, limit).replace(UNPRINTABLE, escapeCharacter);
  return whole.length > limit ? `${shown}...` : shown;
}

function escapeCharacter(character) {
  return `\\u{${character.codePointAt(0).toString(16)}}`;
}

/** A value in words for an error message. `src/binding/describe.rs` uses the same words. */
function describe(value) {
  switch (typeof value) {
    case 'string':
      return `"${printable(value).replaceAll('"', '\\"')}"`;
    case 'undefined':
    case 'number':
    case 'boolean':
      return String(value);
    case 'object':
      return value === null ? 'null' : describeObject(value);
    default:
      return `a ${typeof value}`;
  }
}

/** By the prototype, as an object that was made from a client's JSON may say anything of itself. */
function describeObject(value) {
  try {
    if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array';
    const name = Object.getPrototypeOf(value)?.constructor?.name;
    if (typeof name !== 'string' || name === '' || name === 'Object') return 'an object';
    return `an instance of ${printable(name)}`;
  } catch {
    // A revoked Proxy, or one whose traps throw.
    return 'an object that cannot be inspected';
  }
}

module.exports = { describe, printable };
