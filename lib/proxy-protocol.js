'use strict';

const { readProxyHeader } = require('./native.js');
const { patchMethod, showPeer } = require('./node-internals.js');
const { Terminator } = require('./tls/terminator.js');

/**
 * On a server: its {@link ProxyHeaders}. The same for every copy of this package in the process, so all that
 * others do with it they do by its methods.
 */
const PROXY_HEADERS = Symbol.for('nextrush-websocket.proxy-protocol.1');

/** On a socket: its header has been seen to. */
const IS_SEEN = Symbol.for('nextrush-websocket.proxy-header.1');

/**
 * Connections of a server whose header has not come, at most. Each costs a descriptor and, once it has
 * begun, some kilobytes; it takes `handshakeTimeoutMs` at most.
 */
const MAX_WAITING = 16_384;

/**
 * Takes the PROXY headers of a plain `http.Server`: what a load balancer says about the client before its
 * first byte. It stays with its server for good: the load balancer goes on to send them.
 *
 * @typedef {object} Listener what a plugin shows of itself
 * @property {(address: string | undefined) => boolean} expects whether a connection from there has to
 *   begin with a header
 * @property {number} handshakeTimeoutMs
 * @property {(server: Server) => boolean} isClosed it does not serve on that server any more
 * @property {(message: () => string) => void} refuse counts a connection without a header
 */
class ProxyHeaders {
  #server;
  /** Plugins on the server that have the option: the first that is not closed decides. */
  /** @type {Listener[]} */
  #listeners = [];
  /** Connections whose header has not come. */
  #waiting = 0;
  #undo;

  /** Has headers taken from now on. */
  static begin(server, listener) {
    const headers = server[PROXY_HEADERS] ?? new ProxyHeaders(server);
    headers.add(listener);
  }

  /** Who speaks TLS on the server since then comes behind the headers. */
  static stayFirst(server) {
    server[PROXY_HEADERS]?.stayFirst();
  }

  constructor(server) {
    this.#server = server;
    Object.defineProperty(server, PROXY_HEADERS, { value: this });
    this.#comeFirst();
  }

  /** As {@link ProxyHeaders.begin}. */
  add(listener) {
    const server = this.#server;
    const others = this.#listeners.filter((each) => each !== listener && !each.isClosed(server));
    this.#listeners = [...others, listener];
  }

  /** As the static one. */
  stayFirst() {
    this.#undo();
    this.#comeFirst();
  }

  #comeFirst() {
    this.#undo = patchMethod(this.#server, 'emit', (original, self, args) => {
      if (args[0] === 'connection' && this.#take(args[1])) return true;
      return original().apply(self, args);
    });
  }

  get #listener() {
    return this.#listeners.find((each) => !each.isClosed(this.#server)) ?? this.#listeners.at(-1);
  }

  /** Returns false for a connection that is ready to be served. */
  #take(socket) {
    if (socket.encrypted || socket[IS_SEEN]) return false;
    const listener = this.#listener;
    if (!listener.expects(socket.remoteAddress)) return false;
    socket[IS_SEEN] = true;
    // There nothing may be read that stands behind the header.
    if (Terminator.takesHeader(this.#server, socket)) return false;
    if (this.#waiting < MAX_WAITING) this.#read(socket, listener);
    else socket.destroy();
    return true;
  }

  #read(socket, listener) {
    const server = this.#server;
    this.#waiting += 1;
    let seen = Buffer.alloc(0);
    const refuse = (reason) => {
      stop();
      const { remoteAddress } = socket;
      socket.destroy();
      listener.refuse(() => `the PROXY header of ${remoteAddress} is refused: ${reason}`);
    };
    const onTimeout = () => refuse('it has not come in time');
    const onEnd = () => refuse('the connection has ended');
    const onReadable = () => {
      const chunk = socket.read();
      if (chunk === null) return;
      seen = Buffer.concat([seen, chunk]);
      const { length, client, refusal } = readProxyHeader(seen);
      if (refusal !== undefined) return refuse(refusal);
      if (length === undefined) return;
      stop();
      if (client !== undefined) showPeer(socket, client);
      if (seen.length > length) socket.unshift(seen.subarray(length));
      server.emit('connection', socket);
    };
    const timer = setTimeout(onTimeout, listener.handshakeTimeoutMs);
    const stop = () => {
      this.#waiting -= 1;
      clearTimeout(timer);
      socket.removeListener('readable', onReadable);
      for (const event of ['end', 'error', 'close']) socket.removeListener(event, onEnd);
      // Whatever is still to come of it is nobody's.
      if (socket.listenerCount('error') === 0) socket.once('error', ignore);
    };
    socket.on('readable', onReadable);
    for (const event of ['end', 'error', 'close']) socket.on(event, onEnd);
  }
}

function ignore() {}

module.exports = { ProxyHeaders };
