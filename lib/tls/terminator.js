'use strict';

const tls = require('node:tls');
const { isDeepStrictEqual } = require('node:util');

const {
  acceptedDescriptor,
  giveToServer,
  leaveToEngine,
  leavePlace,
  patchMethod,
  takeAccepted,
} = require('../node-internals.js');

/** On a server: its {@link Terminator}. */
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
 * @property {((fd: number, onSecured: (result: object | string) => void) => void) | null} secure has the
 *   engine speak TLS with a client, whose descriptor it duplicates; `null` where it cannot
 * @property {(client: object, addresses: object) => import('node:net').Socket} socketOf what Node
 *   serves such a client on
 * @property {() => { native: object, node: object, hosts: [string, object][] }} options what the
 *   engine takes, and what Node's TLS takes
 * @property {number} handshakeTimeoutMs
 * @property {() => boolean} isClosed
 * @property {(message: () => string) => void} log
 * @property {(error: unknown) => void} reportError
 */
class Terminator {
  #server;
  /** @type {Speaker} */
  #speaker;
  /** Handshakes under way. */
  #underWay = 0;
  /** Node's TLS, for whatever the engine cannot take; made when it is needed. */
  #inner = null;

  /** Has the clients of a server spoken TLS with from now on. */
  static begin(server, speaker) {
    const terminator = server[TERMINATOR] ?? new Terminator(server);
    const current = terminator.#speaker;
    if (current !== undefined && current !== speaker && !current.isClosed()) {
      if (isDeepStrictEqual(current.options().native, speaker.options().native)) return;
      throw new Error(
        'another WebSocketPlugin speaks TLS on this server already, with another certificate or other options; give both the same option "tls", or only one of them',
      );
    }
    terminator.#speaker = speaker;
    terminator.#inner = null;
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
  static renew(server) {
    const terminator = server[TERMINATOR];
    if (terminator !== undefined) terminator.#inner = null;
  }

  /** Returns false for a connection that is encrypted already. */
  #take(socket) {
    if (socket.encrypted) return false;
    const fd = acceptedDescriptor(socket);
    if (fd === undefined || this.#speaker.secure === null) this.#takeByNode(socket);
    else this.#takeByEngine(socket, fd);
    return true;
  }

  #takeByEngine(socket, fd) {
    const speaker = this.#speaker;
    if (this.#underWay >= MAX_HANDSHAKES) return void socket.destroy();
    const addresses = takeAccepted(socket);
    try {
      speaker.secure(fd, (result) => this.#onSecured(speaker, result, addresses));
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
    if (typeof result === 'string') {
      leavePlace(server);
      return speaker.log(
        () => `the TLS handshake with ${addresses.peer.address} failed: ${result}`,
      );
    }
    let socket;
    try {
      socket = speaker.socketOf(result, addresses);
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
    const { node, hosts } = speaker.options();
    const inner = tls.createServer({ ...node, handshakeTimeout: speaker.handshakeTimeoutMs });
    for (const [host, context] of hosts) inner.addContext(host, context);
    inner.on('secureConnection', (socket) => {
      socket.server = this.#server;
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
