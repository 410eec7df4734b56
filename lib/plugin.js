'use strict';

const { randomUUID } = require('node:crypto');
const { totalmem } = require('node:os');
const { types } = require('node:util');

const binding = require('./native.js');
const { rejectReasons, requestHeaders } = require('./constants.js');
const { Cluster } = require('./cluster/cluster.js');
const { readCluster, readCredentials } = require('./cluster/options.js');
const {
  checkCount,
  checkFunction,
  checkMessage,
  checkOptions,
  checkString,
  wrongType,
} = require('./check.js');
const { internals } = require('./connection/connection.js');
const { Connections } = require('./connections.js');
const {
  publishClose,
  publishConnection,
  publishRejection,
  wantsRejections,
} = require('./diagnostics.js');
const { Emitter } = require('./emitter.js');
const { Engine } = require('./engine.js');
const { inThisRealm } = require('./errors.js');
const { Host, isServer } = require('./host.js');
const { runPipeline } = require('./pipeline.js');
const { Reporter, read } = require('./report.js');
const { ProxyHeaders } = require('./proxy-protocol.js');
const { RoomManager } = require('./rooms.js');
const { Routes } = require('./routes.js');
const { readTls } = require('./tls/options.js');
const { Terminator } = require('./tls/terminator.js');
const { suggestUpgrade } = require('./suggest-upgrade.js');
const { printable } = require('./text.js');
const { Hub } = require('./upgrade/hub.js');
const { rejectionOf } = require('./upgrade/rejection.js');
const { Upgrade } = require('./upgrade/upgrade.js');
const { version } = require('./version.js');
const { Waves, readWaves } = require('./waves.js');

const NAME = 'WebSocketPlugin';
const DESCRIPTION = 'WebSocket server with rooms, middleware and heartbeat, on a native engine';

/**
 * The WebSocket plugin. `types/plugin.d.ts` and `types/options.d.ts` document its methods and options.
 *
 * Decisions and numbers come from the native half; here is what needs Node's own objects.
 */
class WebSocketPlugin extends Emitter {
  #native;
  #engine;
  #rooms;
  #connections;
  #report;
  /** By what it was installed: `install`, `attach`, or `null`. */
  #installed = null;
  /** The application it is installed on. */
  #host = null;
  /** Who handles connections, and what holds for them. */
  #routes;
  #middleware = [];
  /** The hubs of the servers that it serves on. */
  #hubs = new Set();
  /** What an upgrade request sees of the plugin. */
  #internals;
  /** What a hub sees of it. */
  #guest;
  /** How clients are spoken TLS with, as option `tls` says; `null` where they are not. */
  #tls = null;
  /** The same until the next `attach`. */
  #ownTls;
  /** What a terminator of TLS sees of it. */
  #speaker;
  /** What takes PROXY headers sees of it. */
  #proxied;
  /** How other servers are found, as option `cluster` says; `null` where there are none. */
  #clusterOptions;
  /** The other servers, between an installation and its clean-up. */
  #cluster = null;
  /** What it counted when it was last looked at. */
  #clusterStats;
  /** First segments of the paths that it serves, if literal: most requests need no closer look. */
  #firstSegments = new Set();
  /** The clean-up under way or done. */
  #cleaning = null;
  /** Those whom it closes one after the other. */
  #waves = null;
  /** Only until the server listens again. */
  #mayReopen = false;
  /** The clean-up is done. */
  #isClean = false;

