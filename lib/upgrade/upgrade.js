'use strict';

const { promiseOf } = require('../errors.js');
const {
  adoptableDescriptor,
  afterEarlierResponses,
  closeDescriptor,
  drain,
  endRequest,
  rememberAddresses,
  responseTo,
  showAsUpgraded,
  stopReading,
} = require('../node-internals.js');
const { contentOf } = require('./answer.js');
const { endGracefully } = require('./refusal.js');
const { ResponseSink } = require('./response-sink.js');
const { refusalOf } = require('./verdict.js');

/**
 * On a request that is an upgrade: its {@link Upgrade}. The same for every copy of this package in
 * the process, so that the middleware of each knows the upgrades of the others.
 */
const UPGRADE = Symbol.for('nextrush-websocket.upgrade.1');

/** What a handshake that takes too long is waiting for. */
const WAITS_FOR = {
  response: 'the response to an earlier request on this connection has not ended',
  middleware: 'HTTP middleware has neither answered nor gone on',
  verifyClient: 'verifyClient has not settled',
};

/** One upgrade request on its way to a connection or a refusal. `lib/plugin.js` decides. */
class Upgrade {
  /** The connection once there is one. */
  connection = null;

  #server;
  #head;
  /** What the native half knows the request by that it has read and admitted; until that is over. */
  #handshake = null;
  #response = null;
  /** Neither accepted nor refused. */
  #pending = true;
  #accepting = null;
  #waitsFor = WAITS_FOR.response;
  /** Takes back what a handshake has that waits: its time limit and a listener of the socket. */
  #stopWaiting = null;
  /** Ends the reading of a body that `verifyClient` refuses with. */
  #reading = null;

  /**
   * @param plugin what an upgrade request sees of its plugin
   * @param {import('./hub.js').Request} request
   */
  constructor(plugin, { server, req, socket, head }) {
    this.plugin = plugin;
    this.req = req;
    this.socket = socket;
    this.#server = server;
    this.#head = head;
  }

  /** Number of the route of the connection, if it has one. */
  route;

  /** The connection's bytes go through Node's socket. */
  bridged = false;

