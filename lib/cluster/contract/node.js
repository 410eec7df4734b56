'use strict';

/**
 * A server that does what a contract tells it, in whatever process an adapter needs.
 *
 * There are members, on `/member?name=…`: what one sends is broadcast in the room in which it speaks.
 * And there is the contract, on `/control`: its commands are JSON, and so are the answers and events,
 * after a mark by which it tells them from broadcasts to everyone.
 */

const { once } = require('node:events');
const { createServer } = require('node:http');

const { WebSocketPlugin } = require('../../plugin.js');

/** Stands before what the contract is told. */
const MARK = '\u0001contract ';

/** Events of the plugin that the contract is told of. */
const EVENTS = ['cluster:up', 'cluster:down', 'cluster:gap'];

/**
 * @param {{ cluster: object }} options
 * @returns {Promise<{ port: number, close(): Promise<void> }>}
 */
async function startContractNode({ cluster }) {
  const server = createServer();
  const plugin = new WebSocketPlugin({ cluster, path: '/control' });
  const sockets = plugin.attach(server);
  const contract = new Contract(plugin, sockets);
  sockets.ws('/control', (socket) => contract.control(socket));
  sockets.ws('/member', (socket) => contract.member(socket));
  // Workers of node:cluster would share the port.
  server.listen({ port: 0, host: '127.0.0.1', exclusive: true });
  await once(server, 'listening');
  return {
    port: server.address().port,
    async close() {
      await plugin.cleanup();
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}

class Contract {
  #plugin;
  #sockets;
  /** Members by name, and the rooms in which they speak. */
  #members = new Map();
  #speakIn = new Map();
  /** All that has happened. */
  #events = [];
  #controls = new Set();

  constructor(plugin, sockets) {
    this.#plugin = plugin;
    this.#sockets = sockets;
    for (const name of EVENTS) plugin.on(name, (detail) => this.#tell({ event: name, detail }));
    plugin.on('error', (error) => this.#tell({ event: 'error', detail: error.message }));
  }

  #tell(event) {
    this.#events.push(event);
    for (const socket of this.#controls) socket.send(MARK + JSON.stringify(event));
  }

  member(socket) {
    const name = new URL(socket.url, 'http://localhost').searchParams.get('name');
    this.#members.set(name, socket);
    socket.onMessage((message) => socket.broadcast(this.#speakIn.get(name), message));
    socket.send('welcome');
  }

  control(socket) {
    for (const event of this.#events) socket.send(MARK + JSON.stringify(event));
    this.#controls.add(socket);
    socket.onClose(() => this.#controls.delete(socket));
    socket.onMessage((text) => {
      const { id, does, ...what } = JSON.parse(text);
      const answer = this[`_${does}`](what) ?? null;
      socket.send(MARK + JSON.stringify({ id, answer }));
    });
  }

  _join({ name, room }) {
    this.#members.get(name).join(room);
  }

  _leave({ name, room }) {
    this.#members.get(name).leave(room);
  }

  _speakIn({ name, room }) {
    this.#speakIn.set(name, room);
  }

  /** Texts in a room, in several, or to everyone. */
  _broadcast({ room, texts }) {
    for (const text of texts) {
      if (Array.isArray(room)) this.#plugin.rooms.broadcast(room, text);
      else this.#sockets.wsBroadcast(text, room ?? undefined);
    }
  }

  _stats() {
    return this.#plugin.getStats().cluster;
  }
}

module.exports = { MARK, startContractNode };
