import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { WebSocketPlugin, type WSConnection } from '../index.js';
import { type Client, connect } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { echo, pair, rawPair, serveRecorded } from './support/pair.js';
import { CLOSE, closePayload, frame } from './support/raw.js';
import { serve } from './support/server.js';

const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Several connections, and what the plugin says of them. */
async function crowd(count: number) {
  const served = await serveRecorded({}, echo);
  const members: { client: Client; socket: WSConnection }[] = [];
  for (let index = 0; index < count; index++) {
    const client = await connect(served.url());
    members.push({ client, socket: await served.sockets.next() });
  }
  return { ...served, members, connections: served.plugin.connections };
}

describe('plugin.connections', () => {
  test('has everyone who is connected, once, and knows how many that are', async () => {
    const { members, connections } = await crowd(5);
    expect(connections.size).toBe(5);
    expect(new Set(connections)).toEqual(new Set(members.map(({ socket }) => socket)));
    expect([...connections]).toHaveLength(5);
  });

  test('is empty before the first connection, and where nobody is connected any more', async () => {
    const { plugin } = await serve();
    expect([plugin.connections.size, [...plugin.connections]]).toEqual([0, []]);
    expect([new WebSocketPlugin().connections.size]).toEqual([0]);
    const { client, ends, plugin: used } = await pair();
    client.close();
    await ends.next();
    expect([used.connections.size, [...used.connections]]).toEqual([0, []]);
  });

  test('has those on paths without a handler', async () => {
    const { plugin, url } = await serve({ path: '/quiet' });
    const opened = once(plugin, 'connection');
    await connect(url('/quiet'));
    const [socket] = await opened;
    expect([...plugin.connections]).toEqual([socket]);
  });

  test('finds each by its id, which is a random UUID, until its onClose', async () => {
    const { members, connections, ends } = await crowd(3);
    for (const { socket } of members) {
      expect(socket.id).toMatch(UUID_V4);
      expect(connections.get(socket.id)).toBe(socket);
    }
    expect(new Set(members.map(({ socket }) => socket.id)).size).toBe(3);
    const [{ client, socket }] = members as [(typeof members)[0]];
    const seen = queue<unknown>();
    socket.onClose(() => seen.push([connections.get(socket.id), connections.size]));
    client.close();
    await ends.next();
    expect(await seen.next()).toEqual([undefined, 2]);
    expect([...connections]).not.toContain(socket);
  });

  test('leads from the id of one who has gone to nobody, also where another one has its place', async () => {
    const { url, sockets, ends, plugin } = await serveRecorded();
    const ids = new Set<string>();
    for (let count = 0; count < 20; count++) {
      const client = await connect(url());
      const { id } = await sockets.next();
      for (const earlier of ids) expect(plugin.connections.get(earlier)).toBeUndefined();
      expect(plugin.connections.get(id)?.id).toBe(id);
      ids.add(id);
      client.close();
      await ends.next();
    }
    expect(ids.size).toBe(20);
  });

  test('goes by the id that a connection was given, whatever its property says by now', async () => {
    const { members, connections } = await crowd(2);
    const [one, two] = members.map(({ socket }) => socket) as [WSConnection, WSConnection];
    const { id } = one;
    one.id = two.id;
    expect(connections.get(id)).toBe(one);
    expect(connections.get(two.id)).toBe(two);
  });

  test('finds nobody by what is no id, or not written as one', async () => {
    const { members, connections } = await crowd(20);
    const ids = members.map(({ socket }) => socket.id);
    const id = ids.find((each) => /[a-f]/.test(each)) as string;
    for (const other of [
      '',
      'lobby',
      `${id} `,
      ` ${id}`,
      id.toUpperCase(),
      id.replaceAll('-', ''),
      `{${id}}`,
      `urn:uuid:${id}`,
      `${id}\0`,
      '\ud800'.repeat(36),
      'x'.repeat(1 << 20),
      '00000000-0000-4000-8000-000000000000',
      `${id.slice(0, -1)}${id.endsWith('0') ? '1' : '0'}`,
    ]) {
      expect(connections.get(other)).toBeUndefined();
    }
  });

  test('finds nobody of another plugin', async () => {
    const [one, two] = [await pair(), await pair()];
    expect(one.plugin.connections.get(two.socket.id)).toBeUndefined();
    expect([...one.plugin.connections]).toEqual([one.socket]);
  });

  test.each([
    ['nothing', undefined],
    ['a number', 5],
    ['a connection', {}],
  ])('takes no %s as an id: a TypeError says what is accepted', async (_, id) => {
    const { connections } = new WebSocketPlugin();
    expect(() => connections.get(id as never)).toThrow(TypeError);
    expect(() => connections.get(id as never)).toThrow(
      /^connections\.get: id must be a string, got /,
    );
  });

  test('has nobody whom middleware may yet refuse, or has refused', async () => {
    const let_in = deferred();
    const asked = queue<WSConnection>();
    const { plugin, url } = await serve({}, ({ wsApp }) => {
      wsApp.wsUse(async (socket, req, next) => {
        asked.push(socket);
        await let_in.promise;
        if (req.url?.includes('refused')) socket.close(1008);
        else next();
      });
      wsApp.ws('/ws', (socket) => {
        expect(plugin.connections.get(socket.id)).toBe(socket);
        socket.send('welcome');
      });
    });
    const { connections } = plugin;
    const clients = [await connect(url()), await connect(url('/ws?refused'))] as const;
    const [one, other] = [await asked.next(), await asked.next()];
    expect(plugin.getStats().totalConnections).toBe(2);
    expect([connections.size, [...connections], connections.get(one.id)]).toEqual([
      0,
      [],
      undefined,
    ]);
    let_in.resolve();
    expect(await clients[0].next()).toBe('welcome');
    expect((await clients[1].closed).code).toBe(1008);
    expect([connections.size, [...connections]]).toEqual([1, [one]]);
    expect(connections.get(other.id)).toBeUndefined();
  });

  test('has one that is being closed until it has ended', async () => {
    const { client, socket, plugin, ends } = await rawPair();
    socket.close(4000);
    expect([...plugin.connections]).toEqual([socket]);
    expect(plugin.connections.get(socket.id)).toBe(socket);
    await client.frame();
    client.write(frame(CLOSE, closePayload(4000)));
    await ends.next();
    expect(plugin.connections.size).toBe(0);
  });

  test('counts one whose messages are delivered although it has gone before its handler as gone', async () => {
    const gate = deferred();
    const { plugin, url } = await serve({}, ({ wsApp }) => {
      wsApp.wsUse(async (_socket, _req, next) => {
        await gate.promise;
        next();
      });
      wsApp.ws('/ws', echo);
    });
    const client = await connect(url());
    client.send('last words');
    client.close();
    await client.closed;
    const over = once(plugin, 'close');
    gate.resolve();
    await over;
    const other = await connect(url());
    other.send('hello');
    expect(await other.next()).toBe('hello');
    expect([plugin.connections.size, [...plugin.connections].length]).toEqual([1, 1]);
  });

  test('can be looped over while they close, join and leave', async () => {
    const { members, plugin, connections, ends } = await crowd(10);
    plugin.on('room:created', (room) => {
      if (room === '3') for (const socket of connections) socket.leave('5');
    });
    let seen = 0;
    for (const socket of connections) {
      seen += 1;
      socket.join(`${seen}`);
      for (const other of connections) if (other !== socket) other.leave(`${seen}`);
      socket.close(4000);
    }
    expect(seen).toBe(10);
    for (const { client } of members) expect((await client.closed).code).toBe(4000);
    for (const _ of members) await ends.next();
    expect([connections.size, plugin.rooms.size]).toEqual([0, 0]);
  });

  test('can be looped over for long: nobody comes who has ended by then, or was not there at the beginning', async () => {
    const { members, url, sockets, ends, connections } = await crowd(10);
    const seen: WSConnection[] = [];
    const strangers: WSConnection[] = [];
    for (const socket of connections) {
      seen.push(socket);
      const last = members.findLast((each) => !seen.includes(each.socket));
      if (last === undefined) continue;
      members.splice(members.indexOf(last), 1);
      last.client.close();
      await ends.next();
      // Somebody else takes its place.
      await connect(url());
      strangers.push(last.socket, await sockets.next());
    }
    expect(new Set(seen).size).toBe(5);
    for (const socket of strangers) expect(seen).not.toContain(socket);
    expect(connections.size).toBe(10);
  });

  test('can be looped over in parts, and to its end after the plugin was cleaned up', async () => {
    const { plugin, connections } = await crowd(3);
    const loop = connections[Symbol.iterator]();
    expect(loop.next().done).toBe(false);
    await plugin.cleanup();
    expect(loop.next()).toEqual({ done: true, value: undefined });
    expect([...connections]).toEqual([]);
  });

  test('says the same after a clean-up and another installation', async () => {
    const served = await pair();
    const { id } = served.socket;
    await served.plugin.cleanup();
    served.plugin.install(served.app);
    await connect(served.url());
    const socket = await served.sockets.next();
    expect(served.plugin.connections.get(id)).toBeUndefined();
    expect(served.plugin.connections.get(socket.id)).toBe(socket);
    expect([...served.plugin.connections]).toEqual([socket]);
  });
});
