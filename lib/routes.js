'use strict';

const { checkCount, checkFunction, checkString, wrongType } = require('./check.js');
const { inThisRealm } = require('./errors.js');

/**
 * The routes of a plugin: who handles their connections, and what holds for them where `ws` was told
 * something of its own. `types/routes.d.ts` documents those options.
 *
 * The native half has checked the options, and keeps what it decides by; here is what runs user code.
 */
class Routes {
  #native;
  /** By the number that the native half knows a route by. */
  #routes = [];
  /** What holds where a route says nothing. */
  #ofPlugin;
  /** Some route says something of its own about who is let in. */
  #someDecide = false;

  /**
   * @param native the native plugin
   * @param options those of the plugin, which have been checked
   */
  constructor(native, options) {
    this.#native = native;
    this.#ofPlugin = {
      verifyClient: options?.verifyClient,
      protocols: options?.protocols,
      patterns: patternsOf(options?.allowOrigins, native.regexpsForJavascript),
    };
  }

  /**
   * Takes the arguments of `ws` apart.
   *
   * @returns {[path: string, options: object | undefined, handler: Function]}
   */
  static argumentsOf(args) {
    checkCount('ws', args, 'path, options, handler', 'middleware belongs into option "use"');
    const [path] = args;
    checkString('ws', 'path', path);
    if (args.length < 3) {
      checkFunction('ws', 'handler', args[1]);
      return [path, undefined, args[1]];
    }
    const [, options, handler] = args;
    if (typeof options === 'function') {
      const accepted = 'an object with the options as properties';
      const error = wrongType('ws', 'options', accepted, options);
      error.message += '; middleware belongs into wsUse(), or into option "use" for one route';
      throw error;
    }
    checkFunction('ws', 'handler', handler);
    return [path, options, handler];
  }

  /** Adds a route. Throws what is wrong with it. */
  add(path, options, handler) {
    const ofPlugin = this.#ofPlugin;
    // Read first, as getters may throw: what is wrong with these is told by the native half.
    const { verifyClient, protocols, allowOrigins, use } = options ?? {};
    const middleware = Array.isArray(use) ? [...use] : NONE;
    const { number, regexps } = inThisRealm(() => this.#native.ws(path, options));
    const rules = {
      verifyClient: verifyClient ?? ofPlugin.verifyClient,
      protocols: protocols ?? ofPlugin.protocols,
      patterns: regexps ? [] : ofPlugin.patterns,
    };
    this.#routes[number] = { handler, middleware, rules };
    this.#someDecide ||= verifyClient !== undefined || protocols !== undefined;
    if (regexps) rules.patterns = patternsOf(allowOrigins, regexps);
  }

  /** Who handles the connections of a route: its own middleware, and then its handler, if it has one. */
  handlersOf(number) {
    return this.#routes[number] ?? UNHANDLED;
  }

  /** Whether a RegExp that only JavaScript can run matches an origin on a route. */
  matchesPattern = (origin, number) => {
    const { patterns } = this.#rulesOf(number);
    return patterns.some((pattern) => {
      pattern.lastIndex = 0;
      return pattern.test(origin);
    });
  };

  /** What decides on a handshake, which is named by its number: `verifyClient` and `protocols`. */
  rulesFor(handshake) {
    // Most need not ask which route it is.
    if (!this.#someDecide) return this.#ofPlugin;
    return this.#rulesOf(this.#native.routeOf(handshake));
  }

  #rulesOf(number) {
    return this.#routes[number]?.rules ?? this.#ofPlugin;
  }
}

const NONE = [];

/** A path that is served and has no handler. */
const UNHANDLED = { handler: undefined, middleware: NONE };

/** Those of `allowOrigins` that JavaScript has to run, by index. */
function patternsOf(allowOrigins, indices) {
  return indices.map((index) => {
    const { source, flags } = allowOrigins[index];
    // Without the flag that makes test() start where it stopped the last time.
    return new RegExp(source, flags.replace('g', ''));
  });
}

module.exports = { Routes };
