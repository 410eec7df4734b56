/** How the examples start and stop; nothing in here is about WebSockets. */

import { once } from 'node:events';
import { existsSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * @typedef {object} StartOptions
 * @property {number} [port] 0 lets the system choose one.
 * @property {string} [host]
 */

/**
 * @callback Start
 * @param {StartOptions} options
 * @returns {Promise<{ server: import('node:http').Server, close(): Promise<void> }>}
 */

/**
 * Starts to listen and resolves when clients can connect.
 *
 * @param {import('./host/index.d.ts').Application} app
 * @param {import('../index.js').WebSocketPlugin} wsPlugin
 * @param {StartOptions} [options]
 */
export async function launch(app, wsPlugin, { port = 3000, host } = {}) {
  const server = app.listen(port, host);
  await once(server, 'listening');
  return {
    app,
    server,
    wsPlugin,
    /** Closes every connection and the server. The process ends three seconds later. */
    async close() {
      await wsPlugin.cleanup();
      await app.shutdown();
      await app.eventSystem.shutdown();
    },
  };
}

/**
 * The same for a server of another framework: resolves when clients can connect.
 *
 * @param {import('node:http').Server} server
 * @param {import('../index.js').WebSocketPlugin} wsPlugin
 */
export async function whenListening(server, wsPlugin) {
  await once(server, 'listening');
  return {
    server,
    wsPlugin,
    /** Closes every connection and the server. */
    async close() {
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * Starts an example if its file is the one that Node was told to run.
 *
 * @param {ImportMeta} meta `import.meta` of the example.
 * @param {Start} start
 */
export async function startIfMain(meta, start) {
  const main = process.argv[1];
  if (!main || !existsSync(main) || realpathSync(main) !== fileURLToPath(meta.url)) return;
  await serve(start);
}

/**
 * Serves on `PORT` (3000 by default), until the process is interrupted.
 *
 * @param {Start} start
 */
export async function serve(start) {
  const { server, close } = await start({
    port: Number(process.env.PORT ?? 3000),
    host: process.env.HOST,
  });
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  console.log(`http://localhost:${port}`);
  process.once('SIGINT', close);
  process.once('SIGTERM', close);
}
