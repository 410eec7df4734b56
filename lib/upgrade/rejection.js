'use strict';

/** Longest text of a client in a rejection, in UTF-16 units. */
const MAX_TEXT = 1024;

/**
 * What the event `rejected` tells of a refused request. Texts of the client are as it sent them, up to
 * {@link MAX_TEXT}: whoever shows them has to see to what is in them.
 *
 * @param {import('node:http').IncomingMessage} req user code may have made anything of it
 * @param {string} reason
 * @param {number} status
 * @param {(req: import('node:http').IncomingMessage) => unknown} addressOf who the client is
 */
function rejectionOf(req, reason, status, addressOf) {
  return {
    reason,
    status,
    origin: textOf(() => req.headers.origin),
    address: textOf(() => addressOf(req)),
    path: textOf(() => pathOf(req.url)) ?? '',
  };
}

/** Without the query, which tokens stand in. */
function pathOf(url) {
  const end = url.search(/[?#]/);
  return end < 0 ? url : url.slice(0, end);
}

function textOf(read) {
  try {
    const text = read();
    return typeof text === 'string' ? text.slice(0, MAX_TEXT) : undefined;
  } catch {
    return undefined;
  }
}

module.exports = { rejectionOf };
