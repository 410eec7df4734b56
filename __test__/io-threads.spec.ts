/** Connections that are spread over several I/O threads: nobody may see that they are. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { WSConnection } from '../index.js';
import { type Client, connect } from './support/client.js';
import { echo, type Recorded, serveRecorded } from './support/pair.js';
import { BINARY, CLOSE, closePayload, frame, rawUpgrade } from './support/raw.js';
import type { ServeOptions } from './support/server.js';
import { until } from './support/until.js';

interface Crowd extends Recorded {
  clients: Client[];
  /** The server's ends, in the order of `clients`. */
  members: WSConnection[];
}

/** Connections one after the other, so that both lists have the same order. */
async function crowd(count: number, options: ServeOptions = {}): Promise<Crowd> {
  const recorded = await serveRecorded({ ioThreads: 3, ...options }, echo);
  const clients: Client[] = [];
  const members: WSConnection[] = [];
  for (let index = 0; index < count; index++) {
    clients.push(await connect(recorded.url()));
    members.push(await recorded.sockets.next());
  }
  return { ...recorded, clients, members };
}

/** Names of this process's engine threads. Linux lists them. */
function engineThreads(): string[] {
  const tasks = '/proc/self/task';
  const nameOf = (task: string) => {
    try {
      return readFileSync(`${tasks}/${task}/comm`, 'utf8').trim();
    } catch {
      return 'ended since';
    }
  };
  return readdirSync(tasks)
    .map(nameOf)
    .filter((name) => name.startsWith('nextrush'));
}

