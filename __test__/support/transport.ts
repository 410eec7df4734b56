/**
 * How bytes get from the clients of the tests to the plugin. The specs whose behaviour may differ by
 * it run several times, as vitest.config.mjs says, each time with another `TEST_TRANSPORT`:
 *
 * - `adopted`: the plugin takes the descriptors of plain connections over;
 * - `secure`: the same, and the engine speaks TLS on them;
 * - `bridge`: plain connections whose bytes JavaScript pumps;
 * - `tls`: an `https.Server`, whose connections are always pumped.
 */
import http, { type Server } from 'node:http';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { type Certificate, makeCertificate } from './certificate.js';

const name = process.env.TEST_TRANSPORT ?? 'adopted';

/** What servers have that speak TLS themselves. */
const certificate: Certificate | undefined = name === 'tls' ? makeCertificate() : undefined;

/** What clients see. */
const presented: Certificate | undefined =
  name === 'secure' ? JSON.parse(process.env.TEST_CERTIFICATE ?? '') : certificate;

/** Bun has no descriptors to be taken over. */
export const isBun = process.versions.bun !== undefined;

/**
 * Whether the engine has the sockets themselves, so that no byte of theirs waits for JavaScript. Windows
 * has no descriptors either.
 */
export const adopts =
  (name === 'adopted' || name === 'secure') && !isBun && process.platform !== 'win32';

/** Whether everything is encrypted. */
export const encrypts = presented !== undefined;

/** Whether servers speak TLS by their plugin, and so only where and while there has been one. */
export const securesByPlugin = name === 'secure';

/** What the host application has to be told of it. */
export const hostOptions: { tls?: Certificate } = certificate ? { tls: certificate } : {};

/** What clients have to be told of it: whose certificate to trust. */
const trust: { ca?: string } = presented ? { ca: presented.cert } : {};

/**
 * The same for clients of this process. They share a context, because making one of their own is a
 * third of what a connection costs; Bun makes them all the same.
 */
export const clientOptions: { ca?: string; secureContext?: tls.SecureContext } = presented
  ? { ...trust, secureContext: tls.createSecureContext(trust) }
  : {};

export function httpUrl(port: number | string, path = '/'): string {
  return `${encrypts ? 'https' : 'http'}://127.0.0.1:${port}${path}`;
}

export function wsUrl(port: number | string, path = '/ws'): string {
  return `${encrypts ? 'wss' : 'ws'}://127.0.0.1:${port}${path}`;
}

/** A bare server. */
export function createServer(): Server {
  // Node's types have two classes, of which the second has all that tests use of the first.
  return certificate ? (https.createServer(certificate) as unknown as Server) : http.createServer();
}

/** The same as {@link createServer} as an expression, for scripts in a process of their own. */
export const createServerSource = certificate
  ? `require('node:https').createServer(${JSON.stringify(certificate)})`
  : `require('node:http').createServer()`;

/** A function for such scripts that begins a connection by `ws`, of a port and a path. */
export const clientSource = `((port, path) => new (require('ws'))(
  '${encrypts ? 'wss' : 'ws'}://127.0.0.1:' + port + path, ${JSON.stringify(trust)}))`;

export interface Dialled {
  /** What the peer reads and writes. */
  stream: net.Socket;
  /** The TCP connection below: the same, unless that is encrypted. */
  tcp: net.Socket;
  /** The event of `stream` that says that it can be used. */
  ready: 'connect' | 'secureConnect';
}

/** Begins a connection to a server on this machine. */
export function dial(port: number): Dialled {
  const tcp = net.connect(port, '127.0.0.1');
  if (!presented) return { stream: tcp, tcp, ready: 'connect' };
  const stream = tls.connect({ socket: tcp, host: '127.0.0.1', ...clientOptions });
  // Who waits for the stream hears of it there.
  tcp.on('error', () => {});
  return { stream, tcp, ready: 'secureConnect' };
}
