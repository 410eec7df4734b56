'use strict';

const net = require('node:net');

/** Handles whose descriptor may be taken. A TLSSocket has a descriptor too, but writing to it
 * would be plain text on an encrypted connection: so this is a list of what is allowed. */
const ADOPTABLE_HANDLES = new Set(['TCP', 'Pipe']);

/** Everything goes over bridges: to find out whether a fault lies in the transport, and for tests. */
const BRIDGE_ONLY = process.env.NEXTRUSH_WEBSOCKET_TRANSPORT === 'bridge';

/** The descriptor of `socket` where it can be taken over, or `undefined`. */
function adoptableDescriptor(socket) {
  if (BRIDGE_ONLY || !(socket instanceof net.Socket) || socket.encrypted) return undefined;
  const handle = socket._handle;
  if (!ADOPTABLE_HANDLES.has(handle?.constructor.name) || !(handle.fd >= 0)) return undefined;
  // What Node still has to write, be it a response to an earlier request, goes first.
  const busy = socket._httpMessage || socket.writableLength > 0 || handle.writeQueueSize > 0;
  return busy ? undefined : handle.fd;
}

/**
 * Keeps what user code reads from `req.socket` after Node's socket is gone: Node remembers the
 * remote end once it has been read, but not the local one.
 */
function rememberAddresses(socket) {
  void socket.remoteAddress;
  // Only Node's own sockets have it, and only those forget.
  if (typeof socket._getsockname !== 'function') return;
  socket[LOCAL_NAME] = socket._getsockname();
  socket._getsockname = rememberedName;
}

const LOCAL_NAME = Symbol('nextrush-websocket local address');

/** What the getters `localAddress`, `localPort` and `localFamily` of a `net.Socket` ask. */
function rememberedName() {
  return this[LOCAL_NAME];
}

/** Takes the bytes that Node has read behind the request. */
function drain(socket, head) {
  const chunks = head.length > 0 ? [head] : [];
  for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) chunks.push(chunk);
  if (chunks.length === 0) return EMPTY;
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
}

const EMPTY = Buffer.alloc(0);

module.exports = { adoptableDescriptor, drain, rememberAddresses };
