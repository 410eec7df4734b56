import { randomUUID } from 'node:crypto';
import { parse as parseQuery } from 'node:querystring';

/** @typedef {import('./index.d.ts').Context} Context */

/** How many contexts wait for their next request; more than that are left to the collector. */
const POOL_SIZE = 100;

/**
 * Contexts are reused, as in NextRush: of a used one only the framework's own fields are set anew.
 * What a plugin puts on a context is still there on a later request, of another user.
 */
export class ContextPool {
  /** @type {Context[]} Those that no request uses at the moment. */
  #idle = [];

  /**
   * @param {import('node:http').IncomingMessage} req
   * @param {import('node:http').ServerResponse} res
   * @returns {Context}
   */
  take(req, res) {
    const ctx = this.#idle.pop() ?? {};
    const url = req.url ?? '/';
    const questionMark = url.indexOf('?');
    ctx.req = req;
    ctx.res = enhanceResponse(res);
    ctx.method = req.method ?? 'GET';
    ctx.url = url;
    ctx.path = questionMark < 0 ? url : url.slice(0, questionMark);
    ctx.query = questionMark < 0 ? {} : parseQuery(url.slice(questionMark + 1));
    ctx.params = {};
    ctx.body = undefined;
    ctx.headers = req.headers;
    ctx.id = randomUUID();
    ctx.ip = req.socket.remoteAddress ?? '';
    ctx.secure = 'encrypted' in req.socket;
    ctx.state = {};
    return ctx;
  }

  /** @param {Context} ctx */
  giveBack(ctx) {
    if (this.#idle.length < POOL_SIZE) this.#idle.push(ctx);
  }
}

/**
 * Another object for the same context, as NextRush hands to middleware in its debug mode:
 * everything that is read or set goes through, but the identity is not the same.
 *
 * @param {Context} ctx
 * @returns {Context}
 */
export function wrapContext(ctx) {
  return new Proxy(ctx, {});
}

/**
 * Adds the chainable methods to a response.
 *
 * @param {import('node:http').ServerResponse} res
 */
function enhanceResponse(res) {
  return Object.assign(res, responseMethods);
}

const responseMethods = {
  status(code) {
    this.statusCode = code;
    return this;
  },

  set(name, value) {
    this.setHeader(name, value);
    return this;
  },

  json(data) {
    return sendAs(this, 'application/json; charset=utf-8', JSON.stringify(data) ?? 'null');
  },

  send(data) {
    if (typeof data === 'string') return sendAs(this, 'text/plain; charset=utf-8', data);
    if (Buffer.isBuffer(data)) return sendAs(this, 'application/octet-stream', data);
    return this.json(data);
  },
};

function sendAs(res, contentType, data) {
  if (!res.hasHeader('content-type')) res.setHeader('content-type', contentType);
  res.setHeader('content-length', Buffer.byteLength(data));
  res.end(data);
  return res;
}
