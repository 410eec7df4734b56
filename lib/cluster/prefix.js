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
  if (options === undefined) return DEFAULT_PREFIX;
  // Only now: a relay in a primary, which mostly has none, does without the native half.
  const { checkOptions, wrongType } = require('../check.js');
  const { prefix = DEFAULT_PREFIX } = checkOptions(method, options, ['prefix']);
  if (typeof prefix === 'string' && PREFIX.test(prefix)) return prefix;
  const accepted = '1 to 64 letters, digits, "_" and "-", with single points between them';
  throw wrongType(method, 'option "prefix"', accepted, prefix);
}

module.exports = { readPrefix };
