import { randomUUID } from 'node:crypto';
import { parse as parseQuery } from 'node:querystring';

/** @typedef {import('./index.d.ts').Context} Context */

/** How many contexts wait for their next request; more than that are left to the collector. */
const POOL_SIZE = 100;

/** The framework's own fields. */
const FIELDS = /** @type {const} */ ([
  'req',
  'res',
  'method',
  'url',
  'path',
  'query',
  'params',
  'body',
  'headers',
  'id',
  'ip',
  'secure',
  'state',
]);

/**
 * Contexts are reused, as in NextRush: of a used one only the framework's own fields are reset.
 * What a plugin puts on a context is still there on a later request, of another user.
 */
class ContextPool {
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
    // Both believe whoever sends the request.
    const forwarded = String(req.headers['x-forwarded-for'] ?? '')
      .split(',')[0]
      .trim();
    ctx.ip = forwarded || (req.socket.remoteAddress ?? '');
    ctx.secure = req.headers['x-forwarded-proto'] === 'https' || 'encrypted' in req.socket;
    ctx.state = {};
    return ctx;
  }

  /** @param {Context} ctx */
  giveBack(ctx) {
    if (this.#idle.length >= POOL_SIZE) return;
    for (const field of FIELDS) ctx[field] = undefined;
    this.#idle.push(ctx);
  }
}

/** One pool for all applications of the process. */
export const contexts = new ContextPool();

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

  /** Like `send`, does nothing once the response has begun. */
  json(data) {
    if (this.headersSent) return;
    const text = JSON.stringify(data);
    this.writeHead(this.statusCode, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(text),
    });
    this.end(text);
  },

  send(data) {
    if (this.headersSent) return;
    if (typeof data === 'object' && !Buffer.isBuffer(data)) this.json(data);
    else this.end(data);
  },
};
