'use strict';

const { Received } = require('./received.js');
const { ConnectionRefused } = require('./refused.js');

/** A client over a network. `index.d.ts` documents it. */
class Client {
  closed;
  #ws;
  #received = new Received();

  constructor(ws) {
    this.#ws = ws;
    ws.on('message', (data, isBinary) => {
      this.#received.push(isBinary ? data : data.toString());
    });
    this.closed = new Promise((resolve) => {
      ws.once('close', (code, bytes) => {
        const reason = bytes.toString();
        this.#received.end(code, reason);
        resolve({ code, reason });
      });
    });
    // What goes wrong ends the connection, which is told.
    ws.on('error', () => {});
  }

  get protocol() {
    return this.#ws.protocol;
  }

  get waiting() {
    return this.#received.waiting;
  }

  next() {
    return this.#received.next();
  }

  nextJson() {
    return this.#received.nextJson();
  }

  send(data) {
    this.#ws.send(data);
  }

  json(value) {
    this.send(JSON.stringify(value));
  }

  close(code, reason) {
    this.#ws.close(code, reason);
    return this.closed;
  }

  terminate() {
    this.#ws.terminate();
  }
}

function connect(url, { headers, protocols = [], ca } = {}) {
  const WebSocket = webSocketOfWs();
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, protocols, { headers, ca, perMessageDeflate: false });
    // Made now: messages may come in the packet that opens the connection.
    const client = new Client(ws);
    ws.once('open', () => resolve(client));
    ws.once('error', reject);
    ws.once('unexpected-response', (_request, response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.once('end', () => {
        const body = Buffer.concat(chunks).toString();
        reject(new ConnectionRefused(response.statusCode, response.headers, body));
        ws.terminate();
      });
    });
  });
}

function webSocketOfWs() {
  try {
    return require('ws');
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    throw new Error(
      'connect() of nextrush-websocket/testing needs the package "ws": npm install --save-dev ws',
    );
  }
}

module.exports = { connect };
