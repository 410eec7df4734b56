import { EventEmitter } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { BodyError, readJsonBody } from './body.js';
import { ContextPool, wrapContext } from './context.js';
import { Router } from './router.js';

/** Listening on this machine only is the safe choice for examples. */
const DEFAULT_HOST = '127.0.0.1';
const DEFAULT_PORT = 3000;

/**
 * @typedef {import('./index.d.ts').Context} Context
 * @typedef {import('./index.d.ts').Middleware} Middleware
 * @typedef {import('./index.d.ts').RouteHandler} RouteHandler
 */

/**
 * The application: an EventEmitter with a chain of middleware, a router after it, and a server
 * that exists from the start.
 */
export class Application extends EventEmitter {
  /** @type {Middleware[]} Run in this order, the router after the last one. */
  middleware = [];

  #router = new Router();
  #contexts = new ContextPool();
  #debug;
  #server;
  /** @type {Promise<void> | undefined} Set by the first call of `shutdown`. */
  #shutdown;

  /** Simple named events, apart from those of the application itself. */
  events = createEvents();
  /** Events as objects with a `type`. */
  eventSystem = createEventSystem();

  /** @param {import('./index.d.ts').Options} [options] */
  constructor({ debug = false, tls } = {}) {
    super();
    this.#debug = debug;
    this.#server = tls ? createTlsServer(tls) : createServer();
    this.#server.on('request', (req, res) => this.#handle(req, res));
  }

  /** @param {Middleware} middleware */
  use(middleware) {
    this.middleware.push(middleware);
    return this;
  }

  /** @param {string} path @param {RouteHandler} handler */
  get(path, handler) {
    return this.#route('GET', path, handler);
  }

  /** @param {string} path @param {RouteHandler} handler */
  post(path, handler) {
    return this.#route('POST', path, handler);
  }

  /** @param {string} path @param {RouteHandler} handler */
  put(path, handler) {
    return this.#route('PUT', path, handler);
  }

  /** @param {string} path @param {RouteHandler} handler */
  delete(path, handler) {
    return this.#route('DELETE', path, handler);
  }

  /** @param {string} path @param {RouteHandler} handler */
  patch(path, handler) {
    return this.#route('PATCH', path, handler);
  }

  /**
   * Starts to listen.
   *
   * @param {number} [port]
   * @param {string | (() => void)} [host] May be left out in favour of the callback.
   * @param {() => void} [callback] Called once the server listens.
   * @returns {import('node:http').Server}
   */
  listen(port = DEFAULT_PORT, host = DEFAULT_HOST, callback = undefined) {
    if (typeof host === 'function') return this.#server.listen(port, DEFAULT_HOST, host);
    return this.#server.listen(port, host, callback);
  }

  /** @returns {import('node:http').Server} The server, which exists before it listens. */
  getServer() {
    return this.#server;
  }

  /** Tells everyone by `shutdown`, stops the server, and tells everyone by `closed`. */
  shutdown() {
    this.#shutdown ??= new Promise((resolve) => {
      this.emit('shutdown');
      this.#server.close(() => {
        this.emit('closed');
        resolve();
      });
    });
    return this.#shutdown;
  }

  /** @param {string} method @param {string} path @param {RouteHandler} handler */
  #route(method, path, handler) {
    this.#router.add(method, path, handler);
    return this;
  }

  /**
   * Serves one request. The context goes back to the pool when the chain is through.
   *
   * @param {import('node:http').IncomingMessage} req
   * @param {import('node:http').ServerResponse} res
   */
  async #handle(req, res) {
    const ctx = this.#contexts.take(req, res);
    try {
      await this.#run(ctx, 0);
    } catch (error) {
      this.#answerError(ctx, error);
    } finally {
      this.#contexts.giveBack(ctx);
    }
  }

  /**
   * Runs the middleware from `index` on, then the router.
   *
   * @param {Context} ctx
   * @param {number} index
   * @returns {Promise<void>}
   */
  async #run(ctx, index) {
    const middleware = this.middleware[index];
    if (!middleware) return this.#answer(ctx);

    let called = false;
    const next = () => {
      if (called) return Promise.reject(new Error('next() called more than once'));
      called = true;
      return this.#run(ctx, index + 1);
    };
    await middleware(this.#debug ? wrapContext(ctx) : ctx, next);
  }

  /** @param {Context} ctx */
  async #answer(ctx) {
    const route = this.#router.find(ctx.method, ctx.path);
    if (route) {
      ctx.params = route.params;
      ctx.body = await readJsonBody(ctx.req);
      await route.handler(ctx);
    } else if (!ctx.res.headersSent) {
      ctx.res.status(404).json({ error: 'Not Found', method: ctx.method, path: ctx.path });
    }
  }

  /** @param {Context} ctx @param {unknown} error */
  #answerError(ctx, error) {
    const status = error instanceof BodyError ? error.status : 500;
    if (status === 500) {
      if (this.listenerCount('error') > 0) this.emit('error', error);
      else console.error(error);
    }
    if (!ctx.res.headersSent) {
      // The rest of a body that was refused is not read, so the connection cannot be used again.
      if (status === 413) ctx.res.set('connection', 'close');
      const message = status === 500 ? 'Internal Server Error' : error.message;
      ctx.res.status(status).json({ error: message });
    } else if (!ctx.res.writableEnded) {
      ctx.res.destroy();
    }
  }
}

/**
 * Makes an application.
 *
 * @param {import('./index.d.ts').Options} [options]
 */
export function createApp(options) {
  return new Application(options);
}

function createEvents() {
  const emitter = new EventEmitter();
  return {
    async emit(name, data) {
      emitter.emit(name, data);
    },
    on(name, handler) {
      emitter.on(name, handler);
      return () => emitter.off(name, handler);
    },
    once(name, handler) {
      return new Promise((resolve) => {
        emitter.once(name, (data) => {
          handler?.(data);
          resolve(data);
        });
      });
    },
    off(name) {
      emitter.removeAllListeners(name);
    },
  };
}

function createEventSystem() {
  const emitter = new EventEmitter();
  return {
    async emit(event) {
      emitter.emit(event.type, event);
    },
    subscribe(type, handler) {
      emitter.on(type, handler);
      return { unsubscribe: () => emitter.off(type, handler) };
    },
  };
}
