/**
 * Fastify: every order that is posted goes to whoever watches that customer's orders.
 *
 *   node examples/fastify.js
 *   npx wscat -c ws://localhost:3000/orders/ada
 *   curl --json '{"item":"tea"}' localhost:3000/orders/ada
 */

import { fastify } from 'fastify';
import { WebSocketPlugin } from '../index.mjs';
import { startIfMain } from './launch.js';

/** @param {import('./launch.js').StartOptions} [options] */
export async function start({ port = 3000, host = '127.0.0.1' } = {}) {
  const app = fastify();
  const { server } = app;

  const wsPlugin = new WebSocketPlugin();
  const sockets = wsPlugin.attach(server);

  sockets.ws('/orders/:customer', (socket) => socket.join(socket.url));

  app.post('/orders/:customer', async (request, reply) => {
    sockets.wsBroadcast(JSON.stringify(request.body), request.url);
    return reply.code(204).send();
  });

  await app.listen({ port, host });
  return { server, wsPlugin, close: () => app.close() };
}

await startIfMain(import.meta, start);
