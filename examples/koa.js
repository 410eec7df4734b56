/**
 * Koa: a chat, and a page that tells how many are in it.
 *
 *   node examples/koa.js
 *   npx wscat -c ws://localhost:3000/chat
 *   curl localhost:3000/members
 */

import Koa from 'koa';
import { WebSocketPlugin } from '../index.mjs';
import { startIfMain, whenListening } from './launch.js';

/** @param {import('./launch.js').StartOptions} [options] */
export async function start({ port = 3000, host = '127.0.0.1' } = {}) {
  const wsPlugin = new WebSocketPlugin();

  const app = new Koa();
  app.use(async (ctx, next) => {
    if (ctx.path !== '/members') return next();
    ctx.body = { members: wsPlugin.getStats().totalConnections };
  });
  const server = app.listen(port, host);

  wsPlugin.attach(server).ws('/chat', (socket) => {
    socket.join('chat');
    socket.onMessage((data) => socket.broadcast('chat', data));
  });

  return whenListening(server, wsPlugin);
}

await startIfMain(import.meta, start);
