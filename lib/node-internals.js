'use strict';

/**
 * Everything that touches what Node keeps to itself: private fields, patched methods, events that
 * are emitted anew. What a new version of Node may break is in here.
 */

const http = require('node:http');
const net = require('node:net');

const { bind } = require('./async-context.js');
const { pumpOf } = require('./tls/secure-socket.js');

const NODE_MAJOR = Number.parseInt(process.versions.node, 10);

/**
 * In Node 20 V8 copies the options of a `net.Socket` in such a way that each copy gets hidden classes
 * of its own when it is added to, and no inline cache ever fits: 6 µs of the 7 that a socket takes.
 * Once it has seen options of many kinds, it copies them in the plain way.
 */
function showOptionsOfManyKinds() {
  for (let kind = 0; kind < 32; kind++) new net.Socket({ [`kind${kind}`]: true });
}
if (NODE_MAJOR < 22) showOptionsOfManyKinds();

/** Handles whose descriptor may be taken. A TLSSocket has a descriptor too, but writing to it
 * would be plain text on an encrypted connection: so this is a list of what is allowed. */
const ADOPTABLE_HANDLES = new Set(['TCP', 'Pipe']);

/** Everything goes over bridges: to find out whether a fault lies in the transport, and for tests. */
const BRIDGE_ONLY = process.env.NEXTRUSH_WEBSOCKET_TRANSPORT === 'bridge';

/** The descriptor of a socket of Node's, or `undefined` where it may not be taken. */
function descriptorOf(socket) {
  if (BRIDGE_ONLY || !(socket instanceof net.Socket)) return undefined;
  const handle = socket._handle;
  return ADOPTABLE_HANDLES.has(handle?.constructor.name) && handle.fd >= 0 ? handle.fd : undefined;
}

/** The descriptor of `socket` where `engine` can take it over, or `undefined`. */
function adoptableDescriptor(socket, engine) {
  const fd = descriptorOf(socket);
  // Where this very engine speaks TLS, the descriptor has the plaintext.
  if (fd === undefined || (socket.encrypted && pumpOf(socket, engine) === undefined)) {
    return undefined;
  }
  // What Node still has to write, be it a response to an earlier request, goes first.
  const { writeQueueSize } = socket._handle;
  const busy = socket._httpMessage || socket.writableLength > 0 || writeQueueSize > 0;
  return busy ? undefined : fd;
}

/** The descriptor of a socket that a server has just accepted, where it can be taken over. */
function acceptedDescriptor(socket) {
  const fd = descriptorOf(socket);
  // Who has looked at what a client says, and has given it to the server then, has put that back.
  return fd === undefined || socket.readableLength > 0 ? undefined : fd;
}

/** Has Node read nothing of it. Returns the addresses of the two ends, which only it knows. */
function takeAccepted(socket) {
  stopReading(socket);
  return { peer: socket._getpeername(), own: socket._getsockname() };
}

/** Has the getters of a socket say that its peer is another one than the one that it is connected to. */
function showPeer(socket, { address, family, port }) {
  // What Node remembers of the one that it has asked for.
  socket._peername = { address, family, port };
  socket[PEER_IS_SHOWN] = true;
}

/**
 * Whether the peer of a socket may have another address than its descriptor says: {@link showPeer} has been
 * called, or user code has given the socket a `remoteAddress` of its own.
 */
function isPeerShown(socket) {
  return socket[PEER_IS_SHOWN] === true || Object.hasOwn(socket, 'remoteAddress');
}

/** The same for every copy of this package in the process, as one may take what another has read. */
const PEER_IS_SHOWN = Symbol.for('nextrush-websocket.peer.1');

/** Has the getters of a socket that encrypts say what those of the socket below it do. */
function showPeerOfBelow(socket) {
  const below = socket._parent;
  if (below?.[PEER_IS_SHOWN]) showPeer(socket, below._peername);
}

/**
 * Closes Node's descriptor of a connection that its server has accepted and that goes on without it. The
 * server goes on counting it, until {@link giveToServer} or {@link leavePlace}.
 */
function leaveToEngine(socket) {
  socket._server = null;
  socket.destroy();
}

/** Has a server serve a connection in the place of the one that it accepted. */
function giveToServer(server, socket) {
  socket.server = server;
  socket._server = server;
  server.emit('connection', socket);
}

/** A connection that a server has accepted is over. */
function leavePlace(server) {
  server._connections -= 1;
  server._emitCloseIfDrained();
}

/** Whether a socket is closed while there is something that it has not sent. */
function isCutShort(socket) {
  return socket.writableLength > 0 || Boolean(socket._httpMessage);
}

/** Has Node read nothing more from a socket whose descriptor is about to be taken. */
function stopReading(socket) {
  socket._handle.readStop();
}