  /**
   * @param options
   * @param {(native: object) => object} [replace] makes what stands in for the native half; for tests
   *   without a network
   */
  constructor(options, replace = (native) => native) {
    super();
    if (isData(options))
      throw wrongType(NAME, 'options', 'an object with the options as properties', options);
    this.#native = inThisRealm(() =>
      replace(new binding.WebSocketPlugin(options, memoryOfProcess())),
    );
    this.#report = new Reporter(NAME, this, this.#native.debug, options?.logger);
    this.#engine = new Engine(this.#native, {
      onEnd: (connection, code, reason) => {
        this.#report.log(
          'debug',
          () => read(connection, 'url'),
          () => `closed with ${code}${reason && `: ${printable(reason)}`}`,
          () => ({ connection: read(connection, 'id'), code, reason: printable(reason) }),
        );
        publishClose(this, connection, code, reason);
        this.#report.emit('close', [connection, code, reason], connection);
      },
      onError: (error, connection) => this.#report.error(error, connection),
      onRoomCreated: (room) => this.#tellRoom('room:created', room),
      onRoomDestroyed: (room) => this.#tellRoom('room:destroyed', room),
    });
    this.#rooms = new RoomManager(this.#engine, this.#native);
    this.#connections = new Connections(this.#engine);
    this.#routes = new Routes(this.#native, options);
    this.#internals = this.#makeInternals();
    this.#guest = this.#makeGuest();
    this.#speaker = this.#makeSpeaker();
    this.#proxied = this.#makeProxied();
    const tls = options?.tls;
    this.#ownTls = tls === undefined ? null : this.#readTls(tls, NAME);
    const cluster = options?.cluster;
    this.#clusterOptions = cluster === undefined ? null : readCluster(cluster, NAME);
    this.#clusterStats = { ...NO_CLUSTER, nodeId: randomUUID() };
    this.#native.shapes().forEach(this.#addFirstSegment, this);
  }

  get name() {
    return NAME;
  }

  get version() {
    return version;
  }

  get description() {
    return DESCRIPTION;
  }

  get rooms() {
    return this.#rooms;
  }

  get connections() {
    return this.#connections;
  }

  install(app) {
    this.#refuseSecond('install');
    if (app === null || (typeof app !== 'object' && typeof app !== 'function')) {
      throw wrongType(`${NAME}.install`, 'app', 'an application', app);
    }
    if (typeof app === 'function' && typeof app.handle === 'function') {
      throw new TypeError(
        `${NAME}.install: middleware of Express and connect takes other arguments; use attach() with the server that listen() returns`,
      );
    }
    const host = new Host(app, NAME);
    this.#tls = this.#ownTls;
    this.#begin('install', host);
    try {
      host.findServer(
        (server) => this.#serve(server),
        (error) => this.#report.error(error),
      );
      host.addMethods(this.#methodsOf(app));
      this.#internals.hasGate = host.addMiddleware(this.#internals, this.#rooms, (ctx) => {
        if (this.#isAskedInVain(ctx.req)) suggestUpgrade(ctx.res, () => host.hasRoute(ctx));
      });
      host.onShutdown(() => {
        this.#waves?.hasten();
        this.#cleanUpInBackground();
      });
      this.#startCluster();
    } catch (error) {
      this.#leave();
      throw error;
    }
  }

  attach(server, options) {
    this.#refuseSecond('attach');
    if (!isServer(server) || typeof server.setTimeout !== 'function') {
      const accepted = 'an http.Server or https.Server, such as listen() returns';
      const error = wrongType(`${NAME}.attach`, 'server', accepted, server);
      if (isApplication(server)) error.message += '; an application is for install()';
      throw error;
    }
    this.#tls = this.#tlsOfAttach(options) ?? this.#ownTls;
    this.#begin('attach', null);
    try {
      this.#serve(server);
      this.#startCluster();
    } catch (error) {
      this.#leave();
      throw error;
    }
    const methods = {};
    return Object.assign(methods, this.#methodsOf(methods));
  }

  #tlsOfAttach(options) {
    if (options === undefined) return undefined;
    const where = `${NAME}.attach`;
    const { tls } = checkOptions(where, options, ['tls']);
    return tls === undefined ? undefined : this.#readTls(tls, where);
  }

  /** Checks how clients are to be spoken TLS with. */
  #readTls(options, where) {
    const tls = readTls(options, where);
    // What the engine cannot use is told now, wherever TLS will be spoken.
    const context = SPEAKS_TLS
      ? inThisRealm(() => new binding.TlsContext(tls.native, where))
      : null;
    return { ...tls, context };
  }

  setTls(options) {
    if (this.#tls === null) {
      throw new Error(
        `${NAME}.setTls: no TLS is spoken here; give option "tls" to the plugin, or to attach()`,
      );
    }
    this.#tls = this.#readTls(options, `${NAME}.setTls`);
    for (const hub of this.#hubs) Terminator.renew(hub.server, this.#tls);
  }

  setClusterCredentials(credentials) {
    const where = `${NAME}.setClusterCredentials`;
    const checked = readCredentials(credentials, where);
    const redis = this.#clusterOptions?.redis;
    if (redis === undefined) {
      throw new Error(`${where}: there is no Redis here; give option "cluster" a url`);
    }
    Object.assign(redis, checked);
    this.#cluster?.setCredentials(checked);
  }

  #startCluster() {
    const options = this.#clusterOptions;
    if (options === null || this.#cluster !== null) return;
    const cluster = new Cluster(options, this.#clusterStats.nodeId, {
      onUp: () => this.#tellCluster('info', 'up'),
      onDown: (reason) => this.#tellCluster('warn', 'down', reason),
      onGap: (gap) => this.#tellCluster('warn', 'gap', gap),
      onError: (error) => this.#report.error(error),
    });
    cluster.start(options);
    this.#cluster = cluster;
    this.#engine.cluster = cluster;
  }

  #tellCluster(level, event, ...args) {
    this.#report.log(
      level,
      () => 'cluster',
      () => [event, ...args.map((arg) => printable(JSON.stringify(arg)))].join(' '),
    );
    this.#report.emit(`cluster:${event}`, args);
  }

  async #stopCluster() {
    const cluster = this.#cluster;
    if (cluster === null) return;
    this.#engine.cluster = null;
    await cluster.close(this.#native.closeTimeoutMs);
    this.#clusterStats = cluster.stats();
    this.#cluster = null;
  }

  #refuseSecond(method) {
    // It only waits for its server to listen again.
    if (this.#isClean && this.#cleaning !== null) this.#leave();
    if (this.#installed === null) return;
    throw new Error(
      `${NAME}.${method}: install() or attach() was called already, namely ${this.#installed}(); a plugin serves one application or server at a time, so make another one, or await cleanup() first`,
    );
  }

  #begin(method, host) {
    this.#installed = method;
    this.#internals.hasGate = false;
    this.#host = host;
    this.#report.host = host;
    this.#reopen();
  }

  init() {}

  async cleanup(options) {
    const waves = readWaves(options, `${NAME}.cleanup`);
    if (waves.overMs === 0) this.#waves?.hasten();
    // Begun by the server or the application, it waits for them to start again.
    this.#cleaning ??= this.#cleanUp(waves);
    await this.#cleaning;
  }

  validateConfig() {
    // The constructor has refused everything that is not valid.
    return true;
  }

  async healthCheck() {
    return this.#installed !== null && this.#cleaning === null && this.#native.isHealthy();
  }

  getMetadata() {
    return { name: NAME, version, description: DESCRIPTION };
  }

  isPluginInstalled() {
    return this.#installed !== null;
  }

  getConnections() {
    return this.#engine.connections;
  }

  broadcast(message, room) {
    this.#broadcast(`${NAME}.broadcast`, message, room);
  }

  getStatus() {
    return {
      name: NAME,
      version,
      installed: this.#installed !== null,
      shuttingDown: this.#cleaning !== null,
      connections: this.#engine.open,
      ...(this.#clusterOptions !== null && { cluster: this.#clusterNumbers().cluster.state }),
    };
  }

  getStats(options) {
    const { transports, memory, rateLimited, ...counts } = this.#native.stats();
    // Copies, as those of the native half are of another realm where a test runner has several.
    return {
      ...counts,
      ...(wantsRooms(options) && { rooms: this.#rooms.getRooms() }),
      transports: { ...transports },
      memory: { ...memory },
      rateLimited: { ...rateLimited },
      rejected: { ...this.#native.rejections() },
      ...this.#clusterNumbers(),
    };
  }

  metrics() {
    return this.#native.metrics(this.#clusterNumbers().cluster);
  }

  #clusterNumbers() {
    if (this.#clusterOptions === null) return {};
    return { cluster: this.#cluster?.stats() ?? { ...this.#clusterStats } };
  }

  /** The methods for an application, or for what `attach` returns, which each of them returns. */
  #methodsOf(app) {
    return {
      ws: (...args) => {
        this.#addRoute(...Routes.argumentsOf(args));
        return app;
      },
      wsUse: (...args) => {
        checkCount('wsUse', args, 'middleware', 'it runs for every path; call it once for each');
        const [middleware] = args;
        checkFunction('wsUse', 'middleware', middleware);
        this.#middleware.push(middleware);
        return app;
      },
      wsBroadcast: (message, room) => {
        this.#broadcast('wsBroadcast', message, room);
        return app;
      },
    };
  }

  #broadcast(where, message, room) {
    const checked = checkMessage(where, message, 'message');
    if (Array.isArray(room)) {
      const error = wrongType(where, 'room', 'a string', room);
      error.message += '; rooms.broadcast() of the plugin takes several rooms';
      throw error;
    }
    if (room !== undefined) checkString(where, 'room', room);
    this.#engine.broadcast(checked, room);
  }

  #addRoute(path, options, handler) {
    const shape = inThisRealm(() => this.#native.shapeOf(path));
    for (const hub of this.#hubs) this.#refuseTaken('ws', hub, [shape]);
    this.#routes.add(path, options, handler);
    this.#addFirstSegment(shape);
  }

  #addFirstSegment(shape) {
    const segment = firstSegment(shape);
    if (!/^[:*]/.test(segment)) this.#firstSegments.add(segment);
  }

  /** Refuses a path that another plugin serves on the same server: one of the two would be dead. */
  #refuseTaken(method, hub, shapes) {
    const others = hub.guests.filter((guest) => guest !== this.#guest && !guest.isClosed());
    const taken = new Set(others.flatMap((guest) => guest.shapes()));
    const shape = shapes.find((each) => taken.has(each));
    if (shape === undefined) return;
    throw new Error(
      `${method}: another ${NAME} on this server has the path ${JSON.stringify(shape)} already; give each plugin paths of its own (option "path", '/ws' by default), or clean the other one up first`,
    );
  }

  /**
   * Whether a request, which is no upgrade, is one for a WebSocket path: one with a first segment of
   * its own, as a path such as `*` or `/:page` has the rest of a site in it.
   */
  #isAskedInVain({ method, url }) {
    if (method !== 'GET' && method !== 'HEAD') return false;
    return this.#firstSegments.has(firstSegment(url)) && this.#native.serves(url) !== null;
  }

  #serve(server) {
    const hub = Hub.of(server);
    if (this.#hubs.has(hub)) return;
    this.#refuseTaken(`${NAME}.${this.#installed}`, hub, this.#native.shapes());
    if (this.#native.speaksProxyProtocol) this.#takeProxyHeaders(server);
    if (this.#tls !== null) this.#speakTls(server);
    // Those of servers that an application has made, closed and will not use again.
    for (const closed of [...this.#hubs].filter((each) => !each.server.listening)) {
      closed.remove(this.#guest);
      this.#hubs.delete(closed);
    }
    this.#hubs.add(hub);
    hub.add(this.#guest);
    if (server.listening) this.#guest.serverListens();
  }

  #takeProxyHeaders(server) {
    const where = `${NAME}.${this.#installed}`;
    if (typeof server.setSecureContext === 'function') {
      throw new Error(
        `${where}: option "proxyProtocol" is for a plain http.Server, as the header stands before TLS; give the certificate to option "tls" instead`,
      );
    }
    if (process.versions.bun) {
      throw new Error(`${where}: option "proxyProtocol" needs Node`);
    }
    ProxyHeaders.begin(server, this.#proxied);
  }

  #speakTls(server) {
    const where = `${NAME}.${this.#installed}`;
    if (typeof server.setSecureContext === 'function') {
      throw new Error(
        `${where}: option "tls" is for a plain http.Server, and this one speaks TLS already; give the certificate to one of them`,
      );
    }
    if (process.versions.bun) {
      throw new Error(`${where}: option "tls" needs Node; in Bun, attach to an https.Server`);
    }
    Terminator.begin(server, this.#speaker, this.#tls);
    ProxyHeaders.stayFirst(server);
  }

  #makeProxied() {
    const native = this.#native;
    return {
      handshakeTimeoutMs: native.handshakeTimeoutMs,
      expects: (address) => native.expectsProxyHeader(address),
      isClosed: (server) => this.#isClosed(server),
      refuse: (message) => {
        native.countRefusedHeader();
        this.#report.log(() => 'PROXY', message);
      },
    };
  }

  /** It does not serve on a server any more. */
  #isClosed(server) {
    return this.#cleaning !== null || ![...this.#hubs].some((hub) => hub.server === server);
  }

  #makeSpeaker() {
    const engine = this.#engine;
    return {
      handshakeTimeoutMs: this.#native.handshakeTimeoutMs,
      secure: SPEAKS_TLS ? (...args) => engine.secure(...args) : null,
      socketOf: (client, addresses) => engine.socketOf(client, addresses),
      isClosed: (server) => this.#isClosed(server),
      countRefusedHeader: () => this.#native.countRefusedHeader(),
      log: (message) => this.#report.log('info', () => 'TLS', message),
      reportError: (error) => this.#report.error(error),
    };
  }

  #makeGuest() {
    const native = this.#native;
    return {
      handshakeTimeoutMs: native.handshakeTimeoutMs,
      shapes: () => native.shapes(),
      rank: (url) => native.serves(url),
      take: (request) => new Upgrade(this.#internals, request).start(),
      refuseUnserved: (req) => this.#refuseUnserved(req),
      refuseCut: (req) => this.#refuseCut(req),
      isClosed: () => this.#cleaning !== null,
      serverCloses: (server) => this.#onServerClose(server),
      // A server that is not closed by its close(), or whose connections have all been handed over.
      serverClosed: (server) => this.#onServerClose(server),
      serverListens: () => this.#onceClean(() => this.#mayReopen && this.#serveAgain()),
      forget: () => {
        this.#mayReopen = false;
        this.#onceClean(() => this.#leave());
      },
    };
  }

  #makeInternals() {
    const native = this.#native;
    const routes = this.#routes;
    const { asksForAddress } = native;
    return {
      /** The application runs upgrade requests through middleware of ours. */
      hasGate: false,
      handshakeTimeoutMs: native.handshakeTimeoutMs,
      /** What decides on a handshake, by its number: `verifyClient` and `protocols`. */
      rulesFor: (handshake) => routes.rulesFor(handshake),
      /** Upgrade requests that are neither accepted nor refused. */
      upgrades: new Set(),
      /** The form of a request target that everyone is to see; itself where it cannot be read. */
      normalise: (url) => (NORMAL.test(url) ? url : (native.normalised(url) ?? url)),
      /**
       * Decides as far as that needs no user code, on the request as it is now: user code may change
       * it later. Returns the number of a handshake, which counts until it is withdrawn or adopted, or
       * a rejection.
       */
      admit: (req) => {
        const hosts = countOf(req.rawHeaders, 'host');
        const { peer, forwarded } = asksForAddress ? addressesOf(req) : NO_ADDRESSES;
        const { matchesPattern } = routes;
        const admission = native.admit(
          req.url,
          headOf(req),
          hosts,
          matchesPattern,
          peer,
          forwarded,
        );
        if (typeof admission !== 'number') this.#tellRejection(req, admission);
        return admission;
      },
      /**
       * Counts a rejection, by a key of the statistics, and returns it. `answered` is the status where
       * somebody else has answered.
       */
      refuse: (req, reason, message, { answered, ...answer } = {}) => {
        const rejection = native.reject(rejectReasons[reason], message, answer);
        this.#tellRejection(req, rejection, answered);
        return rejection;
      },
      /** What the application's function chooses, where there is one; undefined for none. */
      chooseProtocol: (protocols, handshake, req) => {
        if (typeof protocols !== 'function') return undefined;
        const choices = native.protocolChoices(handshake);
        if (choices.length === 0) return undefined;
        const chosen = protocols([...choices], req);
        if (chosen === false) return undefined;
        if (choices.includes(chosen)) return chosen;
        const accepted = `false or one of the offered subprotocols (${printable(choices.join(', '))})`;
        throw wrongType('protocols', 'the result', accepted, chosen);
      },
      /** What takes connections over. */
      engine: this.#engine,
      withdraw: (handshake) => native.withdraw(handshake),
      adopt: (fd, handshake, handOff) => this.#engine.adopt(fd, handshake, handOff),
      /** What keeps Node's socket of a connection for its `close` event. */
      closeWith: (connection) => (socket) => internals.closeWith(connection, socket),
      connected: (upgrade) => this.#connected(upgrade),
      reportError: (error) => this.#report.error(error),
      log: (url, message) =>
        this.#report.log(
          'info',
          () => url,
          () => message,
        ),
    };
  }

  #connected({ connection, req, route, bridged }) {
    this.#report.log(
      'debug',
      () => req.url,
      () => `accepted as ${read(connection, 'id')}${bridged ? ' over a bridge' : ''}`,
      () => ({ connection: read(connection, 'id'), bridged }),
    );
    publishConnection(this, connection, req);
    this.#report.emit('connection', [connection, req], connection);
    const { handshakeTimeoutMs } = this.#internals;
    const { handler, middleware } = this.#routes.handlersOf(route);
    const all = [...this.#middleware, ...middleware];
    runPipeline(connection, req, all, handler, handshakeTimeoutMs);
  }

  async #cleanUp({ overMs, code, reason }) {
    this.#native.setShuttingDown(true);
    for (const upgrade of [...this.#internals.upgrades]) {
      try {
        upgrade.refuse('shuttingDown', 'the server is shutting down');
      } catch (error) {
        // A stream of the application's that does not let itself be written to.
        this.#report.error(error);
      }
    }
    if (overMs > 0) await this.#closeInWaves(overMs, code, reason);
    this.#engine.closeAll(code, reason);
    // The engine ends what does not answer within closeTimeoutMs; this is the net below it.
    await this.#engine.whenEmpty(this.#native.closeTimeoutMs + CLOSE_MARGIN_MS);
    this.#engine.stop();
    await this.#stopCluster();
    this.#isClean = true;
    if (!this.#mayReopen) this.#leave();
  }

  async #closeInWaves(overMs, code, reason) {
    const close = (connection) => {
      // Who has ended by itself may still have messages to be delivered.
      if (internals.isOpen(connection)) internals.close(connection, code, reason);
    };
    this.#waves = new Waves(this.#engine.connections, overMs, close);
    await Promise.race([this.#waves.done, this.#engine.whenEmpty()]);
    this.#waves.hasten();
    this.#waves = null;
  }

  /** The response for a request to a path that nobody serves, or served when it came. */
  #refuseUnserved(req) {
    const admission = this.#internals.admit(req);
    if (typeof admission !== 'number') return admission.response;
    this.#internals.withdraw(admission);
    const message = 'no WebSocket was served at this path';
    return this.#internals.refuse(req, 'path', message).response;
  }

  #refuseCut(req) {
    const { method } = req;
    const answer = { status: 431, phrase: 'Request Header Fields Too Large', method };
    const message = 'the request has too many headers';
    return this.#internals.refuse(req, 'badRequest', message, answer).response;
  }

  /** Cleans up, unless another of the plugin's servers still listens. */
  #onServerClose(server) {
    const others = [...this.#hubs].filter((hub) => hub.server !== server);
    if (!others.some((hub) => hub.server.listening)) this.#cleanUpInBackground();
  }

  /** The server or the application ends, and may begin again. */
  #cleanUpInBackground() {
    if (this.#cleaning !== null) return;
    this.#mayReopen = true;
    this.cleanup().catch((error) => this.#report.error(error));
  }

  #onceClean(act) {
    this.#cleaning?.then(act).catch((error) => this.#report.error(error));
  }

  /** The server listens again after it was closed. */
  #serveAgain() {
    this.#reopen();
    this.#startCluster();
  }

  #reopen() {
    this.#cleaning = null;
    this.#isClean = false;
    this.#mayReopen = false;
    this.#native.setShuttingDown(false);
    this.#engine.reopen();
  }

  /** Leaves server and application as if the plugin had never been there. It can be used again. */
  #leave() {
    if (this.#installed === null) return;
    this.#installed = null;
    for (const hub of this.#hubs) hub.remove(this.#guest);
    this.#hubs.clear();
    this.#host?.leave((error) => this.#report.error(error));
  }

  #tellRoom(event, room) {
    this.#report.log(
      'debug',
      () => room,
      () => event,
    );
    this.#report.emitOn(this.#rooms, event, [room]);
    this.#report.emit(event, [room]);
  }

  /** The address of the client of a request, as `remoteAddress` of its connection would be. */
  #addressOf = (req) => {
    const { peer, forwarded } = addressesOf(req);
    return this.#native.trustsProxies ? this.#native.clientAddress(peer, forwarded) : peer;
  };

  /** @param {number} [answered] the status, where it is not that of the rejection */
  #tellRejection(req, { reason, message, status }, answered = status) {
    this.#report.log(
      'info',
      () => req.url,
      () => `rejected (${reason}): ${message}`,
      () => ({ reason, status: answered }),
    );
    if (!this.#report.hears('rejected') && !wantsRejections()) return;
    const rejection = rejectionOf(req, reason, answered, this.#addressOf);
    // Later, as whoever hears it may do anything, and the request is just being decided on.
    process.nextTick(() => {
      publishRejection(this, rejection);
      this.#report.emit('rejected', [rejection]);
    });
  }
}

