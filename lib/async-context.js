'use strict';

/**
 * In whose async context (`AsyncLocalStorage`) the listeners of user code run: in that of the code
 * that registered them, or in none. Events come from the native half in batches that belong to
 * nobody, so without this they would all run in the context that the engine was started in, which
 * is the first request's, and would see what any listener has entered since.
 */

const { AsyncLocalStorage, AsyncResource } = require('node:async_hooks');

const NAME = 'NEXTRUSHWEBSOCKET';

/**
 * Whether a context is a frame that a resource puts back when its scope ends (Node 24 and Bun), or
 * is kept on the resource that is being executed (up to Node 22), where `enterWith` leaves it.
 */
const FRAMES =
  process.versions.bun !== undefined ||
  // What copies contexts from resource to resource; options of Node choose between the two.
  typeof AsyncLocalStorage.prototype._propagate !== 'function';

/** Own symbols of an `AsyncResource` that are no context. */
const IDENTIFIERS = new Set(['async_id_symbol', 'trigger_async_id_symbol']);

/** The own symbols under which a resource keeps contexts. */
function contextKeys(resource) {
  return Object.getOwnPropertySymbols(resource).filter((key) => !IDENTIFIERS.has(key.description));
}

function carriesContext(resource) {
  // Bun does not show.
  if (process.versions.bun !== undefined) return true;
  return contextKeys(resource).some((key) => {
    const value = resource[key];
    if (!(value instanceof Map)) return value !== undefined;
    // A frame: one that `run` has left behind is there, with nothing in it.
    return [...value.values()].some((store) => store !== undefined);
  });
}

/** The resource of no context, whoever has loaded this file. */
const root = new AsyncResource(NAME);

function clear() {
  for (const key of contextKeys(root)) root[key] = undefined;
}
clear();

/** Something was entered in the scope of {@link outside}, and is still there. */
let entered = false;

/**
 * Stands for `root` while it is executed. Up to Node 22 `enterWith` writes to the resource that is
 * being executed, so this hears of it, and who enters nothing pays nothing. Elsewhere nothing is
 * written to it, and Bun's has private fields, which a Proxy does not.
 */
const outside = FRAMES ? root : new Proxy(root, { set: noteEntered });

function noteEntered(target, key, value) {
  entered = true;
  target[key] = value;
  return true;
}

/** Calls `act` in no context, also where a listener that has entered one is what calls this. */
function inNoContext(act) {
  const around = entered ? contextKeys(root).map((key) => [key, root[key]]) : [];
  leave();
  try {
    return outside.runInAsyncScope(act);
  } finally {
    leave();
    for (const [key, store] of around) outside[key] = store;
  }
}

function leave() {
  if (!entered) return;
  entered = false;
  clear();
}

/**
 * Calls a listener of user code in the scope of {@link inNoContext}, and leaves what it has
 * entered. A listener that {@link bind} has bound runs in its own context all the same.
 */
function callListener(listener, first, second) {
  if (FRAMES) return root.runInAsyncScope(listener, undefined, first, second);
  // Not `finally`, nor a call without need: they cost 5 to 8 % of the messages of a busy echo
  // (64 connections, 16 messages of 20 B in flight each).
  try {
    const result = listener(first, second);
    if (entered) leave();
    return result;
  } catch (error) {
    leave();
    throw error;
  }
}

/**
 * `listener` bound to the context of the caller, as by `AsyncResource.bind`; itself where there is
 * no context. By its property `listener` it is found by who removes it, as by emitters of Node.
 */
function bind(listener) {
  const resource = new AsyncResource(NAME);
  if (!carriesContext(resource)) return listener;
  const bound = boundTo(resource, listener);
  bound.listener = listener;
  return bound;
}

function boundTo(resource, listener) {
  // What a call enters is for that call only, so it gets a resource of its own where that matters.
  if (FRAMES) {
    return function (...args) {
      return resource.runInAsyncScope(listener, this, ...args);
    };
  }
  return function (...args) {
    return resource.runInAsyncScope(callOnce, this, listener, args);
  };
}

function callOnce(listener, args) {
  return new AsyncResource(NAME).runInAsyncScope(listener, this, ...args);
}

module.exports = { bind, callListener, inNoContext };
