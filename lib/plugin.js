'use strict';

const { EventEmitter } = require('node:events');

const binding = require('./native.js');
const { version } = require('../package.json');
const { checkFunction, checkMessage, checkString, wrongType } = require('./check.js');
const { Engine } = require('./engine.js');
const { isThenable, toError } = require('./errors.js');
const { runPipeline } = require('./pipeline.js');
const { RoomManager } = require('./rooms.js');
const { UPGRADE, attach } = require('./upgrade.js');

const NAME = 'WebSocketPlugin';
const DESCRIPTION = 'WebSocket server with rooms, middleware and heartbeat, on a native engine';

/**
 * The WebSocket plugin. `index.d.ts` documents its methods and options.
 *
 * Decisions and numbers come from the native half; here is what needs Node's own objects.
 */
class WebSocketPlugin extends EventEmitter {
  #native;
  #engine;
  #rooms;
  /** What has the plugin's methods: an application, or what `attach` returned. */
  #app = null;
  #handlers = [];
  #middleware = [];
  #servers = new Set();
  /** What an upgrade request sees of the plugin. */
  #internals;
  /** The clean-up under way or done. */
  #cleaning = null;

  constructor(options) {
    super();
    this.#native = new binding.WebSocketPlugin(options);
    this.#engine = new Engine(this.#native, {
      onEnd: (connection, code, reason) => {
        this.#log(connection.url, `closed with ${code}${reason && `: ${printable(reason)}`}`);
        this.#tell('close', connection, code, reason);
      },
      onError: (error, connection) => this.#report(error, connection),
      onRoomCreated: (room) => this.#tellRoom('room:created', room),
      onRoomDestroyed: (room) => this.#tellRoom('room:destroyed', room),
    });
    this.#rooms = new RoomManager(this.#engine, this.#native);
    this.#internals = this.#makeInternals(options);
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

  install(app) {
    this.#refuseSecond();
    if (app === null || (typeof app !== 'object' && typeof app !== 'function')) {
      throw wrongType(`${NAME}.install`, 'app', 'an application', app);
    }
    if (typeof app === 'function' && typeof app.handle === 'function') {
      throw new TypeError(
        `${NAME}.install: middleware of Express and connect takes other arguments; use attach() with the server that listen() returns`,
      );
    }
    this.#findServer(app);
    this.#app = app;
    this.#addMethods(app);
    if (typeof app.use === 'function') this.#addMiddleware(app);
    if (typeof app.on === 'function') app.on('shutdown', () => this.#cleanUpInBackground());
  }

  attach(server) {
    this.#refuseSecond();
    if (!isServer(server) || typeof server.setTimeout !== 'function') {
      const accepted = 'an http.Server or https.Server, such as listen() returns';
      throw wrongType(`${NAME}.attach`, 'server', accepted, server);
    }
    const methods = {};
    this.#addMethods(methods);
    this.#serve(server);
    this.#app = methods;
    return methods;
  }

  #refuseSecond() {
    if (this.#app !== null) throw new Error(`${NAME}: install() or attach() was called already`);
  }

  init() {}

  async cleanup() {
    this.#cleaning ??= this.#cleanUp();
    await this.#cleaning;
  }

  validateConfig() {
    // The constructor has refused everything that is not valid.
    return true;
  }

  async healthCheck() {
    return this.#app !== null && this.#cleaning === null && this.#native.isHealthy();
  }

  getMetadata() {
    return { name: NAME, version, description: DESCRIPTION };
  }

  isPluginInstalled() {
    return this.#app !== null;
  }

  getStatus() {
    return {
      name: NAME,
      version,
      installed: this.#app !== null,
      shuttingDown: this.#cleaning !== null,
      connections: this.#engine.open,
    };
  }

  getStats() {
    return { ...this.#native.stats(), rejected: this.#native.rejections() };
  }

  #addMethods(app) {
    app.ws = (path, handler) => {
      checkString('ws', 'path', path);
      checkFunction('ws', 'handler', handler);
      this.#native.ws(path, this.#handlers.length);
      this.#handlers.push(handler);
      return app;
    };
    app.wsUse = (middleware) => {
      checkFunction('wsUse', 'middleware', middleware);
      this.#middleware.push(middleware);
      return app;
    };
    app.wsBroadcast = (message, room) => {
      const checked = checkMessage('wsBroadcast', message);
      if (room !== undefined) checkString('wsBroadcast', 'room', room);
      this.#engine.broadcast(checked, room);
      return app;
    };
  }

  /**
   * Two middleware: one tells every context about WebSockets and belongs before all others; one
   * turns an upgrade request into a connection and stands where the plugin was installed, so that
   * what was installed before it can still refuse.
   */
  #addMiddleware(app) {
    const enhance = (ctx) => {
      const upgrade = ctx.req?.[UPGRADE];
      ctx.isWebSocket = upgrade !== undefined;
      // Contexts are pooled: what is not set again would be another request's.
      ctx.ws = upgrade?.connection ?? undefined;
      if (upgrade === undefined || upgrade.plugin === this.#internals) ctx.wsRooms = this.#rooms;
      return upgrade;
    };
    const context = async (ctx, next) => {
      enhance(ctx);
      await next();
    };
    const gate = async (ctx, next) => {
      const upgrade = enhance(ctx);
      if (upgrade?.plugin === this.#internals) {
        const connection = await upgrade.accept();
        // Refused: the client has its answer, and nothing is left to be served.
        if (connection === null) return;
        ctx.ws = connection;
      }
      await next();
    };
    app.use(context);
    moveToFront(app, context);
    app.use(gate);
    this.#internals.hasGate = true;
  }

  #findServer(app) {
    const server = serverOf(app);
    if (server !== undefined) return this.#serve(server);
    if (typeof app.listen !== 'function') {
      throw new TypeError(
        `${NAME}.install: the application must have getServer(), server or listen()`,
      );
    }
    // listen() is going to make the server.
    const { listen } = app;
    app.listen = (...args) => {
      const result = listen.apply(app, args);
      const made = isServer(result) ? result : serverOf(app);
      if (made !== undefined) this.#serve(made);
      else if (isThenable(result)) {
        result.then((settled) => {
          const later = isServer(settled) ? settled : serverOf(app);
          if (later !== undefined) this.#serve(later);
        }, ignore);
      }
      return result;
    };
  }

  #serve(server) {
    if (this.#servers.has(server)) return;
    this.#servers.add(server);
    attach(server, this.#internals);
    // A server that is not closed by its close(), or whose connections have all been handed over.
    server.on('close', () => {
      if (!server.listening) this.#cleanUpInBackground();
    });
    server.on('listening', () => this.#cleaning?.then(() => this.#reopen()));
  }

  #makeInternals(options) {
    const native = this.#native;
    const patterns = native.regexpsForJavascript.map((index) => {
      const { source, flags } = options.allowOrigins[index];
      // Without the flag that makes test() start where it stopped the last time.
      return new RegExp(source, flags.replace('g', ''));
    });
    const matchesPattern = (origin) =>
      patterns.some((pattern) => {
        pattern.lastIndex = 0;
        return pattern.test(origin);
      });
    return {
      /** The application runs upgrade requests through middleware of ours. */
      hasGate: false,
      handshakeTimeoutMs: native.handshakeTimeoutMs,
      verifyClient: options?.verifyClient,
      /** Upgrade requests that are neither accepted nor refused. */
      upgrades: new Set(),
      serves: (url) => native.serves(url) !== null,
      /** Number of the route, -1 for none, or a rejection. From then on it counts. */
      admit: (req) => {
        const { headers } = req;
        const admission = native.admit(
          req.url,
          req.method,
          req.httpVersionMajor,
          req.httpVersionMinor,
          headers.host,
          countHosts(req.rawHeaders),
          headers.upgrade,
          headers.connection,
          headers['sec-websocket-key'],
          headers['sec-websocket-version'],
          headers['sec-websocket-protocol'],
          headers['sec-websocket-extensions'],
          headers.origin,
          matchesPattern,
        );
        if (typeof admission !== 'number') this.#logRejection(req, admission);
        return admission;
      },
      /** Counts a rejection and returns it. */
      refuse: (req, reason, message) => {
        const rejection = native.reject(reason, message, req.method);
        this.#logRejection(req, rejection);
        return rejection;
      },
      /** The subprotocol of an admitted request, or undefined for none. */
      chooseProtocol: (req) => {
        const choices = native.protocolChoices(req.headers['sec-websocket-protocol']);
        if (typeof options?.protocols !== 'function') return choices[0];
        if (choices.length === 0) return undefined;
        const chosen = options.protocols([...choices], req);
        if (chosen === false) return undefined;
        if (choices.includes(chosen)) return chosen;
        throw wrongType(
          'protocols',
          'the result',
          `false or one of the offered subprotocols (${choices.join(', ')})`,
          chosen,
        );
      },
      withdraw: () => native.withdraw(),
      adopt: (handOff) => this.#engine.adopt(handOff),
      serverCloses: () => this.#cleanUpInBackground(),
      connected: (upgrade) => this.#connected(upgrade),
      reportError: (error) => this.#report(error),
      log: (url, message) => this.#log(url, message),
    };
  }

  #connected({ connection, req, route, bridged }) {
    this.#log(req.url, `accepted as ${connection.id}${bridged ? ' over a bridge' : ''}`);
    this.#tell('connection', connection, req);
    const { handshakeTimeoutMs } = this.#internals;
    runPipeline(
      connection,
      req,
      [...this.#middleware],
      route < 0 ? undefined : this.#handlers[route],
      handshakeTimeoutMs,
    );
  }

  async #cleanUp() {
    this.#native.setShuttingDown(true);
    for (const upgrade of this.#internals.upgrades) {
      upgrade.refuse('shuttingDown', 'the server is shutting down');
    }
    this.#engine.closeAll(1001, 'server is shutting down');
    // The engine ends what does not answer within closeTimeoutMs; this is the net below it.
    await this.#engine.whenEmpty(this.#native.closeTimeoutMs + CLOSE_MARGIN_MS);
    this.#engine.stop();
  }

  #cleanUpInBackground() {
    this.cleanup().catch((error) => this.#report(error));
  }

  /** The server listens again after it was closed. */
  #reopen() {
    this.#cleaning = null;
    this.#native.setShuttingDown(false);
  }

  #tellRoom(event, room) {
    this.#log(room, event);
    this.#emitSafely(this.#rooms, event, room);
    this.#tell(event, room);
  }

  /** Emits on the plugin and tells the application. */
  #tell(event, ...args) {
    this.#emitSafely(this, event, ...args);
    if (typeof this.#app?.emit === 'function') {
      this.#emitSafely(this.#app, `plugin:${NAME}:${event}`, ...args);
    }
  }

  #emitSafely(emitter, event, ...args) {
    try {
      emitter.emit(event, ...args);
    } catch (error) {
      if (event === 'error' || event.endsWith(':error')) printError(error);
      else this.#report(error);
    }
  }

  /** Tells of an error that user code or the system caused; on stderr where nobody listens. */
  #report(thrown, connection) {
    const error = toError(thrown);
    const applicationEvent = `plugin:${NAME}:error`;
    const heard =
      this.listenerCount('error') > 0 || this.#app?.listenerCount?.(applicationEvent) > 0;
    if (!heard) return printError(error, connection);
    if (this.listenerCount('error') > 0) this.#emitSafely(this, 'error', error, connection);
    if (typeof this.#app?.emit === 'function') {
      this.#emitSafely(this.#app, applicationEvent, error, connection);
    }
  }

  #logRejection(req, { reason, message }) {
    this.#log(req.url, `rejected (${reason}): ${message}`);
  }

  #log(subject, message) {
    if (this.#native.debug) console.log(`[${NAME}] ${printable(subject)} ${message}`);
  }
}

