import { EventEmitter } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { bodyParser } from './body.js';
import { contexts, wrapContext } from './context.js';
import { EventSystem, Events } from './events.js';
import { Router } from './router.js';

/** Listening on this machine only is the safe choice for examples. */
const DEFAULT_HOST = '127.0.0.1';
const DEFAULT_PORT = 3000;

/** How long `shutdown` waits for the server to close, in milliseconds. */
const SHUTDOWN_LIMIT_MS = 3000;

/** On the middleware that `exceptionFilter` makes. */
const IS_FILTER = Symbol('exception filter');

/**
 * @typedef {import('./index.d.ts').Context} Context
 * @typedef {import('./index.d.ts').Middleware} Middleware
 * @typedef {import('./index.d.ts').RouteHandler} RouteHandler
 */

/**
 * The application: an EventEmitter with a chain of middleware, a router that runs when the chain is
 * through, and a server that exists from the start.
 */
export class Application extends EventEmitter {
  /** @type {Middleware[]} Run in this order. */
  middleware = [];

  #router = new Router();
  #debug;
  #server;
  #isShuttingDown = false;

  /** Events as objects with a `type`. Keeps the process alive until its own `shutdown`. */
  eventSystem = new EventSystem();
  /** Simple named events, apart from those of the application itself. */
  events = new Events(this.eventSystem);

  /** @param {import('./index.d.ts').Options} [options] */
  constructor({ debug = false, tls } = {}) {
    super();
    this.#debug = debug;
    this.#server = tls ? createTlsServer(tls) : createServer();
    this.#server.on('request', (req, res) => this.#handle(req, res));
  }

  /** Adds a middleware. Anything that is not a function is ignored. */
  use(middleware) {
    if (typeof middleware === 'function') this.middleware.push(middleware);
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

  /** @returns {Middleware} Parses bodies by their `Content-Type`, as the next two do. */
  json() {
    return bodyParser();
  }

  /** @returns {Middleware} */
  urlencoded() {
    return bodyParser();
  }

  /** @returns {Middleware} */
  text() {
    return bodyParser();
  }

  /** @returns {Middleware} Answers errors of middleware and routes with the status they carry. */
  exceptionFilter() {
    const filter = async (ctx, next) => {
      try {
        await next();
      } catch (error) {
        const { name, message, statusCode } = error;
        const known = statusCode ?? 500;
        ctx.res.status(known).json({ error: { name, message, statusCode: known } });
      }
    };
    return Object.assign(filter, { [IS_FILTER]: true });
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

  /**
   * Tells everyone by `shutdown`, stops the server, and tells everyone by `closed`. Its timer goes
   * on when the server has closed, and the event system is left running.
   */
  async shutdown() {
    if (this.#isShuttingDown) return;
    this.#isShuttingDown = true;
    this.emit('shutdown');
    await new Promise((resolve) => {
      this.#server.close(() => {
        this.emit('closed');
        resolve();
      });
      setTimeout(() => {
        this.#server.unref();
        resolve();
      }, SHUTDOWN_LIMIT_MS);
    });
  }

  /** @param {string} method @param {string} path @param {RouteHandler} handler */
  #route(method, path, handler) {
    this.#router.add(method, path, handler);
    return this;
  }

  /**
   * Serves one request. The context goes back to the pool when the route is through.
   *
   * @param {import('node:http').IncomingMessage} req
   * @param {import('node:http').ServerResponse} res
   */
  async #handle(req, res) {
    const ctx = contexts.take(req, res);
    const serve = async () => {
      await this.#runMiddleware(ctx);
      // Also where a middleware has not called next(): only its own chain ends there.
      await this.#runRoute(ctx);
    };
    const filter = this.middleware.find((each) => IS_FILTER in each);
    try {
      await (filter ? filter(ctx, serve) : serve());
    } catch (error) {
      console.error('Request handling error:', error);
      if (!res.headersSent) {
        res.statusCode = 500;
        res.end('Internal Server Error');
      }
    } finally {
      contexts.giveBack(ctx);
    }
  }

  /** @param {Context} ctx */
  async #runMiddleware(ctx) {
    let index = 0;
    const next = async () => {
      const middleware = this.middleware[index++];
      await middleware?.(this.#debug ? wrapContext(ctx) : ctx, next);
    };
    await next();
  }

  /** @param {Context} ctx */
  async #runRoute(ctx) {
    const route = this.#router.find(ctx.method, ctx.path);
    if (route) {
      ctx.params = Object.freeze(route.params);
      await route.handler(ctx);
    } else {
      ctx.res.status(404).json({ error: 'Not Found' });
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
