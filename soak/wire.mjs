/**
 * How everybody reaches the server: in the clear, or over TLS where there is a certificate in
 * `SOAK_CERTIFICATE`, which `run.mjs` makes for all processes.
 */
import net from 'node:net';
import process from 'node:process';
import tls from 'node:tls';

/** @type {{ cert: string, key: string } | undefined} */
export const certificate = process.env.SOAK_CERTIFICATE && JSON.parse(process.env.SOAK_CERTIFICATE);

/** Made once: a context is a third of what a connection costs a client. */
const secureContext = certificate && tls.createSecureContext({ ca: certificate.cert });

const HOST = '127.0.0.1';

export const wsUrl = (port, path) => `${certificate ? 'wss' : 'ws'}://${HOST}:${port}${path}`;

export const httpUrl = (port, path) => `${certificate ? 'https' : 'http'}://${HOST}:${port}${path}`;

/** What `ws` and `node:https` have to be told. */
export const clientOptions = certificate ? { secureContext } : {};

/**
 * Begins a connection. `stream` is what the peer reads and writes, `tcp` what is below it: the same, in
 * the clear.
 * @param {number} port
 * @param {{ allowHalfOpen?: boolean }} options
 */
export function dial(port, { allowHalfOpen = false } = {}) {
  const tcp = net.connect({ port, host: HOST, noDelay: true, allowHalfOpen });
  if (!certificate) return { stream: tcp, tcp };
  const stream = tls.connect({ socket: tcp, host: HOST, secureContext, allowHalfOpen });
  // The stream tells of it, too.
  tcp.on('error', () => {});
  return { stream, tcp };
}
