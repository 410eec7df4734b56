'use strict';

const tls = require('node:tls');
const { isDeepStrictEqual } = require('node:util');

const {
  acceptedDescriptor,
  giveToServer,
  leaveToEngine,
  leavePlace,
  patchMethod,
  showPeerOfBelow,
  takeAccepted,
} = require('../node-internals.js');

/**
 * On a server: its {@link Terminator}. The same for every copy of this package in the process, so all that
 * others do with it they do by its methods.
 */
const TERMINATOR = Symbol.for('nextrush-websocket.terminator.1');

/**
 * Handshakes of a server that are under way, at most. Each costs a descriptor and, once the client has
 * begun, some kilobytes; it takes `handshakeTimeoutMs` at most.
 */
const MAX_HANDSHAKES = 16_384;

/**
 * Has the clients of a plain `http.Server` spoken TLS with. It stays with its server for good: no plugin
 * that is cleaned up, and no order of events, makes a server speak plain text again.
 *
 * @typedef {object} Speaker what a plugin shows of itself
 * @property {((fd: number, context: object, expectsHeader: boolean, onSecured: (result: object) => void) => void) | null} secure
 *   has the engine speak TLS with a client, whose descriptor it duplicates, behind a PROXY header or not;
 *   `null` where it cannot
 * @property {() => void} countRefusedHeader a connection has not begun with the header that it had to
 * @property {(client: object, addresses: object) => import('node:net').Socket} socketOf what Node
 *   serves such a client on
 * @property {number} handshakeTimeoutMs
 * @property {(server: Server) => boolean} isClosed it does not serve on that server any more
 * @property {(message: () => string) => void} log
 * @property {(error: unknown) => void} reportError
 *
 * @typedef {ReturnType<import('./options.js').readTls> & { context: object | null }} Tls `context` is what
 *   the engine has made of `native`
 */
class Terminator {
  #server;
  /** Plugins on the server that have its TLS as an option: the first that is not closed speaks it. */
  /** @type {Speaker[]} */
  #speakers = [];
  /** What clients are shown. It belongs to the server: a plugin may go on to another one. */
  /** @type {Tls} */
  #tls = null;
  /** Connections that the engine has to read a PROXY header of. */
  #withHeader = new WeakSet();
  /** Handshakes under way. */
  #underWay = 0;
  /** Node's TLS, for whatever the engine cannot take; made when it is needed. */
  #inner = null;

  /** Has the clients of a server spoken TLS with from now on. */
  static begin(server, speaker, tls) {
    const terminator = server[TERMINATOR] ?? new Terminator(server);
    terminator.add(speaker, tls);
  }

  /** As {@link Terminator.begin}. */
  add(speaker, tls) {
    const server = this.#server;
    const others = this.#speakers.filter((each) => each !== speaker && !each.isClosed(server));
    if (others.length > 0 && !isDeepStrictEqual(this.#tls.native, tls.native)) {
      throw new Error(
        'another WebSocketPlugin speaks TLS on this server already, with another certificate or other options; give both the same option "tls", or only one of them',
      );
    }
    this.#speakers = [...others, speaker];
    // Who comes second changes nothing: tickets that clients have are worth something as before.
    if (others.length === 0) this.show(tls);
  }

  constructor(server) {
    this.#server = server;
    Object.defineProperty(server, TERMINATOR, { value: this });
    patchMethod(server, 'emit', (original, self, args) => {
      if (args[0] === 'connection' && this.#take(args[1])) return true;
      return original().apply(self, args);
    });
  }

  /** New certificates: those who are connected stay as they are. */
  static renew(server, tls) {
    server[TERMINATOR]?.show(tls);
  }

  /**
   * Has the engine read the PROXY header of a connection, where it is the engine that speaks TLS with it:
   * what is behind the header is for TLS alone. Returns false where it is not.
   */
  static takesHeader(server, socket) {
    return server[TERMINATOR]?.takesHeader(socket) ?? false;
  }

  /** As the static one. */
  takesHeader(socket) {
    if (this.#descriptorOf(socket) === undefined) return false;
    this.#withHeader.add(socket);
    return true;
  }

  /** The descriptor that the engine can take, or `undefined`. */
  #descriptorOf(socket) {
    return this.#speaker.secure === null ? undefined : acceptedDescriptor(socket);
  }

  /** What clients are shown from now on. */
  show(tls) {
    this.#tls = tls;
    this.#inner = null;
  }

  get #speaker() {
    return this.#speakers.find((each) => !each.isClosed(this.#server)) ?? this.#speakers.at(-1);
  }

  /** Returns false for a connection that is encrypted already. */
  #take(socket) {
    if (socket.encrypted) return false;
    const fd = this.#descriptorOf(socket);
    if (fd === undefined) this.#takeByNode(socket);
    else this.#takeByEngine(socket, fd);
    return true;
  }

  #takeByEngine(socket, fd) {
    const speaker = this.#speaker;
    if (this.#underWay >= MAX_HANDSHAKES) return void socket.destroy();
    const addresses = takeAccepted(socket);
    try {
      const { context } = this.#tls;
      const expectsHeader = this.#withHeader.has(socket);
      speaker.secure(fd, context, expectsHeader, (result) => {
        this.#onSecured(speaker, result, addresses);
      });
    } catch (error) {
      socket.destroy();
      speaker.reportError(error);
      return;
    }
    this.#underWay += 1;
    // Its place among the connections of the server is kept, as the connection goes on.
    leaveToEngine(socket);
  }

  #onSecured(speaker, result, addresses) {
    this.#underWay -= 1;
    const server = this.#server;
    if (result.reason !== undefined) {
      leavePlace(server);
      if (result.lacksHeader) speaker.countRefusedHeader();
      const message = `the TLS handshake with ${addresses.peer.address} failed: ${result.reason}`;
      return result.isOurs ? speaker.reportError(new Error(message)) : speaker.log(() => message);
    }
    let socket;
    try {
      const { peer, own } = addresses;
      socket = speaker.socketOf(result, { peer: result.proxied ?? peer, own });
    } catch (error) {
      leavePlace(server);
      return speaker.reportError(error);
    }
    giveToServer(server, socket);
  }

  #takeByNode(socket) {
    this.#inner ??= this.#makeInner();
    this.#inner.emit('connection', socket);
  }

  #makeInner() {
    const speaker = this.#speaker;
    const { node, hosts } = this.#tls;
    const inner = tls.createServer({ ...node, handshakeTimeout: speaker.handshakeTimeoutMs });
    // Of those that fit Node takes the last, and an exact name comes before one with `*`.
    const isWildcard = ([host]) => Number(host.startsWith('*'));
    for (const [host, context] of hosts.toSorted((a, b) => isWildcard(b) - isWildcard(a))) {
      inner.addContext(host, context);
    }
    inner.on('secureConnection', (socket) => {
      socket.server = this.#server;
      showPeerOfBelow(socket);
      this.#server.emit('connection', socket);
    });
    inner.on('tlsClientError', (error, socket) => {
      speaker.log(() => `the TLS handshake failed: ${error.message}`);
      socket.destroy();
    });
    return inner;
  }
}

module.exports = { Terminator };