/** Whether the names of all rooms are to be in the statistics, by the options of `getStats`. */
function wantsRooms(options) {
  if (options === undefined) return true;
  const { rooms } = checkOptions(`${NAME}.getStats`, options, ['rooms']);
  if (rooms !== undefined && typeof rooms !== 'boolean') {
    throw wrongType(`${NAME}.getStats`, 'option "rooms"', 'a boolean', rooms);
  }
  return rooms !== false;
}

/** An object that has no properties to be options: its content is elsewhere. */
function isData(value) {
  return types.isMap(value) || types.isSet(value) || types.isDate(value) || types.isPromise(value);
}

/** Not one of Express, which is a function. */
function isApplication(value) {
  return typeof value === 'object' && typeof value?.use === 'function';
}

/** What the process may use in bytes: the machine's memory, or what a container has of it. */
function memoryOfProcess() {
  const constrained = process.constrainedMemory?.() ?? 0;
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}

/** The engine can speak TLS: where it has descriptors. */
const SPEAKS_TLS = typeof binding.TlsContext === 'function';

/** What is to be said of a cluster that has not begun. */
const NO_CLUSTER = {
  state: 'closed',
  nodes: 0,
  published: 0,
  received: 0,
  delivered: 0,
  dropped: 0,
  ignored: 0,
  missed: 0,
  gaps: 0,
  subscriptions: 0,
  refused: 0,
  reconnects: 0,
  bytesPublished: 0,
  bytesReceived: 0,
  waitingBytes: 0,
  oldestWaitingMs: 0,
};

