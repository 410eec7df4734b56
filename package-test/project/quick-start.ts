import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createApp } from 'nextrush';
import type { WSConnection } from 'nextrush-websocket';
import { WebSocketPlugin, withWebSocket } from 'nextrush-websocket';

/** The quick start of the reference, on a free port. */
export async function start() {
  const app = createApp();

  const wsPlugin = new WebSocketPlugin({ path: '/ws' });
  wsPlugin.install(app);

  const wsApp = withWebSocket(app);
  wsApp.ws('/chat', (socket: WSConnection) => {
    socket.join('general');
    socket.onMessage((data: string | Buffer) => {
      const { user, text } = JSON.parse(data.toString());
      wsApp.wsBroadcast(JSON.stringify({ user, text, timestamp: Date.now() }), 'general');
    });
  });

  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      await wsPlugin.cleanup();
      server.close();
      await app.eventSystem.shutdown();
    },
  };
}