/**
 * Keeps what user code reads from `req.socket` after Node's socket is gone: Node remembers the
 * remote end once it has been read, but not the local one. Returns the address of the remote end, if
 * there is one.
 */
function rememberAddresses(socket) {
  const { remoteAddress } = socket;
  // Only Node's own sockets have it, and only those forget.
  if (typeof socket._getsockname === 'function') {
    socket[LOCAL_NAME] = socket._getsockname();
    socket._getsockname = rememberedName;
  }
  return typeof remoteAddress === 'string' ? remoteAddress : undefined;
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

/**
 * Closes Node's descriptor of a connection that goes on without it. The `close` event waits: it
 * tells of the end of the connection, as on every other transport, and not of the hand-over.
 *
 * @param {(socket: net.Socket) => void} keep called once somebody listens to `close`, with the
 *   socket to {@link emitClose} in the end; nobody keeps it otherwise
 */
function closeDescriptor(socket, keep) {
  const withheld = new Withheld(socket, keep);
  if (socket.listenerCount('close') > 0) withheld.keep();
  else socket.on('newListener', keepIfClose);
  socket.destroy();
}

/** The `close` event of one socket. */
class Withheld {
  #socket;
  #keep;
  /** An `emit` that the socket has of its own, of an APM for example. */
  #own;
  /** Node has emitted it. */
  #due = false;
  #isOver = false;

  constructor(socket, keep) {
    this.#socket = socket;
    this.#keep = keep;
    this.#own = Object.hasOwn(socket, 'emit') ? socket.emit : undefined;
    socket[WITHHELD] = this;
    socket.emit = emitButClose;
  }

  keep() {
    this.#socket.removeListener('newListener', keepIfClose);
    this.#keep(this.#socket);
  }

  pass(self, args) {
    if (args[0] === 'close' && !this.#isOver) {
      this.#due = true;
      return false;
    }
    // Looked up at each call, as an APM may patch it at any time.
    const emit = this.#own ?? Object.getPrototypeOf(this.#socket).emit;
    return emit.apply(self, args);
  }

  emit() {
    const socket = this.#socket;
    this.#isOver = true;
    // Where somebody has patched it again since, ours stays below theirs and only passes calls on.
    if (socket.emit === emitButClose) {
      if (this.#own === undefined) delete socket.emit;
      else socket.emit = this.#own;
    }
    if (this.#due) socket.emit('close', false);
  }
}

/** `emit` of a socket whose `close` is withheld. One for all, as there is one socket per upgrade. */
function emitButClose(...args) {
  return this[WITHHELD].pass(this, args);
}

/** Listens to `newListener` of such a socket. */
function keepIfClose(event) {
  if (event === 'close') this[WITHHELD].keep();
}

const WITHHELD = Symbol('nextrush-websocket withheld close event');

/** Emits the `close` that {@link closeDescriptor} has withheld. */
function emitClose(socket) {
  socket[WITHHELD].emit();
}

/**
 * Puts `around` in the place of a method of `object`, until the returned function is called. Where
 * somebody has patched the method again since, ours stays below theirs and only passes calls on.
 *
 * @param {(original: () => Function, self: unknown, args: unknown[]) => unknown} around is given
 *   the method that would be called otherwise: asked at each call, as an APM may patch it any time
 */
function patchMethod(object, name, around) {
  const own = Object.hasOwn(object, name) ? object[name] : undefined;
  const original = () => own ?? Object.getPrototypeOf(object)[name];
  let undone = false;
  const patched = function (...args) {
    return undone ? original().apply(this, args) : around(original, this, args);
  };
  object[name] = patched;
  return () => {
    undone = true;
    if (object[name] !== patched) return;
    if (own === undefined) delete object[name];
    else object[name] = own;
  };
}

/**
 * Calls `proceed` once the responses to earlier, pipelined requests of a connection are out: at once
 * where there are none. Node has them on the connection itself, which the socket of the upgrade may
 * be a stream around.
 */
function afterEarlierResponses(req, proceed) {
  const earlier = req.socket?._httpMessage;
  if (!earlier) return proceed();
  // Bound, as the earlier request may be another user's where a proxy shares its connections.
  const again = bind(() => afterEarlierResponses(req, proceed));
  earlier.once('close', () => setImmediate(again));
}

/**
 * Serves a request, which Node took for an upgrade, as if it were none: what has come of it and
 * what comes behind is parsed once more, without the word that made it one.
 *
 * @param {() => void} onHandOver called when the socket is the server's again
 */
function serveAsHttp(server, req, socket, head, onHandOver) {
  afterEarlierResponses(req, () => {
    if (socket.destroyed) return;
    onHandOver();
    socket.unshift(Buffer.concat([Buffer.from(requestHead(req), 'latin1'), head]));
    http._connectionListener.call(server, socket);
  });
}

/**
 * Whether a request has so many headers that Node may have left some out. Its parser has not: what it
 * knows of the body may be in none that we see.
 */
function mayLackHeaders({ maxHeadersCount }, { rawHeaders }) {
  return rawHeaders.length >= 2 * (maxHeadersCount || NODE_MAX_HEADERS);
}

/** Headers that Node keeps where `server.maxHeadersCount` says nothing. */
const NODE_MAX_HEADERS = 1000;

/** The head of a request whose `Connection` header does not ask for an upgrade. */
function requestHead({ method, url, httpVersion, rawHeaders }) {
  let text = `${method} ${url} HTTP/${httpVersion}\r\n`;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    let value = rawHeaders[index + 1];
    if (name.toLowerCase() === 'connection') {
      const options = value
        .split(',')
        .filter((option) => option.trim().toLowerCase() !== 'upgrade');
      if (options.length === 0) continue;
      value = options.join(',').trim();
    }
    text += `${name}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}

const BODY_IS_APART = NODE_MAJOR >= 26;

/** Whether a server has connections, and so perhaps requests that are under way. */
function hasConnections(server) {
  return server._connections !== 0;
}

/**
 * From Node 26 on the body of an upgrade request is not on its socket any more, so that nothing can be
 * parsed once more. There a server is asked about each request whether it is an upgrade. (It is so from
 * Node 22 on, but what is pipelined behind one that is none gets lost then.)
 *
 * @returns the function that takes it back, or `undefined` for an older Node
 */
function decideUpgrades(server, isUpgrade) {
  const key = 'shouldUpgradeCallback';
  if (!BODY_IS_APART || typeof server[key] !== 'function') return undefined;
  return patchMethod(server, key, (original, self, args) => {
    return isUpgrade(args[0]) && original().apply(self, args);
  });
}

/**
 * Gives a request its end, which not every version of Node does for an upgrade. Without one a body
 * parser would wait for ever, and by reading would have Node read and drop the first frames.
 */
function endRequest(req) {
  req.complete = true;
  req.push(null);
}

/**
 * Forgets the head of a response that `writeHead` has made and nothing has sent yet, so that another one
 * can be made. Returns false where it is too late, or cannot be done.
 */
function takeBackHead(response) {
  if (response._headerSent !== false) return false;
  response._header = null;
  return true;
}

/** A response that writes to the socket it is assigned. */
function responseTo(req) {
  if (!process.versions.bun) return new http.ServerResponse(req);
  // Bun's goes past that, to the connection of the request. So it is not told of the request at first.
  const { method, httpVersionMajor, httpVersionMinor, headers } = req;
  const response = new http.ServerResponse({ method, httpVersionMajor, httpVersionMinor, headers });
  response.req = req;
  return response;
}

/**
 * Whatever the router makes of an upgrade request after the fact, for example a 404, the client has
 * been answered with 101: so that is what a logging middleware is to see.
 */
function showAsUpgraded(response) {
  Object.defineProperty(response, 'statusCode', SWITCHING_PROTOCOLS);
}

/** One for all, so that V8 gives all these responses the same shape. */
const SWITCHING_PROTOCOLS = { get: () => 101, set: () => {} };

/**
 * Takes a stream that goes on as a WebSocket connection away from everyone else. What user code writes
 * to `req.socket` would get between two frames; the end of the peer's side does not end ours, as its
 * close frame may still have to be answered; and an idle connection ends by its heartbeat, and by
 * nothing else. Returns the stream's own `write` and `end`, which nobody else finds any more.
 */
function takeStream(stream) {
  const { write, end } = stream;
  stream.write = writeNothing;
  stream.end = endNothing;
  stream.allowHalfOpen = true;
  stream.setTimeout?.(0);
  stream.setNoDelay?.(true);
  return { write, end };
}

/** `write` of a stream that user code has no say in any more, as that of a closed one. */
function writeNothing(...args) {
  callBack(args);
  return false;
}

/** The same for `end`. */
function endNothing(...args) {
  callBack(args);
  return this;
}

function callBack(args) {
  const callback = args.at(-1);
  if (typeof callback !== 'function') return;
  process.nextTick(callback, new Error('the connection belongs to its WebSocket'));
}

module.exports = {
  acceptedDescriptor,
  adoptableDescriptor,
  afterEarlierResponses,
  closeDescriptor,
  decideUpgrades,
  drain,
  emitClose,
  endRequest,
  giveToServer,
  hasConnections,
  isCutShort,
  isPeerShown,
  leavePlace,
  leaveToEngine,
  mayLackHeaders,
  patchMethod,
  rememberAddresses,
  responseTo,
  serveAsHttp,
  showAsUpgraded,
  showPeer,
  showPeerOfBelow,
  stopReading,
  takeAccepted,
  takeBackHead,
  takeStream,
};