/** Beyond the time that peers have to answer a close frame. */
const CLOSE_MARGIN_MS = 1000;

/** Request targets, the usual ones, whose normal form is themselves: that need not be asked for. */
const NORMAL = /^\/(?!\/)[\w/~-]*(?:\?[^#]*)?$/;

/** The first segment of a path, as far as it is told without decoding. */
function firstSegment(path) {
  const end = path.slice(1).search(/[/?#]/);
  return end < 0 ? path.slice(1) : path.slice(1, end + 1);
}

/** What the native half reads a request by, as one text: `admit` says which. */
function headOf({ method, httpVersion, headers }) {
  let head = `${method}\n${httpVersion}`;
  for (const name of requestHeaders) {
    const value = headers[name];
    head += value === undefined || value === null ? '\n' : `\n=${value}`;
  }
  return head;
}

/** What says which address the client of a request has; user code may have put anything there. */
function addressesOf({ socket, headers }) {
  const peer = socket?.remoteAddress;
  const forwarded = headers['x-forwarded-for'];
  return {
    peer: typeof peer === 'string' ? peer : undefined,
    forwarded: typeof forwarded === 'string' ? forwarded : undefined,
  };
}

const NO_ADDRESSES = {};

/** How often a header occurs: Node drops all but the first of some. */
function countOf(rawHeaders, name) {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const raw = rawHeaders[index];
    if (raw.length === name.length && raw.toLowerCase() === name) count += 1;
  }
  return count;
}

module.exports = { WebSocketPlugin };
