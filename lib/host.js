'use strict';

const { applicationMethods } = require('./constants.js');
const { promiseOf } = require('./errors.js');
const { hears, tell } = require('./emitter.js');
const { hasConnections } = require('./node-internals.js');
const { describe } = require('./text.js');
const { UPGRADE } = require('./upgrade/upgrade.js');

/** On a method that a plugin of ours, from whatever copy of this package, has added. */
const IS_OURS = Symbol.for('nextrush-websocket.method.1');

/** On an application: its {@link Lane}. */
const LANE = Symbol.for('nextrush-websocket.lane.1');

/** On a request: what `ctx.wsRooms` is while it is being served. */
const ROOMS = Symbol.for('nextrush-websocket.rooms.1');

/** On a request: what was assigned to the fields of its context. */
const ASSIGNED = Symbol.for('nextrush-websocket.assigned.1');

/**
 * The fields of a context, as accessors that ask the request it is for. Contexts are pooled, by one
 * pool for all applications of a process: a value would be found on another user's request, which
 * may be one to an application that has no plugin at all.
 */
const FIELDS = {
  isWebSocket: field('isWebSocket', (req) => req[UPGRADE] !== undefined),
  ws: field('ws', (req) => req[UPGRADE]?.connection ?? undefined),
  wsRooms: field('wsRooms', (req) => req[ROOMS]),
};

function field(name, read) {
  return {
    get() {
      const { req } = this;
      if (!req) return undefined;
      const assigned = req[ASSIGNED];
      return assigned !== undefined && name in assigned ? assigned[name] : read(req);
    },
    set(value) {
      if (this.req) this.req[ASSIGNED] = { ...this.req[ASSIGNED], [name]: value };
    },
    enumerable: true,
    configurable: true,
  };
}

function addFields(ctx) {
  if (Object.getOwnPropertyDescriptor(ctx, 'wsRooms')?.get === FIELDS.wsRooms.get) return;
  Object.defineProperties(ctx, FIELDS);
}

/**
 * What all plugins of an application have in its middleware. Nothing is ever taken out of or put into
 * the middle of the application's list while a request is on its way through it: NextRush counts its
 * way, and would call a middleware twice, or leave out one that guards something.
 */
class Lane {
  /** The application's lists of middleware: its own arrays, if it has them. */
  #lists;
  /** Sees each context before other middleware does, by plugin. */
  #first = new Set();
  /** Requests between the lane's first middleware and their end. */
  #underWay = 0;
  /** Gates of plugins that are gone. */
  #idle = new Set();

  static of(app, isServing) {
    const lane = app[LANE] ?? new Lane(app, isServing);
    if (app[LANE] === undefined) Object.defineProperty(app, LANE, { value: lane });
    return lane;
  }

