/** Rooms across servers that are joined by a Redis Cluster, by its sharded channels. */
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { WSClusterGap } from '../index.js';
import {
  type ClusterNode,
  clusterNode,
  type Member,
  messagesUntil,
  nodeProcess,
  upNode,
} from './support/nodes.js';
import {
  hasRedis,
  type Redis,
  type RedisCluster,
  startRedis,
  startRedisCluster,
} from './support/redis.js';
import { until } from './support/until.js';

/** How long starting a cluster takes, on a small machine, is most of it. */
const timeout = 90_000;

/** So many rooms that each master has some of them. */
const rooms = Array.from({ length: 60 }, (_, n) => `room-${n}`);

/** A node with one member in each of the rooms. */
async function membersOf(node: ClusterNode): Promise<Map<string, Member>> {
  const members = new Map<string, Member>();
  for (const room of rooms) members.set(room, await node.member(room));
  return members;
}

/**
 * Says something in each room until it is heard there, and resolves with what else has been heard.
 * A room that is never heard of again runs into the time limit of the test.
 */
async function allHeard(from: ClusterNode, members: Map<string, Member>, mark: string) {
  const heard = new Map<string, string[]>(rooms.map((room) => [room, []]));
  const open = new Set(members.keys());
  for (let n = 0; open.size > 0; n++) {
    for (const room of open) from.wsApp.wsBroadcast(`${mark} ${n}`, room);
    await wait(50);
    for (const [room, { client }] of members) {
      const texts = client.waiting.splice(0).map(String);
      heard.get(room)?.push(...texts);
      if (texts.some((text) => text.startsWith(mark))) open.delete(room);
    }
  }
  return heard;
}

/** Shard channels of all masters together. */
async function shardChannels(masters: Redis[]): Promise<string[]> {
  const lists = masters.map((master) => master.command('PUBSUB', 'SHARDCHANNELS').catch(() => []));
  return (await Promise.all(lists)).flat();
}

/** Numbers are said in each of the rooms, until it is told to end. */
function stream(node: ClusterNode) {
  let said = 0;
  const timer = setInterval(() => {
    for (const room of rooms) node.wsApp.wsBroadcast(`${said}`, room);
    said += 1;
  }, 10);
  onTestFinished(() => clearInterval(timer));
  return () => {
    clearInterval(timer);
    return said;
  };
}

/** What was heard in each room is in order; what was not is told of, with a number or as a maybe. */
async function expectAccounted(heard: Map<string, string[]>, said: number, nodes: ClusterNode[]) {
  const missing = new Map<string, number>();
  for (const [room, texts] of heard) {
    const numbers = texts.filter((text) => /^\d+$/.test(text)).map(Number);
    for (const [n, number] of numbers.entries()) {
      if (n > 0) expect(number, room).toBeGreaterThan(numbers[n - 1] as number);
    }
    if (numbers.length < said) missing.set(room, said - numbers.length);
  }
  const gaps = () => nodes.flatMap(({ everyGap }) => everyGap);
  const isTold = (gap: WSClusterGap, room: string) => gap.room === room || gap.room === null;
  for (const [room, count] of missing) {
    await until(() => {
      const own = gaps().filter((gap) => isTold(gap, room));
      const known = own.reduce((sum, gap) => sum + (gap.missed ?? 0), 0);
      return known >= count || own.some((gap) => gap.missed === null);
    });
  }
}

const slotOf = async ({ masters: [first] }: RedisCluster, channel: string) =>
  Number((await (first as Redis).command('CLUSTER', 'KEYSLOT', channel))[0]);