  /**
   * Runs the checks that need no user code, then the application's middleware. From its arrival on
   * the request counts and its time runs, also while responses to earlier requests go first.
   */
  start() {
    const { req, socket, plugin } = this;
    if (socket.destroyed) return;
    plugin.upgrades.add(this);
    // One reading for guards, middleware, routes and handlers.
    req.url = plugin.normalise(req.url);
    const admission = plugin.admit(req);
    if (typeof admission === 'number') this.#handshake = admission;
    afterEarlierResponses(req, () => {
      if (!this.#pending) return;
      this.#waitsFor = WAITS_FOR.middleware;
      if (this.#handshake !== null) this.#run();
      else this.#refuseWith(admission);
    });
    // Most have been decided by now. Whatever a socket emits comes later than this.
    if (this.#pending) this.#waitForOthers();
  }

  #waitForOthers() {
    const { socket } = this;
    const onClose = () => this.#onSocketClose();
    const timer = setTimeout(() => this.#onTimeout(), this.plugin.handshakeTimeoutMs);
    this.#stopWaiting = () => {
      clearTimeout(timer);
      socket.removeListener('close', onClose);
    };
    socket.once('close', onClose);
  }

  #run() {
    const { plugin } = this;
    if (hasBody(this.req)) this.refuse('badRequest', 'a WebSocket handshake has no body');
    else if (!plugin.hasGate || !this.#runThroughApplication()) this.accept();
  }

  /**
   * Has the application serve the request as it serves any other. The plugin's own middleware
   * then finds this upgrade on the request and accepts it. Returns false where nobody serves.
   */
  #runThroughApplication() {
    const { req } = this;
    req[UPGRADE] = this;
    endRequest(req);
    const response = responseTo(req);
    response.shouldKeepAlive = false;
    const sink = new ResponseSink(this.socket, () => this.#pending);
    response.assignSocket(sink);
    // A router that finds nothing may set another status behind that of the answer.
    response.once('finish', () => this.#onResponded(sink.status || response.statusCode));
    response.on('error', ignore);
    this.#response = response;
    return this.#server.emit('request', req, response);
  }

  #onResponded(status) {
    if (!this.#pending) return;
    this.#settle();
    const message = `the application answered with ${status}`;
    this.plugin.refuse(this.req, 'application', message, { answered: status });
    endGracefully(this.socket);
  }

  #onSocketClose() {
    if (!this.#pending) return;
    this.#settle();
    this.plugin.log(this.req.url, 'the client left during the handshake');
    this.#response?.destroy();
  }

  #onTimeout() {
    this.refuse('timeout', `the handshake was not completed in time: ${this.#waitsFor}`);
  }

  /** Leaves the pending state. */
  #settle() {
    this.#pending = false;
    this.#stopWaiting?.();
    this.#reading?.abort();
    if (this.#handshake !== null && this.connection === null) {
      this.plugin.withdraw(this.#handshake);
    }
    this.#handshake = null;
    this.plugin.upgrades.delete(this);
  }

  /**
   * Answers with an HTTP response, unless the application has begun one.
   *
   * @param {object} [answer] another one than goes with the reason: `status`, `phrase`, `headers` with
   *   names and values in turn, and `body` with its `contentType`
   */
  refuse(reason, message, answer) {
    if (!this.#pending) return;
    // Refused already, and waiting to be told.
    if (this.#handshake === null) return this.#cut();
    this.#refuseWith(this.plugin.refuse(this.req, reason, message, answer));
  }

  #cut() {
    this.#settle();
    this.socket.destroy();
  }

  #refuseWith(rejection) {
    const begun = this.#response?.headersSent === true;
    // A response of the application's, or one to an earlier request, would be cut in two.
    if (begun || this.#waitsFor === WAITS_FOR.response) return this.#cut();
    this.#settle();
    this.socket.write(rejection.response);
    endGracefully(this.socket);
  }

  /**
   * Verifies the client and takes the connection over. Returns whether there is one now, or a
   * promise of that; called again, the same. Never the connection itself: whoever awaits it would
   * ask it for a `then`, which user code may have put there.
   */
  accept() {
    this.#accepting ??= this.#verify();
    return this.#accepting;
  }

  #verify() {
    if (!this.#pending) return false;
    const { verifyClient } = this.plugin.rulesFor(this.#handshake);
    if (verifyClient === undefined) return this.#takeOver(true);
    this.#waitsFor = WAITS_FOR.verifyClient;
    let verdict;
    try {
      verdict = verifyClient(this.req);
    } catch (error) {
      return this.#onUserError(error);
    }
    const promise = promiseOf(verdict);
    if (promise === null) return this.#takeOver(verdict);
    return promise.then(
      (settled) => this.#takeOver(settled),
      (error) => this.#onUserError(error),
    );
  }

  /** Refuses a client in the words of `verifyClient`, as far as they can be sent. */
  #turnAway({ faults = [], stream, ...answer }) {
    const { plugin } = this;
    const refuse = (body = answer.body) => {
      this.refuse('unauthorized', 'verifyClient refused this client', { ...answer, body });
      return false;
    };
    for (const fault of faults) plugin.reportError(fault);
    if (stream === undefined) return refuse();
    this.#reading = new AbortController();
    return contentOf(stream, this.#reading.signal).then(refuse, (error) => {
      if (this.#pending) plugin.reportError(error);
      return refuse();
    });
  }

  /** User code that decides has failed. */
  #onUserError(error) {
    this.plugin.reportError(error);
    this.refuse('verifyError', 'the client could not be verified');
    return false;
  }

  #takeOver(verdict) {
    if (!this.#pending) return false;
    const { req, socket, plugin } = this;
    // Its number means nothing any more once user code below has had this request refused.
    const handshake = this.#handshake;
    let handOff;
    try {
      const refusal = refusalOf(verdict);
      if (refusal !== null) return this.#turnAway(refusal);
      const { protocols } = plugin.rulesFor(handshake);
      handOff = {
        socket,
        protocol: plugin.chooseProtocol(protocols, handshake, req),
        headers: headersOf(this.#response),
        replay: null,
        url: req.url,
        address: rememberAddresses(socket),
        request: req,
      };
    } catch (error) {
      return this.#onUserError(error);
    }
    // All of that may have run user code, which may have refused this request by cleaning up, begun
    // a response of its own, or closed the socket, whose 'close' event then settles the rest.
    if (!this.#pending || this.#response?.headersSent || socket.destroyed) return false;
    const fd = adoptableDescriptor(socket, plugin.engine);
    this.bridged = fd === undefined;
    try {
      handOff.replay = drain(socket, this.#head);
      // A stream that is no socket of Node's may have a `read` of the application's.
      if (!this.#pending) return false;
      // From here on no byte may get into Node's hands.
      if (!this.bridged) stopReading(socket);
      const { connection, route } = plugin.adopt(fd, handshake, handOff);
      this.connection = connection;
      this.route = route;
    } catch (error) {
      plugin.reportError(error);
      this.refuse('limit', 'the server has no resources left for this connection');
      return false;
    }
    this.#settle();
    if (this.#response !== null) showAsUpgraded(this.#response);
    // The engine has its own descriptor: this closes Node's, without a word on the wire.
    if (!this.bridged) closeDescriptor(socket, plugin.closeWith(this.connection));
    plugin.connected(this);
    return true;
  }
}

/** Routes run for upgrades as well: what one writes too late is no reason to end the process. */
function ignore() {}

/**
 * Up to Node 24 a body is not told from the frames behind it, and from 26 on the socket is a stream
 * that waits for it. No WebSocket client sends one.
 */
function hasBody({ headers }) {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** Headers that the application set before the upgrade, for the 101: names and values in turn. */
function headersOf(response) {
  const headers = [];
  if (response === null) return headers;
  for (const name of response.getRawHeaderNames()) {
    const value = response.getHeader(name);
    for (const one of Array.isArray(value) ? value : [value]) headers.push(name, String(one));
  }
  return headers;
}

module.exports = { UPGRADE, Upgrade };
