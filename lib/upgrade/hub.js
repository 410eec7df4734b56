'use strict';

const {
  afterEarlierResponses,
  decideUpgrades,
  mayLackHeaders,
  patchMethod,
  serveAsHttp,
} = require('../node-internals.js');
const { endGracefully } = require('./refusal.js');

/**
 * On a server: its {@link Hub}. The same for every copy of this package in the process, so that
 * two versions of it on one server do not take each other for strangers. The number stands for what
 * hubs and guests expect of each other.
 */
const HUB = Symbol.for('nextrush-websocket.hub.1');

/**
 * Where all plugins on a server get their upgrade requests from. It is there as long as there is a
 * plugin, and leaves nothing behind.
 *
 * A guest is what a plugin shows of itself:
 *
 * @typedef {object} Guest
 * @property {() => string[]} shapes the paths it serves, such that equal ones are equal
 * @property {(url: string) => string | null} rank how specific its path for a request is, least for
 *   the most specific; `null` where it has none
 * @property {(request: Request) => void} take sees to an upgrade request
 * @property {(req: IncomingMessage) => Buffer} refuseUnserved counts a request for a path that
 *   nobody serves and returns the response
 * @property {(req: IncomingMessage) => Buffer} refuseCut the same for a request with too many headers
 * @property {number} handshakeTimeoutMs
 * @property {() => boolean} isClosed it has been cleaned up, and waits for the server to listen
 *   again
 * @property {(server: Server) => void} serverCloses
 * @property {(server: Server) => void} serverClosed
 * @property {() => void} serverListens
 * @property {() => void} forget there is no more need to wait: another plugin has come
 *
 * @typedef {{ server: Server, req: IncomingMessage, socket: Duplex, head: Buffer }} Request
 */
class Hub {
  #server;
  /** @type {Guest[]} */
  #guests = [];
  /** What takes the hub's patches and listeners back. */
  #undo = [];

  static of(server) {
    return server[HUB] ?? new Hub(server);
  }

  constructor(server) {
    this.#server = server;
  }

  get server() {
    return this.#server;
  }

  /** The guests that serve, or will again when the server listens. */
  get guests() {
    return this.#guests;
  }