describe.skipIf(!hasRedis('redis-cluster.spec.ts'))('a Redis Cluster', { timeout }, () => {
  async function start(options?: Parameters<typeof startRedisCluster>[0]) {
    const cluster = await startRedisCluster(options);
    const credentials = options?.password === undefined ? {} : { password: options.password };
    const a = await upNode({ url: cluster.urls, ...credentials });
    const b = await upNode({ url: cluster.urls, ...credentials });
    return { cluster, a, b };
  }

  test('carries what is said to everyone, and to rooms, over all of its masters', async () => {
    const { cluster, a, b } = await start();
    const members = await membersOf(b);
    const near = await a.member(rooms[0] as string);
    await allHeard(a, members, 'open');
    a.wsApp.wsBroadcast('everyone');
    for (const { client } of members.values()) await messagesUntil(client, 'everyone');
    for (let n = 0; n < 100; n++) for (const room of rooms) a.wsApp.wsBroadcast(`${n}`, room);
    for (const { client } of members.values()) {
      const got = (await messagesUntil(client, '99')).filter((text) => /^\d+$/.test(text));
      expect(got).toEqual(Array.from({ length: 100 }, (_, n) => `${n}`));
    }
    await messagesUntil(near.client, '99');
    for (const master of cluster.masters) {
      expect(await master.command('PUBSUB', 'SHARDCHANNELS')).not.toEqual([]);
    }
    expect([...a.everyGap, ...b.everyGap]).toEqual([]);
  });

  test('is found by any one of its nodes', async () => {
    const cluster = await startRedisCluster();
    const nodes = await Promise.all(cluster.urls.map((url) => upNode({ url: [url] })));
    await until(() => nodes.every((node) => node.stats().nodes === 2));
    const members = await membersOf(nodes[1] as ClusterNode);
    await allHeard(nodes[0] as ClusterNode, members, 'open');
  });

  test('is found though some of the URLs lead nowhere', async () => {
    const cluster = await startRedisCluster();
    await upNode({
      url: ['redis://127.0.0.1:1', cluster.urls[1] as string, 'redis://127.0.0.1:2'],
    });
  });

  test('can be used as if it were a single server, by one URL', async () => {
    const cluster = await startRedisCluster();
    const [a, b] = [
      await upNode({ url: cluster.urls[0] as string }),
      await upNode({ url: cluster.urls[1] as string }),
    ];
    const members = await membersOf(b);
    await allHeard(a, members, 'open');
  });

  test('may ask for a password', async () => {
    const { a, b } = await start({ password: 'p:@/ss' });
    await allHeard(a, await membersOf(b), 'open');
  });

  test('may not know its own address', async () => {
    const { a, b } = await start({
      config: { 'cluster-preferred-endpoint-type': 'unknown-endpoint' },
    });
    await allHeard(a, await membersOf(b), 'open');
  });

  test('reaches members of a node whose JavaScript thread is blocked', async () => {
    const cluster = await startRedisCluster();
    const a = await upNode({ url: cluster.urls });
    const b = await nodeProcess({ url: cluster.urls });
    const clients = await Promise.all(rooms.map((room) => b.member(room)));
    const members = new Map(rooms.map((room, n) => [room, { client: clients[n] } as Member]));
    await allHeard(a, members, 'open');
    const { release } = await b.block();
    for (const room of rooms) a.wsApp.wsBroadcast('blocked', room);
    for (const client of clients) await messagesUntil(client as Member['client'], 'blocked');
    await release();
  });

  test('in which a slot moves in place is followed, and the loss is told of', async () => {
    const { cluster, a, b } = await start();
    const members = await membersOf(b);
    await allHeard(a, members, 'open');
    const end = stream(a);
    const channels = await shardChannels(cluster.masters);
    for (const channel of channels) {
      const slot = await slotOf(cluster, channel);
      const from = await cluster.ownerOf(slot);
      const to = cluster.masters.find((master) => master !== from) as Redis;
      await cluster.moveSlot(slot, from, to);
    }
    const heard = await allHeard(a, members, 'moved');
    const said = end();
    for (const [room, texts] of await allHeard(a, members, 'end')) heard.get(room)?.push(...texts);
    await expectAccounted(heard, said, [a, b]);
    expect(new Set(await shardChannels(cluster.masters))).toEqual(new Set(channels));
  });

  test('whose slots move back and forth keeps up', async () => {
    const { cluster, a, b } = await start();
    const members = await membersOf(b);
    await allHeard(a, members, 'open');
    const [channel = ''] = await shardChannels(cluster.masters);
    const slot = await slotOf(cluster, channel);
    for (let round = 0; round < 6; round++) {
      const from = await cluster.ownerOf(slot);
      const to = cluster.masters[(cluster.masters.indexOf(from) + 1) % 3] as Redis;
      await cluster.moveSlot(slot, from, to);
      if (round % 2 === 1) await allHeard(a, members, `round ${round}`);
    }
    await allHeard(a, members, 'end');
  });

  test('that gets one more master, with slots, is followed', async () => {
    const { cluster, a, b } = await start();
    const members = await membersOf(b);
    await allHeard(a, members, 'open');
    const added = await cluster.addMaster();
    for (const channel of await shardChannels(cluster.masters)) {
      const slot = await slotOf(cluster, channel);
      const owner = await cluster.ownerOf(slot);
      // Several channels may have the same slot.
      if (owner !== added) await cluster.moveSlot(slot, owner, added);
    }
    await allHeard(a, members, 'moved');
    expect(await added.command('PUBSUB', 'SHARDCHANNELS')).not.toEqual([]);
  });

  test('in which a replica takes over without anybody having failed is followed', async () => {
    const { cluster, a, b } = await start();
    const members = await membersOf(b);
    const replicas = await Promise.all(cluster.masters.map((master) => cluster.addReplica(master)));
    await allHeard(a, members, 'open');
    const end = stream(a);
    for (const replica of replicas) {
      await replica.command('CLUSTER', 'FAILOVER');
      for (;;) {
        const [role] = await replica.command('ROLE');
        if (role === 'master') break;
        await wait(20);
      }
    }
    const heard = await allHeard(a, members, 'taken over');
    const said = end();
    for (const [room, texts] of await allHeard(a, members, 'end')) heard.get(room)?.push(...texts);
    await expectAccounted(heard, said, [a, b]);
  });

  test('in which a master is killed and its replica promoted is followed', async () => {
    const { cluster, a, b } = await start();
    const members = await membersOf(b);
    const [first] = cluster.masters as [Redis];
    const replica = await cluster.addReplica(first);
    await allHeard(a, members, 'open');
    const end = stream(a);
    await first.kill();
    for (;;) {
      const [role] = await replica.command('ROLE');
      if (role === 'master') break;
      await wait(20);
    }
    const heard = await allHeard(a, members, 'promoted');
    const said = end();
    for (const [room, texts] of await allHeard(a, members, 'end')) heard.get(room)?.push(...texts);
    await expectAccounted(heard, said, [a, b]);
    // The old one comes back as a replica.
    await first.start();
    await allHeard(a, members, 'back');
  });

  test('of which a master is absent for a while: the rooms on the others are not concerned', async () => {
    const { cluster, a, b } = await start({ config: { 'cluster-require-full-coverage': 'no' } });
    const members = await membersOf(b);
    await allHeard(a, members, 'open');
    const [first] = cluster.masters as [Redis];
    const gone = new Set(await first.command('PUBSUB', 'SHARDCHANNELS'));
    expect(gone.size).toBeGreaterThan(0);
    await first.kill();
    await wait(500);
    for (const room of rooms) a.wsApp.wsBroadcast('others', room);
    await wait(1500);
    const heard = rooms.filter((room) =>
      members.get(room)?.client.waiting.map(String).includes('others'),
    );
    expect(heard.length).toBeGreaterThan(0);
    await first.start();
    await cluster.settled();
    await allHeard(a, members, 'back');
  });

  test('that is killed as a whole and started again is found', async () => {
    const { cluster, a, b } = await start();
    const members = await membersOf(b);
    await allHeard(a, members, 'open');
    for (const master of cluster.masters) await master.kill();
    await a.downs.next();
    await b.downs.next();
    for (const master of cluster.masters) await master.start();
    await cluster.settled();
    await a.ups.next();
    await b.ups.next();
    await allHeard(a, members, 'back');
  });

  test('that kills connections forgets no room', async () => {
    const { cluster, a, b } = await start();
    const members = await membersOf(b);
    await allHeard(a, members, 'open');
    for (let round = 0; round < 10; round++) {
      const master = cluster.masters[round % 3] as Redis;
      const admin = await master.admin();
      await admin.command(
        'CLIENT',
        'KILL',
        'TYPE',
        round % 2 ? 'normal' : 'pubsub',
        'SKIPME',
        'yes',
      );
      admin.close();
      await wait(10 * round);
    }
    await allHeard(a, members, 'end');
  });

  test('with thousands of rooms has all of them on all masters', async () => {
    const { a, b } = await start();
    const { client, socket } = await b.member();
    for (let n = 0; n < 3000; n++) socket.join(`r${n}`);
    const open = new Set(Array.from({ length: 3000 }, (_, n) => `${n}`));
    while (open.size > 0) {
      for (const n of open) a.wsApp.wsBroadcast(n, `r${n}`);
      await wait(200);
      for (const text of client.waiting.splice(0)) open.delete(text.toString());
    }
  });

  test('is left well: cleanup() ends while masters are frozen', async () => {
    const { cluster, a } = await start();
    for (const master of cluster.masters) master.freeze();
    a.wsApp.wsBroadcast('x'.repeat(100_000));
    await a.plugin.cleanup();
    expect(a.stats().state).toBe('closed');
    for (const master of cluster.masters) master.thaw();
  });

  test('that is none, but a single server, is told of', async () => {
    const redis = await startRedis();
    const a = await clusterNode({ url: [redis.url] });
    expect(await a.downs.next()).toMatch(/cluster/i);
    expect(a.stats().state).not.toBe('up');
    await a.plugin.cleanup();
  });

  test('with different prefixes: nodes do not hear each other', async () => {
    const cluster = await startRedisCluster();
    const [a, b] = [
      await upNode({ url: cluster.urls, prefix: 'one' }),
      await upNode({ url: cluster.urls, prefix: 'two' }),
    ];
    const c = await upNode({ url: cluster.urls, prefix: 'two' });
    const members = await membersOf(b);
    for (const room of rooms) a.wsApp.wsBroadcast('stranger', room);
    const heard = await allHeard(c, members, 'open');
    for (const texts of heard.values()) expect(texts).not.toContain('stranger');
    expect(a.stats().nodes).toBe(0);
  });

  test('by one channel carries all rooms', async () => {
    const cluster = await startRedisCluster();
    const [a, b] = [
      await upNode({ url: cluster.urls, subscribe: 'one-channel' }),
      await upNode({ url: cluster.urls, subscribe: 'one-channel' }),
    ];
    const members = await membersOf(b);
    await allHeard(a, members, 'open');
  });
});
