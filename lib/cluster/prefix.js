'use strict';

/** The prefix of an adapter's channels, as option `cluster.prefix` has it. */

const DEFAULT_PREFIX = 'nextrush-ws';

/** Words with points between them: a broker may read more into points than a name. */
const PREFIX = /^(?=.{1,64}$)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;

/**
 * Reads `{ prefix }`, and nothing else.
 *
 * @param {string} method what errors call it
 */
function readPrefix(method, options) {
  // Only where something is wrong: a relay in a primary does without the native half.
  const { wrongType } = require('../check.js');
  const { describe } = require('../text.js');
  if (options === undefined) return DEFAULT_PREFIX;
  if (options === null || typeof options !== 'object') {
    throw wrongType(method, 'options', 'an object with the options as properties', options);
  }
  const unknown = Object.keys(options).find((name) => name !== 'prefix');
  if (unknown !== undefined) {
    throw new TypeError(`${method}: unknown option ${describe(unknown)}; accepted is "prefix"`);
  }
  const { prefix = DEFAULT_PREFIX } = options;
  if (typeof prefix === 'string' && PREFIX.test(prefix)) return prefix;
  const accepted = '1 to 64 letters, digits, "_" and "-", with single points between them';
  throw wrongType(method, 'option "prefix"', accepted, prefix);
}

module.exports = { readPrefix };
