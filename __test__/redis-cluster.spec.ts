/** Rooms across servers that are joined by a Redis Cluster, by its sharded channels. */
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
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

/** Shard channels of masters that nodes with a prefix have subscribed to. */
async function shardChannels(masters: Redis[], prefix: string): Promise<string[]> {
  const lists = masters.map((master) =>
    master.command('PUBSUB', 'SHARDCHANNELS', `${prefix}:*`).catch(() => []),
  );
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

/** Resolves once a server is a master, or a replica. */
async function untilRole(redis: Redis, role: 'master' | 'slave') {
  while ((await redis.command('ROLE'))[0] !== role) await wait(20);
}

const slotOf = async ({ masters: [first] }: RedisCluster, channel: string) =>
  Number((await (first as Redis).command('CLUSTER', 'KEYSLOT', channel))[0]);

describe.skipIf(!hasRedis('redis-cluster.spec.ts'))('a Redis Cluster', { timeout }, () => {
  const ends: (() => Promise<void>)[] = [];
  afterAll(async () => {
    for (const end of ends) await end();
  });
  let shared: Promise<RedisCluster> | undefined;

  /** The cluster of those tests that leave all of its masters alive, which tell themselves apart. */
  function sharedCluster() {
    shared ??= startRedisCluster({ ends: (end) => void ends.push(end) });
    return shared;
  }
  let prefixes = 0;
  const newPrefix = () => `test-${prefixes++}`;

  /** Two nodes at the cluster of many tests, or at one of their own. */
  async function start(own?: Parameters<typeof startRedisCluster>[0]) {
    const cluster = await (own ? startRedisCluster(own) : sharedCluster());
    const options = { url: cluster.urls, prefix: newPrefix(), password: own?.password };
    const [a, b] = await Promise.all([upNode(options), upNode(options)]);
    return { cluster, a, b, prefix: options.prefix };
  }

  test('carries what is said to everyone, and to rooms, over all of its masters', async () => {
    const { cluster, a, b, prefix } = await start();
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
      expect(await shardChannels([master], prefix)).not.toEqual([]);
    }
    expect([...a.everyGap, ...b.everyGap]).toEqual([]);
  });

  test('is found by any one of its nodes, by one URL, and though some lead nowhere', async () => {
    const { urls } = await sharedCluster();
    const prefix = newPrefix();
    const nodes = await Promise.all(
      [
        ...urls.map((url) => [url]),
        // As if it were a single server: broadcasts reach all nodes of a cluster.
        urls[0] as string,
        ['redis://127.0.0.1:1', urls[1] as string, 'redis://127.0.0.1:2'],
      ].map((url) =>
        upNode({ url, prefix: typeof url === 'string' ? `${prefix}-single` : prefix }),
      ),
    );
    await until(() => nodes[0]?.stats().nodes === 3);
    const members = await membersOf(nodes[1] as ClusterNode);
    await allHeard(nodes[4] as ClusterNode, members, 'open');
    const other = await upNode({ url: urls[2] as string, prefix: `${prefix}-single` });
    await allHeard(nodes[3] as ClusterNode, await membersOf(other), 'open');
  });

  test('may ask for a password, and not know its own address', async () => {
    const { a, b } = await start({
      password: 'p:@/ss',
      config: { 'cluster-preferred-endpoint-type': 'unknown-endpoint' },
    });
    await allHeard(a, await membersOf(b), 'open');
  });

  test('reaches members of a node whose JavaScript thread is blocked', async () => {
    const { urls } = await sharedCluster();
    const prefix = newPrefix();
    const a = await upNode({ url: urls, prefix });
    const b = await nodeProcess({ url: urls, prefix });
    const clients = await Promise.all(rooms.map((room) => b.member(room)));
    const members = new Map(rooms.map((room, n) => [room, { client: clients[n] } as Member]));
    await allHeard(a, members, 'open');
    const { release } = await b.block();
    for (const room of rooms) a.wsApp.wsBroadcast('blocked', room);
    for (const client of clients) await messagesUntil(client as Member['client'], 'blocked');
    await release();
  });

  test('in which a slot moves in place is followed, and the loss is told of', async () => {
    const { cluster, a, b, prefix } = await start();
    const members = await membersOf(b);
    await allHeard(a, members, 'open');
    const end = stream(a);
    const channels = await shardChannels(cluster.masters, prefix);
    for (const channel of channels.slice(0, 20)) {
      const slot = await slotOf(cluster, channel);
      const from = await cluster.ownerOf(slot);
      const to = cluster.masters.find((master) => master !== from) as Redis;
      await cluster.moveSlot(slot, from, to);
    }
    const heard = await allHeard(a, members, 'moved');
    const said = end();
    for (const [room, texts] of await allHeard(a, members, 'end')) heard.get(room)?.push(...texts);
    await expectAccounted(heard, said, [a, b]);
    expect(new Set(await shardChannels(cluster.masters, prefix))).toEqual(new Set(channels));
  });

  test('whose slots move back and forth keeps up', async () => {
    const { cluster, a, b, prefix } = await start();
    const members = await membersOf(b);
    await allHeard(a, members, 'open');
    const [channel = ''] = await shardChannels(cluster.masters, prefix);
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
    const { cluster, a, b, prefix } = await start({});
    const members = await membersOf(b);
    await allHeard(a, members, 'open');
    const added = await cluster.addMaster();
    for (const channel of await shardChannels(cluster.masters, prefix)) {
      const slot = await slotOf(cluster, channel);
      const owner = await cluster.ownerOf(slot);
      // Several channels may have the same slot.
      if (owner !== added) await cluster.moveSlot(slot, owner, added);
    }
    await allHeard(a, members, 'moved');
    expect(await shardChannels([added], prefix)).not.toEqual([]);
  });

  test('in which replicas take over, at first by order and then by a failure, is followed', async () => {
    const { cluster, a, b } = await start({});
    const members = await membersOf(b);
    const replicas = await Promise.all(cluster.masters.map((master) => cluster.addReplica(master)));
    await allHeard(a, members, 'open');
    const end = stream(a);
    for (const replica of replicas) await replica.command('CLUSTER', 'FAILOVER', 'TAKEOVER');
    const heard = await allHeard(a, members, 'taken over');
    const add = (more: Map<string, string[]>) => {
      for (const [room, texts] of more) heard.get(room)?.push(...texts);
    };
    // The old masters are replicas of the new ones by now, or will be.
    const [replica, old] = [replicas[0] as Redis, cluster.masters[0] as Redis];
    await untilRole(old, 'slave');
    await replica.kill();
    await untilRole(old, 'master');
    add(await allHeard(a, members, 'promoted'));
    const said = end();
    add(await allHeard(a, members, 'end'));
    await expectAccounted(heard, said, [a, b]);
    await replica.start();
    await untilRole(replica, 'slave');
    await allHeard(a, members, 'back');
  });

  test('of which a master, and then all, are absent for a while is found again; rooms on the others are not concerned', async () => {
    const { cluster, a, b, prefix } = await start({
      config: { 'cluster-require-full-coverage': 'no' },
    });
    const members = await membersOf(b);
    await allHeard(a, members, 'open');
    const [first] = cluster.masters as [Redis];
    const gone = await shardChannels([first], prefix);
    const others = new Map(members);
    for (const room of rooms) {
      if (gone.some((channel) => channel.endsWith(`:${room}`))) others.delete(room);
    }
    expect([others.size < rooms.length, others.size > 0]).toEqual([true, true]);
    await first.kill();
    await b.downs.next();
    await allHeard(a, others, 'others');
    await first.start();
    await cluster.settled();
    await allHeard(a, members, 'back');
    await a.downs.next();
    for (const master of cluster.masters) await master.kill();
    await until(() => a.stats().state === 'down' && b.stats().state === 'down');
    for (const master of cluster.masters) await master.start();
    await allHeard(a, members, 'all back');
    await until(() => a.stats().state === 'up' && b.stats().state === 'up');
  });

  test('that kills connections forgets no room', async () => {
    const { cluster, a, b } = await start();
    const members = await membersOf(b);
    await allHeard(a, members, 'open');
    for (let round = 0; round < 9; round++) {
      const type = round % 2 ? 'normal' : 'pubsub';
      await cluster.masters[round % 3]?.command('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
      if (round % 3 === 2) await allHeard(a, members, `round ${round}`);
    }
  });

  test('with thousands of rooms has all of them on all masters', async () => {
    const { a, b } = await start();
    const { client, socket } = await b.member();
    const before = b.stats().subscriptions;
    for (let n = 0; n < 3000; n++) socket.join(`r${n}`);
    await until(() => b.stats().subscriptions === before + 3000);
    for (let n = 0; n < 3000; n++) a.wsApp.wsBroadcast(`${n}`, `r${n}`);
    const got = new Set<string>();
    while (got.size < 3000) got.add((await client.next()).toString());
  });

  test('that is none, but a single server, is told of', async () => {
    const redis = await startRedis();
    const a = await clusterNode({ url: [redis.url] });
    expect(await a.downs.next()).toMatch(/cluster/i);
    expect(a.stats().state).not.toBe('up');
    await a.plugin.cleanup();
  });

  test('with different prefixes: nodes do not hear each other', async () => {
    const { a } = await start();
    const { a: b, b: c } = await start();
    const members = await membersOf(b);
    for (const room of rooms) a.wsApp.wsBroadcast('stranger', room);
    const heard = await allHeard(c, members, 'open');
    for (const texts of heard.values()) expect(texts).not.toContain('stranger');
    await until(() => a.stats().nodes > 0 && b.stats().nodes > 0);
    expect([a.stats().nodes, b.stats().nodes]).toEqual([1, 1]);
  });

  test('by one channel carries all rooms', async () => {
    const { urls: url } = await sharedCluster();
    const options = { url, prefix: newPrefix(), subscribe: 'one-channel' } as const;
    const [a, b] = [await upNode(options), await upNode(options)];
    await allHeard(a, await membersOf(b), 'open');
  });

  test('is left well: cleanup() ends while masters are frozen', async () => {
    const { cluster, a } = await start({});
    for (const master of cluster.masters) master.freeze();
    a.wsApp.wsBroadcast('x'.repeat(100_000));
    await a.plugin.cleanup();
    expect(a.stats().state).toBe('closed');
    for (const master of cluster.masters) master.thaw();
  });
});
