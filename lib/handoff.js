'use strict';

const net = require('node:net');

/** Handles whose descriptor may be taken. A TLSSocket has a descriptor too, but writing to it
 * would be plain text on an encrypted connection: so this is a list of what is allowed. */
const ADOPTABLE_HANDLES = new Set(['TCP', 'Pipe']);

/** Why the descriptor of `socket` cannot be taken, or `null` where it can. */
function whyNotAdoptable(socket) {
  if (!(socket instanceof net.Socket)) return 'it is not a net.Socket';
  if (socket.destroyed) return 'it has been closed';
  const handle = socket._handle;
  if (socket.encrypted || !ADOPTABLE_HANDLES.has(handle?.constructor.name)) {
    return 'only plain TCP and unix sockets are supported so far';
  }
  if (!(handle.fd >= 0)) return 'it has no descriptor on this platform';
  if (socket._httpMessage)
    return 'the response to an earlier pipelined request is still being sent';
  if (socket.writableLength > 0 || handle.writeQueueSize > 0) return 'it has unsent data';
  return null;
}

/**
 * Keeps what user code reads from `req.socket` after Node's socket is gone: Node remembers the
 * remote end once it has been read, the local end has to be stored.
 */
function rememberAddresses(socket) {
  void socket.remoteAddress;
  const { localAddress, localPort, localFamily } = socket;
  for (const [name, value] of Object.entries({ localAddress, localPort, localFamily })) {
    Object.defineProperty(socket, name, { value, configurable: true, enumerable: true });
  }
}

/** Stops Node from reading and returns the bytes that it has read behind the request. */
function drain(socket, head) {
  const chunks = head.length > 0 ? [head] : [];
  for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) chunks.push(chunk);
  socket._handle.readStop();
  if (chunks.length === 0) return EMPTY;
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
}

const EMPTY = Buffer.alloc(0);

module.exports = { drain, rememberAddresses, whyNotAdoptable };