  add(guest) {
    // A closed plugin waits for its server to listen again. The server belongs to this one now.
    for (const closed of this.#guests.filter((each) => each.isClosed())) {
      this.remove(closed);
      closed.forget();
    }
    if (this.#guests.length === 0) this.#open();
    this.#guests.push(guest);
    // Somebody may have removed all listeners since.
    const { listener } = this;
    if (!this.#server.listeners('upgrade').includes(listener)) {
      this.#server.on('upgrade', listener);
    }
  }

  remove(guest) {
    const index = this.#guests.indexOf(guest);
    if (index < 0) return;
    this.#guests.splice(index, 1);
    if (this.#guests.length === 0) this.#close();
  }

  #open() {
    const server = this.#server;
    Object.defineProperty(server, HUB, { value: this, configurable: true });
    this.#undo = [
      // A request for a path of ours is nobody else's. Listeners of other packages refuse what they
      // do not serve, `ws` among them, and would so answer requests that are being answered here.
      patchMethod(server, 'emit', (original, self, args) => {
        return (args[0] === 'upgrade' && this.#serve(args)) || original().apply(self, args);
      }),
      // 'close' comes when the last connection that Node knows has ended, and bridged ones are among
      // them: closing them has to begin before.
      patchMethod(server, 'close', (original, self, args) => {
        const { listening } = server;
        const result = original().apply(self, args);
        if (listening) for (const guest of [...this.#guests]) guest.serverCloses(server);
        return result;
      }),
      decideUpgrades(server, (req) => wantsWebSocket(req) || this.#hasNeighbours()),
      this.#listen('close', () => {
        if (server.listening) return;
        for (const guest of [...this.#guests]) guest.serverClosed(server);
      }),
      this.#listen('listening', () => {
        for (const guest of [...this.#guests]) guest.serverListens();
      }),
      // Without a listener, Node takes an upgrade request for an ordinary one.
      () => server.removeListener('upgrade', this.listener),
    ];
  }

  #listen(event, listener) {
    this.#server.on(event, listener);
    return () => this.#server.removeListener(event, listener);
  }

  #close() {
    for (const undo of this.#undo) undo?.();
    this.#undo = [];
    delete this.#server[HUB];
  }

  /** Hears of the upgrade requests that are nobody's here. */
  listener = (req, socket, head) => {
    const guest = this.#guests[0];
    // The hub has been closed by another listener of this very event.
    if (guest === undefined) return;
    const request = { server: this.#server, req, socket, head };
    if (this.#hasNeighbours()) refuseUnanswered(guest, request);
    else refuseUnserved(guest, request);
  };

  /** Somebody else listens to upgrades. */
  #hasNeighbours() {
    return this.#server.listeners('upgrade').some((each) => each !== this.listener);
  }

  /** Has the plugin whose path it is see to a request. Returns whether somebody does. */
  #serve([, req, socket, head]) {
    // A client may break the connection off at any time from now on, whoever answers.
    const hears =
      socket.listenerCount('error') > 0 && socket.listeners('error').includes(destroyThis);
    if (!hears) socket.on('error', destroyThis);
    const server = this.#server;
    const isCut = mayLackHeaders(server, req);
    if (!wantsWebSocket(req)) {
      if (this.#hasNeighbours()) return false;
      if (isCut) return this.#refuseCut(req, socket);
      serveAsHttp(server, req, socket, head, () => socket.removeListener('error', destroyThis));
      return true;
    }
    const guest = this.#mostSpecific(req.url);
    if (guest === undefined) return false;
    if (isCut) return this.#refuseCut(req, socket);
    guest.take({ server, req, socket, head });
    return true;
  }

  /** What the head of a request really says nobody here can know. */
  #refuseCut(req, socket) {
    const guest = this.#guests[0];
    answer(guest, req, socket, guest.refuseCut(req));
    return true;
  }

  #mostSpecific(url) {
    // A lone plugin refuses what it does not serve by itself.
    if (this.#guests.length === 1 && !this.#hasNeighbours()) return this.#guests[0];
    let best;
    let least = null;
    for (const guest of this.#guests) {
      const rank = guest.rank(url);
      if (rank !== null && (least === null || rank < least)) {
        best = guest;
        least = rank;
      }
    }
    return best;
  }
}

/** For TLS: after an error of its own, Node leaves such a socket as it is. */
function destroyThis() {
  this.destroy();
}

/** Whether the protocol that a client would like to change to is ours (RFC 9110 §7.8). */
function wantsWebSocket({ headers }) {
  const { upgrade } = headers;
  return upgrade === 'websocket' || /(^|,)[ \t]*websocket[ \t]*(,|$)/i.test(upgrade);
}

/** Refuses a request for a path that nobody here serves. */
function refuseUnserved(guest, { req, socket }) {
  answer(guest, req, socket, guest.refuseUnserved(req));
}

/** Ends a connection with a response, after those to earlier requests, but not for ever. */
function answer(guest, req, socket, response) {
  const timer = setTimeout(() => socket.destroy(), guest.handshakeTimeoutMs);
  socket.once('close', () => clearTimeout(timer));
  afterEarlierResponses(req, () => {
    if (socket.destroyed) return;
    socket.write(response);
    endGracefully(socket);
  });
}

/** Leaves a request to the other listeners, but not for ever. */
function refuseUnanswered(guest, request) {
  const { req, socket } = request;
  /** `bytesWritten` when the responses to earlier requests were out. */
  let before = null;
  afterEarlierResponses(req, () => {
    before = socket.bytesWritten;
  });
  const waits = before === null;
  const timer = setTimeout(() => {
    socket.removeListener('close', stop);
    if (socket.destroyed || socket.writableEnded) return;
    // Behind a response that does not end, nobody can have answered.
    if (before === null) return void socket.destroy();
    const isRead = socket.listenerCount('data') + socket.listenerCount('readable') > 0;
    // A listener may have answered without waiting for an earlier response, and a stream that is no
    // socket does not count its bytes. In both cases a reader shows that somebody has taken it.
    const answered = socket.bytesWritten !== before || ((waits || before === undefined) && isRead);
    if (!answered) refuseUnserved(guest, request);
  }, guest.handshakeTimeoutMs);
  const stop = () => clearTimeout(timer);
  socket.once('close', stop);
}

module.exports = { Hub };
