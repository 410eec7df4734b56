/**
 * Express: a chat, and a route that sends to everyone in it.
 *
 *   node examples/express.js
 *   npx wscat -c ws://localhost:3000/chat
 *   curl -H 'content-type: text/plain' -d 'lunch is ready' localhost:3000/announce
 */

import express from 'express';
import { WebSocketPlugin } from '../index.mjs';
import { startIfMain, whenListening } from './launch.js';

/** @param {import('./launch.js').StartOptions} [options] */
export async function start({ port = 3000, host = '127.0.0.1' } = {}) {
  const app = express();
  const server = app.listen(port, host);

  const wsPlugin = new WebSocketPlugin();
  const sockets = wsPlugin.attach(server);

  sockets.ws('/chat', (socket) => {
    socket.join('chat');
    socket.onMessage((data) => sockets.wsBroadcast(data.toString(), 'chat'));
  });

  app.post('/announce', express.text(), (req, res) => {
    sockets.wsBroadcast(req.body, 'chat');
    res.sendStatus(204);
  });

  return whenListening(server, wsPlugin);
}

await startIfMain(import.meta, start);
