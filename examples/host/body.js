/** Longest body that is read, in bytes. */
const MAX_BODY_SIZE = 1024 * 1024;

/** A body that cannot be accepted, with the status code that says so. */
export class BodyError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Reads and parses a JSON body.
 *
 * @param {import('node:http').IncomingMessage} req
 * @returns {Promise<unknown>} `undefined` where there is no JSON body.
 * @throws {BodyError} 413 for more than 1 MiB, 400 for what is not JSON.
 */
export async function readJsonBody(req) {
  if (!/^application\/json\b/i.test(req.headers['content-type'] ?? '')) return undefined;
  if (Number(req.headers['content-length']) > MAX_BODY_SIZE) throw tooLarge();

  const bytes = await readAll(req);
  if (bytes.length === 0) return undefined;
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new BodyError(400, 'Invalid JSON');
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
      if (size > MAX_BODY_SIZE) {
        req.pause();
        reject(tooLarge());
      } else {
        chunks.push(chunk);
      }
    });
    req.once('end', () => resolve(Buffer.concat(chunks)));
    req.once('error', () => reject(new BodyError(400, 'Request body incomplete')));
  });
}

function tooLarge() {
  return new BodyError(413, 'Request body larger than 1 MiB');
}