describe('three I/O threads', () => {
  test('each echo what their connections send, in order', async () => {
    const { clients, plugin } = await crowd(30);
    for (const [index, client] of clients.entries()) {
      for (let count = 0; count < 100; count++) client.send(`${index}: ${count}`);
    }
    for (const [index, client] of clients.entries()) {
      for (let count = 0; count < 100; count++) {
        expect(await client.next()).toBe(`${index}: ${count}`);
      }
    }
    expect(plugin.getStats()).toMatchObject({
      totalConnections: 30,
      messagesReceived: 3000,
      messagesSent: 3000,
      bytesReceived: plugin.getStats().bytesReceived,
    });
  });

  test.skipIf(!process.platform === 'linux')(
    'are started together, and end with cleanup',
    async () => {
      await until(() => engineThreads().length === 0);
      const { plugin } = await crowd(1);
      expect(engineThreads()).toHaveLength(3);
      await plugin.cleanup();
      await until(() => engineThreads().length === 0);
    },
  );

  test('broadcast to everyone, each client getting all in the order of the calls', async () => {
    const { clients, wsApp } = await crowd(20);
    for (let count = 0; count < 200; count++) wsApp.wsBroadcast(`broadcast ${count}`);
    for (const client of clients) {
      for (let count = 0; count < 200; count++)
        expect(await client.next()).toBe(`broadcast ${count}`);
    }
  });

  test('keep the order of broadcasts and direct messages of each connection', async () => {
    const { clients, members, wsApp } = await crowd(9);
    for (const member of members) member.join('room');
    const expected: string[] = [];
    for (let count = 0; count < 300; count++) {
      if (count % 3 === 0) wsApp.wsBroadcast(`all ${count}`);
      else if (count % 3 === 1) wsApp.wsBroadcast(`room ${count}`, 'room');
      else for (const member of members) member.send(`direct ${count}`);
      expected.push(`${['all', 'room', 'direct'][count % 3]} ${count}`);
    }
    for (const client of clients) {
      for (const message of expected) expect(await client.next()).toBe(message);
    }
  });

  test('share their rooms, with whoever is in them at the time of the call', async () => {
    const { clients, members, wsApp, plugin } = await crowd(12);
    members.forEach((member, index) => {
      member.join(`of ${index % 4}`);
      if (index < 2) member.join('of two');
    });
    expect(plugin.getStats().rooms.sort()).toEqual(['of 0', 'of 1', 'of 2', 'of 3', 'of two']);
    for (let room = 0; room < 4; room++) wsApp.wsBroadcast(`to ${room}`, `of ${room}`);
    wsApp.wsBroadcast('to two', 'of two');
    members[1]?.leave('of two');
    wsApp.wsBroadcast('to one', 'of two');
    wsApp.wsBroadcast('the end');
    for (const [index, client] of clients.entries()) {
      expect(await client.next()).toBe(`to ${index % 4}`);
      if (index < 2) expect(await client.next()).toBe('to two');
      if (index === 0) expect(await client.next()).toBe('to one');
      expect(await client.next()).toBe('the end');
    }
  });

  test('leave the sender out of its own broadcast, on whichever thread it is', async () => {
    const { clients, members, wsApp } = await crowd(9);
    for (const member of members) member.join('room');
    for (const [index, member] of members.entries()) member.broadcast('room', `from ${index}`);
    wsApp.wsBroadcast('the end');
    for (const [index, client] of clients.entries()) {
      for (let from = 0; from < 9; from++) {
        if (from !== index) expect(await client.next()).toBe(`from ${from}`);
      }
      expect(await client.next()).toBe('the end');
    }
  });

  test('close with 1001 on cleanup, everyone and in time', async () => {
    const { clients, plugin, ends } = await crowd(12);
    await plugin.cleanup();
    for (const client of clients) {
      expect(await client.closed).toEqual({ code: 1001, reason: 'server is shutting down' });
    }
    for (let count = 0; count < 12; count++)
      expect(await ends.next()).toMatchObject({ code: 1001 });
    expect(plugin.getStats()).toMatchObject({ totalConnections: 0, rooms: [], bufferedAmount: 0 });
  });

  test('free the slots of connections that have gone for those that come', async () => {
    const { clients, members, plugin, ends, url, wsApp, sockets } = await crowd(9);
    for (const member of members) member.join('room');
    // Three of each thread's, and of different ages.
    for (const index of [0, 1, 2, 4, 5, 6]) clients[index]?.close(4000);
    for (let count = 0; count < 6; count++) expect(await ends.next()).toMatchObject({ code: 4000 });
    expect(plugin.getStats().totalConnections).toBe(3);
    const later: Client[] = [];
    for (let count = 0; count < 6; count++) {
      later.push(await connect(url()));
      (await sockets.next()).join('room');
    }
    // To a connection that has ended, although another has its slot by now.
    members[0]?.send('nobody gets this');
    wsApp.wsBroadcast('to the room', 'room');
    for (const client of [clients[3], clients[7], clients[8], ...later]) {
      expect(await client?.next()).toBe('to the room');
    }
    expect(plugin.getStats().totalConnections).toBe(9);
  });

  test('count together what each of them does', async () => {
    const { plugin, port, messages, members, wsApp } = await crowd(6, { maxBackpressure: 1000 });
    const before = plugin.getStats();
    const client = await rawUpgrade(port);
    client.write(frame(BINARY, Buffer.alloc(500)));
    expect(await messages.next()).toHaveLength(500);
    for (const member of members) member.send('a'.repeat(10));
    wsApp.wsBroadcast('b'.repeat(10));
    await until(() => plugin.getStats().messagesSent === before.messagesSent + 6 + 7 + 1);
    const after = plugin.getStats();
    expect(after.messagesReceived - before.messagesReceived).toBe(1);
    expect(after.bytesReceived - before.bytesReceived).toBe(500);
    expect(after.bytesSent - before.bytesSent).toBe(13 * 12 + 504);
    expect(after.transports.adopted + after.transports.bridged).toBe(7);
    client.write(frame(CLOSE, closePayload(1000)));
    await until(() => plugin.getStats().totalConnections === 6);
  });
});

test('with as many I/O threads as may be, connections are served', async () => {
  const { clients } = await crowd(70, { ioThreads: 64 });
  for (const [index, client] of clients.entries()) {
    client.send(`message ${index}`);
    expect(await client.next()).toBe(`message ${index}`);
  }
});