/** Beyond the time that peers have to answer a close frame. */
const CLOSE_MARGIN_MS = 1000;

function ignore() {}

/** How many header lines `Host` there are: `headers` only has the first. */
function countHosts(rawHeaders) {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    if (name.length === 4 && name.toLowerCase() === 'host') count += 1;
  }
  return count;
}

function isServer(value) {
  return (
    typeof value?.on === 'function' &&
    typeof value.listenerCount === 'function' &&
    typeof value.close === 'function' &&
    typeof value.address === 'function'
  );
}

function serverOf(app) {
  const candidates = [
    typeof app.getServer === 'function' ? app.getServer() : undefined,
    app.server,
  ];
  return candidates.find(isServer);
}

/**
 * Moves `middleware`, which `app.use` has just taken, before all others, where the application
 * keeps them in an array of its own. Elsewhere it stays at the end of what was installed so far.
 */
function moveToFront(app, middleware) {
  for (const value of Object.values(app)) {
    if (!Array.isArray(value)) continue;
    const index = value.lastIndexOf(middleware);
    if (index <= 0) continue;
    value.splice(index, 1);
    value.unshift(middleware);
  }
}

function printError(error, connection) {
  const where = connection === undefined ? '' : ` (connection ${connection.id})`;
  console.error(`[${NAME}] error${where}:`, error);
}

/** A client's text on one line. */
function printable(text) {
  const escaped = JSON.stringify(text).slice(1, -1).slice(0, 200);
  // What JSON leaves as it is, but terminals and viewers of logs may not.
  return escaped.replace(
    /[\x7f-\x9f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

module.exports = { WebSocketPlugin };
