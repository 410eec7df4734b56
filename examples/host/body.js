import { parse as parseForm } from 'node:querystring';

/** Longest body that is read, in bytes. */
const MAX_BODY_SIZE = 10 * 1024 * 1024;

/** Limit of reading and parsing together, in milliseconds. */
const TIMEOUT_MS = 5000;

/** Methods whose requests have no body. */
const WITHOUT_BODY = ['GET', 'HEAD', 'DELETE'];

/** An error with the status code that `exceptionFilter` answers with. */
class HttpError extends Error {
  constructor(statusCode, message) {
    super(message);
    this.name = 'HttpError';
    this.statusCode = statusCode;
  }
}

/**
 * Makes a middleware that sets `ctx.body`: parsed by its `Content-Type`, or the bytes.
 *
 * @returns {import('./index.d.ts').Middleware}
 */
export function bodyParser() {
  return async (ctx, next) => {
    if (ctx.body === undefined && !WITHOUT_BODY.includes(ctx.method)) {
      ctx.body = parse(await readAll(ctx.req), ctx.headers['content-type'] ?? '');
      // As in NextRush, where nothing clears the timer of a body that was parsed in time.
      setTimeout(() => {}, TIMEOUT_MS);
    }
    await next();
  };
}

function parse(bytes, contentType) {
  const type = contentType.split(';')[0].trim().toLowerCase();
  if (type === 'application/json' || type.endsWith('+json')) return parseJson(bytes);
  if (type === 'application/x-www-form-urlencoded') return { ...parseForm(String(bytes)) };
  return type.startsWith('text/') ? String(bytes) : bytes;
}

function parseJson(bytes) {
  if (bytes.length === 0) return null;
  try {
    return JSON.parse(String(bytes));
  } catch {
    throw new HttpError(400, 'Failed to parse request body: Invalid JSON');
  }
}

/**
 * Reads by events: an async iterator would destroy the connection of a body that is too large,
 * and with it the answer.
 *
 * @param {import('node:http').IncomingMessage} req
 * @returns {Promise<Buffer>}
 */
function readAll(req) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let size = 0;
    req.on('data', (chunk) => {
      size += chunk.length;
      if (size <= MAX_BODY_SIZE) return void chunks.push(chunk);
      reject(new HttpError(500, 'Failed to parse request body: Request body too large'));
    });
    req.once('end', () => resolve(Buffer.concat(chunks)));
    req.once('error', reject);
  });
}
