/**
 * The quick start of the reference: a chat in one room. Open http://localhost:3000 in two tabs.
 */

import { readFile } from 'node:fs/promises';
import { WebSocketPlugin, withWebSocket } from '../index.mjs';
import { createApp } from './host/index.js';
import { launch, startIfMain } from './launch.js';

const page = await readFile(new URL('./public/quick-start.html', import.meta.url), 'utf8');

/** @param {import('./launch.js').StartOptions} [options] */
export async function start(options) {
  const app = createApp();

  // Basic WebSocket plugin
  const wsPlugin = new WebSocketPlugin({
    path: '/ws',
  });

  wsPlugin.install(app);

  // Get typed WebSocket application
  const wsApp = withWebSocket(app);

  // Define WebSocket handlers
  wsApp.ws('/chat', (socket) => {
    console.log('New WebSocket connection:', socket.id);

    // Join a room
    socket.join('general');

    // Listen for messages
    socket.onMessage((data) => {
      const message = JSON.parse(data.toString());

      // Broadcast to all clients in room using app-level broadcast
      wsApp.wsBroadcast(
        JSON.stringify({
          user: message.user,
          text: message.text,
          timestamp: Date.now(),
        }),
        'general',
      );
    });

    // Handle disconnection
    socket.onClose((code, reason) => {
      console.log('Client disconnected:', socket.id, code, reason);
    });
  });

  // The page that talks to it
  app.get('/', (ctx) => {
    ctx.res.set('content-type', 'text/html; charset=utf-8').send(page);
  });

  return launch(app, wsPlugin, options);
}

await startIfMain(import.meta, start);
