/** What the plugin built into NextRush has: `getConnections` and `broadcast` of the plugin itself. */

import { describe, expect, test } from 'vitest';
import { connect } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { serveRecorded } from './support/pair.js';
import { serve } from './support/server.js';

describe('getConnections', () => {
  test('returns the connections that are open, in an array of its own', async () => {
    const { plugin, url, sockets } = await serveRecorded();
    expect(plugin.getConnections()).toEqual([]);
    const first = await connect(url());
    const opened = [await sockets.next()];
    await connect(url());
    opened.push(await sockets.next());

    const listed = plugin.getConnections();
    expect(listed).toHaveLength(2);
    for (const socket of opened) expect(listed.includes(socket)).toBe(true);
    listed.length = 0;
    expect(plugin.getConnections()).toHaveLength(2);

    const closed = queue<unknown>();
    plugin.once('close', (socket) => closed.push(socket));
    first.close();
    await closed.next();
    expect(plugin.getConnections().map(({ id }) => id)).toEqual([opened[1]?.id]);
  });

  test('has those that middleware has not let pass yet', async () => {
    const held = deferred<() => void>();
    const { plugin, url } = await serve({}, ({ wsApp }) => {
      wsApp.wsUse((_socket, _req, next) => held.resolve(next));
    });
    await connect(url());
    const next = await held.promise;
    expect(plugin.getConnections()).toHaveLength(1);
    next();
  });
});

describe('broadcast', () => {
  test('reaches everyone, or the members of a room', async () => {
    const { plugin, url, sockets } = await serveRecorded();
    const member = await connect(url());
    (await sockets.next()).join('room');
    const other = await connect(url());
    await sockets.next();

    expect(plugin.broadcast('members', 'room')).toBeUndefined();
    plugin.broadcast('everyone');
    plugin.broadcast('everyone again', undefined);
    for (const message of ['members', 'everyone', 'everyone again']) {
      expect(await member.next()).toBe(message);
    }
    expect(await other.next()).toBe('everyone');
    expect(await other.next()).toBe('everyone again');
  });

  test('refuses what is no message, and what names no room', async () => {
    const { plugin } = await serveRecorded();
    const broadcast = plugin.broadcast.bind(plugin) as (...args: unknown[]) => void;
    expect(() => broadcast({})).toThrow(/^WebSocketPlugin\.broadcast: message must be/);
    expect(() => broadcast('text', 1)).toThrow(/^WebSocketPlugin\.broadcast: room must be/);
  });
});
