import assert from 'node:assert/strict';
import { once } from 'node:events';
import { WebSocket } from 'ws';

/** What every runner has the quick start do: two clients talk, in text and in bytes, and leave. */
export async function chat(port: number): Promise<void> {
  const clients = await Promise.all([connect(port), connect(port)]);
  const message = JSON.stringify({ user: 'Ada', text: 'Grüße' });
  for (const data of [message, Buffer.from(message)]) {
    const heard = clients.map(nextMessage);
    clients[0]?.send(data);
    for (const { user, text } of await Promise.all(heard)) {
      assert.deepEqual([user, text], ['Ada', 'Grüße']);
    }
  }
  const closed = clients.map((client) => once(client, 'close'));
  for (const client of clients) client.close(4000, 'Bye');
  for (const [code] of await Promise.all(closed)) assert.equal(code, 4000);
}

async function connect(port: number): Promise<WebSocket> {
  const client = new WebSocket(`ws://127.0.0.1:${port}/chat`);
  await once(client, 'open');
  return client;
}

async function nextMessage(client: WebSocket): Promise<{ user: string; text: string }> {
  const [data] = await once(client, 'message');
  return JSON.parse(String(data));
}
