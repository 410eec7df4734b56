'use strict';

const { ServerResponse } = require('node:http');
const { Writable } = require('node:stream');

const { isThenable } = require('./errors.js');
const { adoptableDescriptor, drain, rememberAddresses } = require('./handoff.js');

/** On a request that is an upgrade under way: its {@link Upgrade}. */
const UPGRADE = Symbol('nextrush-websocket upgrade');

/** How long a refused client has to take the response and close. */
const REFUSAL_LINGER_MS = 1000;

const HUBS = new WeakMap();

/** Has `plugin`, the internals of a WebSocketPlugin, serve the upgrade requests of `server`. */
function attach(server, plugin) {
  let hub = HUBS.get(server);
  if (hub === undefined) {
    hub = new Hub(server);
    HUBS.set(server, hub);
  }
  hub.add(plugin);
}

/** Where all plugins on a server get their upgrade requests from. */
class Hub {
  #server;
  #plugins = [];

  constructor(server) {
    this.#server = server;
    const hub = this;
    // A request for a path of ours is nobody else's. Listeners of other packages refuse what they
    // do not serve, `ws` among them, and would so answer requests that are being answered here.
    const { emit } = server;
    server.emit = function (...args) {
      return (args[0] === 'upgrade' && hub.#serve(...args)) || emit.apply(this, args);
    };
    // Without a listener, Node takes an upgrade request for an ordinary one.
    server.on('upgrade', (req, socket, head) => this.#refuse(req, socket, head));
    // 'close' comes when the last connection that Node knows has ended, and bridged ones are among
    // them: closing them has to begin before.
    const { close } = server;
    server.close = (...args) => {
      const { listening } = server;
      const result = close.apply(server, args);
      if (listening) for (const plugin of this.#plugins) plugin.serverCloses();
      return result;
    };
  }

  add(plugin) {
    if (!this.#plugins.includes(plugin)) this.#plugins.push(plugin);
  }

  /** Has the plugin whose path it is see to a request. Returns whether there is one. */
  #serve(_event, req, socket, head) {
    const plugin = this.#plugins.find((each) => each.serves(req.url));
    if (plugin === undefined) return false;
    this.#start(plugin, req, socket, head);
    return true;
  }

  /** Refuses a request for a path that nobody here serves, unless it may be another listener's. */
  #refuse(req, socket, head) {
    if (this.#server.listenerCount('upgrade') > 1) return;
    this.#start(this.#plugins[0], req, socket, head);
  }

  #start(plugin, req, socket, head) {
    // A client may break the connection off at any time from now on.
    socket.on('error', destroyThis);
    new Upgrade(plugin, this.#server, req, socket, head).start();
  }
}

/** For TLS: after an error of its own, Node leaves such a socket as it is. */
function destroyThis() {
  this.destroy();
}

/** One upgrade request on its way to a connection or a refusal. `lib/plugin.js` decides. */
class Upgrade {
  /** The connection once there is one. */
  connection = null;

  #server;
  #head;
  #response = null;
  /** Neither accepted nor refused. */
  #pending = true;
  /** Counts against the limit. */
  #admitted = false;
  #accepting = null;
  #timer;

  constructor(plugin, server, req, socket, head) {
    this.plugin = plugin;
    this.req = req;
    this.socket = socket;
    this.#server = server;
    this.#head = head;
  }

  /** Number of the route, or -1 where the path has no handler. */
  route = -1;

  /** The connection's bytes go through Node's socket. */
  bridged = false;

  /** Runs the checks that need no user code, then the application's middleware. */
  start() {
    const { req, socket, plugin } = this;
    // Responses to earlier, pipelined requests go first. Node has them on the connection itself,
    // which `socket` may be a stream around.
    const earlier = req.socket._httpMessage;
    if (earlier) {
      earlier.once('close', () => setImmediate(() => this.start()));
      return;
    }
    if (socket.destroyed) return;
    const admission = plugin.admit(req);
    if (typeof admission !== 'number') return this.#refuseWith(admission);
    this.route = admission;
    this.#admitted = true;
    plugin.upgrades.add(this);
    socket.once('close', this.#onSocketClose);
    if (hasBody(req)) return this.refuse('badRequest', 'a WebSocket handshake has no body');
    if (!plugin.hasGate || !this.#runThroughApplication()) this.accept();
    if (this.#pending) this.#timer = setTimeout(this.#onTimeout, plugin.handshakeTimeoutMs);
  }

  /**
   * Has the application serve the request as it serves any other. The plugin's own middleware
   * then finds this upgrade on the request and accepts it. Returns false where nobody serves.
   */
  #runThroughApplication() {
    const { req } = this;
    req[UPGRADE] = this;
    // Not every version of Node ends an upgrade request. Without an end, a body parser would wait
    // for ever, and by reading would have Node read and drop the first frames.
    req.complete = true;
    req.push(null);
    const response = responseTo(req);
    response.shouldKeepAlive = false;
    response.assignSocket(new ResponseSink(this));
    response.once('finish', this.#onResponded);
    this.#response = response;
    return this.#server.emit('request', req, response);
  }

  /** Whether what the application writes goes to the client. */
  get takesResponse() {
    return this.#pending;
  }

  #onResponded = () => {
    if (!this.#pending) return;
    this.#settle();
    const { statusCode } = this.#response;
    this.plugin.refuse(this.req, 'application', `the application answered with ${statusCode}`);
    endGracefully(this.socket);
  };

  #onSocketClose = () => {
    if (!this.#pending) return;
    this.#settle();
    this.plugin.log(this.req.url, 'the client left during the handshake');
    this.#response?.destroy();
  };

  #onTimeout = () => {
    this.refuse('timeout', 'the handshake was not completed in time');
  };

  /** Leaves the pending state. */
  #settle() {
    this.#pending = false;
    clearTimeout(this.#timer);
    this.socket.removeListener('close', this.#onSocketClose);
    if (this.#admitted && this.connection === null) {
      this.#admitted = false;
      this.plugin.withdraw();
    }
    this.plugin.upgrades.delete(this);
  }

  /** Answers with an HTTP response, unless the application has begun one. */
  refuse(reason, message) {
    if (this.#pending) this.#refuseWith(this.plugin.refuse(this.req, reason, message));
  }

  #refuseWith(rejection) {
    const begun = this.#response?.headersSent === true;
    this.#settle();
    if (begun) return this.socket.destroy();
    this.socket.write(rejection.response);
    endGracefully(this.socket);
  }

  /**
   * Verifies the client and takes the connection over. Returns the connection, or `null` where
   * there is none to be had, or a promise of that; called again, the same.
   */
  accept() {
    this.#accepting ??= this.#verify();
    return this.#accepting;
  }

  #verify() {
    const { verifyClient } = this.plugin;
    if (verifyClient === undefined) return this.#takeOver(true);
    let verdict;
    try {
      verdict = verifyClient(this.req);
    } catch (error) {
      return this.#onVerifyError(error);
    }
    if (!isThenable(verdict)) return this.#takeOver(verdict);
    // A thenable need not behave like a Promise.
    return Promise.resolve(verdict).then(
      (settled) => this.#takeOver(settled),
      (error) => this.#onVerifyError(error),
    );
  }

  #onVerifyError(error) {
    this.plugin.reportError(error);
    this.refuse('verifyError', 'the client could not be verified');
    return null;
  }

  #takeOver(verified) {
    if (!this.#pending) return null;
    if (!verified) {
      this.refuse('unauthorized', 'verifyClient refused this client');
      return null;
    }
    // The application has begun its own response: that is what the client gets.
    if (this.#response?.headersSent) return null;
    const { req, socket } = this;
    let protocol;
    try {
      protocol = this.plugin.chooseProtocol(req);
    } catch (error) {
      return this.#onVerifyError(error);
    }
    // Only now: user code may have done anything to the socket. Where it has closed it, its 'close'
    // event settles the rest.
    if (socket.destroyed) return null;
    const fd = adoptableDescriptor(socket);
    this.bridged = fd === undefined;
    rememberAddresses(socket);
    try {
      const replay = drain(socket, this.#head);
      // From here on no byte may get into Node's hands.
      if (!this.bridged) socket._handle.readStop();
      this.connection = this.plugin.adopt({
        fd,
        socket,
        key: req.headers['sec-websocket-key'],
        protocol,
        extensions: req.headers['sec-websocket-extensions'],
        headers: headersOf(this.#response),
        replay,
        url: req.url,
      });
    } catch (error) {
      this.plugin.reportError(error);
      this.refuse('limit', 'the server has no resources left for this connection');
      return null;
    }
    this.#settle();
    if (this.#response !== null) showAsUpgraded(this.#response);
    // The engine has its own descriptor: this closes Node's, without a word on the wire.
    if (!this.bridged) socket.destroy();
    this.plugin.connected(this);
    return this.connection;
  }
}

/** A response that writes to the socket it is assigned. */
function responseTo(req) {
  if (!process.versions.bun) return new ServerResponse(req);
  // Bun's goes past that, to the connection of the request. So it is not told of the request at first.
  const { method, httpVersionMajor, httpVersionMinor, headers } = req;
  const response = new ServerResponse({ method, httpVersionMajor, httpVersionMinor, headers });
  response.req = req;
  return response;
}

/**
 * Up to Node 24 a body is not told from the frames behind it, and from 26 on the socket is a stream
 * that waits for it. No WebSocket client sends one.
 */
function hasBody({ headers }) {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
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

/** Ends our side and gives the client a moment to read what it was told. */
function endGracefully(socket) {
  const destroy = () => socket.destroy();
  // Unread bytes would turn the end into a reset, which may destroy the response on its way.
  socket.resume();
  socket.once('end', destroy);
  socket.end(() => setTimeout(destroy, REFUSAL_LINGER_MS).unref());
}

/**
 * The socket of an upgrade request's ServerResponse: passes on what the application answers before
 * the upgrade, and swallows what it writes afterwards, so that not a byte gets between frames.
 */
class ResponseSink extends Writable {
  #upgrade;

  constructor(upgrade) {
    super({ decodeStrings: false });
    this.#upgrade = upgrade;
  }

  get remoteAddress() {
    return this.#upgrade.socket.remoteAddress;
  }

  get encrypted() {
    return this.#upgrade.socket.encrypted;
  }

  setTimeout() {
    return this;
  }

  _write(chunk, encoding, callback) {
    if (!this.#upgrade.takesResponse) return callback();
    this.#upgrade.socket.write(chunk, encoding, () => callback());
  }
}

module.exports = { UPGRADE, attach };
