import type { WebSocketPlugin } from '../../../index.js';
import { type Client, connect, TestWebSocketPlugin } from '../../../lib/testing/index.js';

interface Data {
  name: string;
}

declare function addChat(plugin: WebSocketPlugin<Data>): void;

// A plugin without a network is a plugin, with data of the same type at both ends.
const plugin = new TestWebSocketPlugin<Data>({ path: '/chat' });
addChat(plugin);
plugin.app.wsUse((socket, _req, next) => {
  socket.data.name = 'ada';
  // @ts-expect-error: there is no such field.
  socket.data.nam;
  next();
});

export async function tests(): Promise<string> {
  const { socket } = await plugin.connect('/chat');
  // @ts-expect-error: there is no such field.
  socket.data.nam;
  const client: Client = await connect('ws://localhost:3000/chat');
  const { code }: { code: number } = await client.closed;
  return `${socket.data.name} ${code}`;
}

// Without a type, data is any.
export const untyped = async () => (await new TestWebSocketPlugin().connect()).socket.data.anything;
