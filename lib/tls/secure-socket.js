'use strict';

const { X509Certificate } = require('node:crypto');
const net = require('node:net');

/**
 * What Node serves HTTP on where the engine speaks TLS with the client: its plaintext, with the members
 * of a `tls.TLSSocket` that say who the client is and how it is spoken with.
 */
class SecureSocket extends net.Socket {
  /** Whether everything on the wire is encrypted. */
  encrypted = true;
  #peerName;
  #ownName;
  #client;
  #onDestroy;

  /**
   * @param {number} fd the plaintext; this socket closes it
   * @param {object} client what the native half knows of the client
   * @param {{ peer: object, own: object }} addresses of the two ends of the connection
   * @param {{ engine: object, pump: number, onDestroy: (socket: SecureSocket, pump: number) => void }} pumped which
   *   engine speaks TLS, what it calls the connection, and what is called when this socket is destroyed
   */
  constructor(fd, client, { peer, own }, { engine, pump, onDestroy }) {
    super({ fd, readable: true, writable: true, allowHalfOpen: true });
    this.#peerName = peer;
    this.#ownName = own;
    this.#client = client;
    this.#onDestroy = onDestroy;
    Object.defineProperty(this, PUMP, { value: { engine, pump } });
    /** Whether the client has a certificate that is valid; `false` where none was asked for. */
    this.authorized = client.authorizationError === undefined && client.peerCertificates.length > 0;
    this.authorizationError = client.authorizationError ?? null;
    this.alpnProtocol = client.alpn ? 'http/1.1' : false;
    this.servername = client.serverName ?? false;
  }

  getProtocol() {
    return this.#client.protocol;
  }

  getCipher() {
    const { cipher: name, standardCipher: standardName, protocol: version } = this.#client;
    return { name, standardName, version };
  }

  isSessionReused() {
    return this.#client.resumed;
  }

  /** The client's certificate as an object, empty where it has none. */
  getPeerCertificate(detailed = false) {
    const chain = this.#client.peerCertificates.map((der) => new X509Certificate(der));
    if (chain.length === 0) return {};
    const objects = chain.map((certificate) => certificate.toLegacyObject());
    if (detailed) {
      for (const [index, object] of objects.entries()) {
        // A root is its own issuer, and of the last of a chain nobody knows the issuer.
        const issuer =
          objects[index + 1] ?? (chain[index].checkIssued(chain[index]) ? object : null);
        if (issuer !== null) object.issuerCertificate = issuer;
      }
    }
    return objects[0];
  }

  getPeerX509Certificate() {
    const [own] = this.#client.peerCertificates;
    return own === undefined ? undefined : new X509Certificate(own);
  }

  /** What the address getters of a `net.Socket` ask: this one's own ends are those of a pair. */
  _getpeername() {
    return this.#peerName;
  }

  _getsockname() {
    return this.#ownName;
  }

  _destroy(error, callback) {
    this.#onDestroy(this, this[PUMP].pump);
    super._destroy(error, callback);
  }
}

const PUMP = Symbol('nextrush-websocket pump');

/** What an engine calls a connection whose TLS it speaks; `undefined` for every other socket. */
function pumpOf(socket, engine) {
  const pumped = socket[PUMP];
  return pumped?.engine === engine ? pumped.pump : undefined;
}

module.exports = { SecureSocket, pumpOf };