  constructor(app, isServing) {
    this.#lists = () => listsOf(app);
    this.use = (middleware) => app.use(middleware);
    this.use(this.#context);
    // It stays for good: the next plugin of the application finds its place kept.
    if (!isServing) this.#moveToFront();
  }

  #context = async (ctx, next) => {
    for (const see of this.#first) see(ctx);
    this.#underWay += 1;
    try {
      await next();
    } finally {
      this.#underWay -= 1;
      this.#sweep();
    }
  };

  /** Adds a plugin; returns what removes it again. */
  enter(see, gate) {
    this.#first.add(see);
    this.use(gate);
    return () => {
      this.#first.delete(see);
      this.#idle.add(gate);
      this.#sweep();
    };
  }

  #sweep() {
    if (this.#underWay > 0 || this.#idle.size === 0) return;
    for (const list of this.#lists()) {
      for (const gate of this.#idle) remove(list, gate);
    }
    this.#idle.clear();
  }

  /**
   * Moves the lane's middleware before all others, where the application keeps them in an array of
   * its own. Elsewhere it stays at the end of what was installed so far.
   */
  #moveToFront() {
    for (const list of this.#lists()) {
      if (remove(list, this.#context)) list.unshift(this.#context);
    }
  }
}

/** The application that a plugin is installed on, as far as the plugin touches it. */
class Host {
  #app;
  #name;
  /** By the plugin's names for them: made once, as a string that is made anew is slow to look up. */
  #eventNames = {};
  /** What takes back what was added. */
  #undo = [];
  /** Its plugin has been cleaned up. */
  #left = false;
  /** It may have requests under way that were there before the plugin. */
  #isServing = false;

  /**
   * @param app the application
   * @param {string} name of the plugin, for messages and events
   */
  constructor(app, name) {
    this.#app = app;
    this.#name = name;
    const taken = applicationMethods.find((method) => isForeign(app[method]));
    if (taken !== undefined) {
      throw new Error(
        `${name}.install: the application has a method ${taken}() of another package; install one WebSocket plugin per application, this one or the one that is built into NextRush`,
      );
    }
  }

  /** Adds the methods, each of which returns the application. */
  addMethods(methods) {
    const app = this.#app;
    for (const [name, method] of Object.entries(methods)) {
      method[IS_OURS] = true;
      define(app, name, { value: method, writable: true });
    }
    const { ws } = methods;
    // The plugin that is built into NextRush assigns this one first. One of the two would be dead.
    define(app, 'ws', {
      get: () => ws,
      set: (value) => {
        if (!this.#left) {
          throw new Error(
            `${this.#name} of nextrush-websocket: the application has its method ws() from this plugin; install one WebSocket plugin per application, this one or the one that is built into NextRush`,
          );
        }
        define(app, 'ws', { value, writable: true });
      },
    });
  }

  /**
   * Adds the plugin to the application's middleware, in two places: before all others every context
   * is told about WebSockets; where the plugin was installed, an upgrade request is turned into a
   * connection, so that what was installed before it can still refuse.
   *
   * @param plugin what an upgrade request sees of its plugin
   * @param {object} rooms what `ctx.wsRooms` is
   * @param {(ctx) => void} suggestUpgrade sees a request that is no upgrade
   * @returns whether the application has middleware
   */
  addMiddleware(plugin, rooms, suggestUpgrade) {
    if (typeof this.#app.use !== 'function') return false;
    const lane = Lane.of(this.#app, this.#isServing);
    const enhance = (ctx) => {
      const { req } = ctx;
      if (!req) return undefined;
      const upgrade = req[UPGRADE];
      if (upgrade === undefined || upgrade.plugin === plugin) req[ROOMS] = rooms;
      addFields(ctx);
      return upgrade;
    };
    const gate = async (ctx, next) => {
      const upgrade = this.#left ? undefined : enhance(ctx);
      // Refused: the client has its answer, and nothing is left to be served.
      if (upgrade?.plugin === plugin && !(await upgrade.accept())) return;
      await next();
    };
    const leave = lane.enter((ctx) => {
      if (enhance(ctx) === undefined && ctx.req) suggestUpgrade(ctx);
    }, gate);
    this.#undo.push(leave);
    return true;
  }

  /** Whether the application has a route for a request, as far as that can be asked. */
  hasRoute({ method, path }) {
    try {
      return Boolean(this.#app.internalRouter?.find(method, path));
    } catch {
      return false;
    }
  }

  onShutdown(listener) {
    const app = this.#app;
    if (typeof app.on !== 'function') return;
    app.on('shutdown', listener);
    this.#undo.push(() => app.off?.('shutdown', listener));
  }

  /**
   * Has `onServer` called with the application's server, now or once `listen` has made it. What it
   * throws later than this call and `listen` goes to `onError`.
   */
  findServer(onServer, onError) {
    const app = this.#app;
    const server = serverOf(app);
    if (server !== undefined) {
      this.#isServing = hasConnections(server);
      return onServer(server);
    }
    if (typeof app.listen !== 'function') {
      const got = typeof app.then === 'function' ? 'a promise: await it first' : describe(app);
      throw new TypeError(
        `${this.#name}.install: the application must have getServer(), server or listen(), got ${got}`,
      );
    }
    const { listen } = app;
    const own = Object.hasOwn(app, 'listen');
    const patched = (...args) => {
      const result = listen.apply(app, args);
      if (this.#left) return result;
      const made = isServer(result) ? result : serverOf(app);
      if (made !== undefined) onServer(made);
      else {
        const serve = (settled) => {
          const later = isServer(settled) ? settled : serverOf(app);
          if (later !== undefined && !this.#left) onServer(later);
        };
        promiseOf(result)?.then((settled) => {
          try {
            serve(settled);
          } catch (error) {
            onError(error);
          }
        }, ignore);
      }
      return result;
    };
    app.listen = patched;
    this.#undo.push(() => {
      if (app.listen !== patched) return;
      if (own) app.listen = listen;
      else delete app.listen;
    });
  }

  /** Tells the application of an event of the plugin. */
  tell(event, args, onError) {
    if (typeof this.#app.emit === 'function')
      tell(this.#app, this.#eventName(event), args, onError);
  }

  /** Whether {@link Host.tell} would call somebody. */
  hears(event) {
    return typeof this.#app.emit === 'function' && hears(this.#app, this.#eventName(event));
  }

  /** Whether somebody listens to errors of the plugin on the application. */
  hearsErrors() {
    return this.#app.listenerCount?.(this.#eventName('error')) > 0;
  }

  #eventName(event) {
    this.#eventNames[event] ??= `plugin:${this.#name}:${event}`;
    return this.#eventNames[event];
  }

  /** Takes back what was added, but for the methods, which may be called at any time. */
  leave(onError) {
    this.#left = true;
    for (const undo of this.#undo.splice(0)) {
      try {
        undo();
      } catch (error) {
        onError(error);
      }
    }
  }
}

/** A method of this name that another package has added, and not one of a plugin of ours. */
function isForeign(method) {
  return typeof method === 'function' && method[IS_OURS] !== true;
}

function define(object, name, descriptor) {
  Object.defineProperty(object, name, { ...descriptor, enumerable: true, configurable: true });
}

function ignore() {}

function isServer(value) {
  return (
    typeof value?.on === 'function' &&
    typeof value.listenerCount === 'function' &&
    typeof value.close === 'function' &&
    typeof value.address === 'function'
  );
}

function serverOf(app) {
  const candidates = [
    typeof app.getServer === 'function' ? app.getServer() : undefined,
    app.server,
  ];
  return candidates.find(isServer);
}

/** The arrays that an application has, among them that of its middleware. */
function listsOf(app) {
  return Object.values(app).filter(Array.isArray);
}

function remove(list, item) {
  const index = list.lastIndexOf(item);
  if (index >= 0) list.splice(index, 1);
  return index >= 0;
}

module.exports = { Host, isServer };
