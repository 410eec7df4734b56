'use strict';

/** Where lines about what happens go: option `logger`, or the console. */

const { bind, callListener, inNoContext } = require('./async-context.js');
const { wrongType } = require('./check.js');
const { onRejection } = require('./errors.js');
const { optionTables } = require('./native.js');

/** From what is told of each connection to what somebody has to look at. */
const LEVELS = ['debug', 'info', 'warn', 'error'];

/**
 * One line for a logger.
 *
 * @typedef {object} Line
 * @property {'debug' | 'info' | 'warn' | 'error'} level
 * @property {string} message printable, and of bounded length, whatever clients have sent
 * @property {object} fields `plugin`, and what else there is to be told apart
 */

/**
 * What writes a {@link Line}, as option `logger` says. What the logger throws, or rejects with, goes to
 * `onFailure` with the line.
 *
 * @param value the option, given
 * @param {string} where whose option it is, for errors
 * @param {(line: Line) => void} onFailure
 * @returns {(line: Line) => void}
 * @throws {TypeError} where that is no logger
 */
function readLogger(value, where, onFailure) {
  const write = bind(writerOf(value, where));
  return (line) => {
    const fail = () => onFailure(line);
    try {
      inNoContext(() => {
        onRejection(
          callListener(() => write(line)),
          fail,
        );
      });
    } catch {
      fail();
    }
  };
}

function writerOf(value, where) {
  const isObject = typeof value === 'object' && value !== null;
  const isFunction = typeof value === 'function';
  if ((isObject || isFunction) && LEVELS.every((level) => typeof value[level] === 'function')) {
    // Loggers with a `log` take a text first, as the console does; all others, as pino, what goes with it.
    return typeof value.log === 'function' ? asConsole(value) : asPino(value);
  }
  if (isFunction) return ({ level, message, fields }) => value(level, message, fields);
  const { accepted } = optionTables().options.find(({ name }) => name === 'logger');
  throw wrongType(where, 'option "logger"', accepted, value);
}

function asPino(logger) {
  return ({ level, message, fields }) => logger[level](fields, message);
}

function asConsole(logger) {
  return ({ level, message, fields: { plugin, err } }) => {
    const text = `[${plugin}] ${message}`;
    return err === undefined ? logger[level](text) : logger[level](text, err);
  };
}

module.exports = { readLogger };
