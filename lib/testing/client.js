'use strict';

const { ConnectionRefused } = require('./refused.js');

/** A client over a network. `index.d.ts` documents it. */
class Client {
  closed;
  waiting = [];
  #ws;
  #takers = [];
  #end = null;

  constructor(ws) {
    this.#ws = ws;
    ws.on('message', (data, isBinary) => this.#onMessage(isBinary ? data : data.toString()));
    this.closed = new Promise((resolve) => {
      ws.once('close', (code, reason) => {
        this.#end = { code, reason: reason.toString() };
        for (const { reject } of this.#takers.splice(0)) reject(this.#wasClosed());
        resolve(this.#end);
      });
    });
    // What goes wrong ends the connection, which is told.
    ws.on('error', () => {});
  }

  #onMessage(message) {
    const taker = this.#takers.shift();
    if (taker === undefined) this.waiting.push(message);
    else taker.resolve(message);
  }

  #wasClosed() {
    const { code, reason } = this.#end;
    return new Error(`the connection was closed with ${code}${reason && `: ${reason}`}`);
  }

  get protocol() {
    return this.#ws.protocol;
  }

  next() {
    if (this.waiting.length > 0) return Promise.resolve(this.waiting.shift());
    if (this.#end !== null) return Promise.reject(this.#wasClosed());
    return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }));
  }

  async nextJson() {
    return JSON.parse((await this.next()).toString());
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
