'use strict';

const { createServer, IncomingMessage } = require('node:http');
// The one of Node, whatever fake timers put into the place of the global one later.
const { setImmediate } = require('node:timers');

const { checkString } = require('../check.js');
const { WebSocketPlugin } = require('../plugin.js');
const { Loopback } = require('./loopback.js');
const { refusalOf } = require('./refused.js');
const { RequestStream } = require('./request-stream.js');
const { TestClient } = require('./test-client.js');

/** Of RFC 6455 §1.3: any key will do, as nobody checks the answer. */
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

/** A plugin without a network. `index.d.ts` documents it. */
class TestWebSocketPlugin extends WebSocketPlugin {
  /** What takes the upgrade requests. */
  #server = null;
  #methods = null;
  #loopback;
  /** What is called with the connection of a request. */
  #waiting = new Map();

  constructor(options) {
    let loopback;
    super(withoutCluster(options), (native) => {
      loopback = new Loopback(native, options);
      return loopback.standIn;
    });
    this.#loopback = loopback;
    this.on('connection', (socket, req) => {
      this.#waiting.get(req)?.(socket);
      this.#waiting.delete(req);
    });
  }

  install(app) {
    super.install(app);
    this.#server = app.getServer?.() ?? app.server;
  }

  attach(server, options) {
    const methods = super.attach(server, options);
    this.#server = server;
    return methods;
  }

  /** What an application would have. */
  get app() {
    this.#methods ??= this.attach(createServer());
    return this.#methods;
  }

  connect(url = '/', { headers, protocols, remoteAddress = '127.0.0.1' } = {}) {
    checkString('connect', 'url', url);
    if (!this.isPluginInstalled()) this.#methods = this.attach(createServer());
    return new Promise((resolve, reject) => {
      const client = new TestClient(this.#loopback);
      const onResponse = (response) => {
        // The end of a connection is none.
        if (client.socket !== undefined) return;
        this.#waiting.delete(req);
        reject(refusalOf(response));
      };
      const stream = new RequestStream(remoteAddress, onResponse);
      const req = requestOf(stream, url, headers, protocols);
      this.#waiting.set(req, (socket) => {
        client.socket = socket;
        // By then promises have settled that wait for nothing, and whom middleware has closed knows it.
        setImmediate(() => resolve(client));
      });
      client.announce();
      this.#server.emit('upgrade', req, stream, Buffer.alloc(0));
    });
  }
}

/** Brokers are a network, too, and nobody would hear anything of them. */
function withoutCluster(options) {
  return options?.cluster === undefined ? options : { ...options, cluster: undefined };
}

function requestOf(stream, url, headers, protocols = []) {
  const req = new IncomingMessage(stream);
  req.method = 'GET';
  req.url = url;
  req.httpVersion = '1.1';
  req.httpVersionMajor = 1;
  req.httpVersionMinor = 1;
  const all = {
    Host: 'localhost',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': KEY,
    ...(protocols.length > 0 && { 'Sec-WebSocket-Protocol': protocols.join(', ') }),
    ...headers,
  };
  for (const [name, value] of Object.entries(all)) {
    req.rawHeaders.push(name, value);
    req.headers[name.toLowerCase()] = value;
  }
  return req;
}

module.exports = { TestWebSocketPlugin };
