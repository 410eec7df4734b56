/** Servers that are joined by a broker: in this process, or in one of their own. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import type { WSClusterGap, WSClusterOptions, WSClusterStats, WSSocket } from '../../index.js';
import { type Client, connect } from './client.js';
import { type Queue, queue } from './events.js';
import { type Recorded, serveRecorded } from './pair.js';
import { type Script, script } from './process.js';
import type { Redis } from './redis.js';
import type { ServeOptions } from './server.js';
import { wsUrl } from './transport.js';
import { until } from './until.js';

/** What nodes of the tests put before their channels unless they are told otherwise. */
export const PREFIX = 'nextrush-ws';

/** The channel of a room with a simple name, and that of broadcasts to everyone. */
export const channelOf = (room: string, prefix = PREFIX) => `${prefix}:room:${room}`;
export const channelOfAll = (prefix = PREFIX) => `${prefix}:all`;

/** A connection to a node, in rooms. */
export interface Member {
  client: Client;
  socket: WSSocket;
}

export interface ClusterNode extends Recorded {
  /** Its name in the cluster. */
  id: string;
  ups: Queue<true>;
  downs: Queue<string>;
  gaps: Queue<WSClusterGap>;
  /** Each `cluster:gap` there has been, taken or not. */
  everyGap: WSClusterGap[];
  /** What it says of the cluster now. */
  stats(): WSClusterStats;
  /** Connects to it, and joins rooms. */
  member(...rooms: string[]): Promise<Member>;
}

/** Serves with a broker, and does not wait for it. */
export async function clusterNode(
  cluster: WSClusterOptions,
  options: ServeOptions = {},
): Promise<ClusterNode> {
  const ups = queue<true>();
  const downs = queue<string>();
  const gaps = queue<WSClusterGap>();
  const everyGap: WSClusterGap[] = [];
  const recorded = await serveRecorded({ ...options, cluster });
  const { plugin } = recorded;
  plugin.on('cluster:up', () => ups.push(true));
  plugin.on('cluster:down', (reason) => downs.push(reason));
  plugin.on('cluster:gap', (gap) => {
    everyGap.push(gap);
    gaps.push(gap);
  });
  const stats = () => {
    const { cluster } = plugin.getStats();
    if (cluster === undefined) throw new Error('getStats() has no cluster');
    return cluster;
  };
  return {
    ...recorded,
    id: stats().nodeId,
    ups,
    downs,
    gaps,
    everyGap,
    stats,
    async member(...rooms) {
      const client = await connect(recorded.url());
      const socket = await recorded.sockets.next();
      for (const room of rooms) socket.join(room);
      return { client, socket };
    },
  };
}

/** Serves with a broker, once messages come and go. */
export async function upNode(
  cluster: WSClusterOptions,
  options?: ServeOptions,
): Promise<ClusterNode> {
  const node = await clusterNode(cluster, options);
  await node.ups.next();
  return node;
}

/** Two nodes that have heard of each other. */
export async function twoNodes(
  cluster: WSClusterOptions,
  options?: ServeOptions,
): Promise<[ClusterNode, ClusterNode]> {
  const nodes = await Promise.all([upNode(cluster, options), upNode(cluster, options)]);
  await acquainted(...nodes);
  return nodes;
}

/** Resolves once nodes have heard of each other. */
export async function acquainted(...nodes: ClusterNode[]): Promise<void> {
  for (const node of nodes) await until(() => node.stats().nodes >= nodes.length - 1);
}

/** Resolves once so many connections have subscribed to the channel of a room, or of everyone. */
export async function subscribed(
  redis: Redis,
  room: string | null,
  nodes = 1,
  prefix = PREFIX,
): Promise<void> {
  const channel = room === null ? channelOfAll(prefix) : channelOf(room, prefix);
  while ((await redis.subscribers(channel)) !== nodes);
}

/** The name of a node as its envelopes have it. */
export const nameInEnvelopes = ({ id }: { id: string }) =>
  Buffer.from(id.replaceAll('-', ''), 'hex');

/** Whether an envelope is a heartbeat: it says so behind the magic number and the version. */
export const isHeartbeat = (envelope: Buffer) => envelope[5] === 2;

/**
 * Resolves once `to` has heard so many more heartbeats of `from`, by which it notices what it has missed.
 * A broadcast to everyone follows the last of them, and is taken from `client`, which gets nothing else.
 */
export async function heartbeats(
  redis: Redis,
  from: ClusterNode,
  client: Client,
  count: number,
): Promise<void> {
  const admin = await redis.admin();
  const heard = await admin.listen(channelOfAll());
  for (let n = 0; n < count; ) {
    const { payload } = await heard.next();
    if (isHeartbeat(payload) && payload.includes(nameInEnvelopes(from))) n += 1;
  }
  admin.close();
  from.wsApp.wsBroadcast('after heartbeats');
  const next = (await client.next()).toString();
  if (next !== 'after heartbeats') throw new Error(`${next} comes instead`);
}

/** Says one message after another until one arrives: the way is open again. */
export async function probe(from: ClusterNode, to: Client, room?: string): Promise<string[]> {
  const seen: string[] = [];
  for (let n = 0; ; n++) {
    from.wsApp.wsBroadcast(`probe ${n}`, room);
    await wait(20);
    seen.push(...to.waiting.splice(0).map(String));
    if (seen.some((text) => text.startsWith('probe'))) return seen;
  }
}

/** Takes messages until `last` has come, which is the last of them. */
export async function messagesUntil(client: Client, last: string): Promise<string[]> {
  const messages: string[] = [];
  while (messages.at(-1) !== last) messages.push((await client.next()).toString());
  return messages;
}

export interface NodeProcess extends Script {
  id: string;
  port: number;
  pid: number;
  /** The next event of that name, and what it told. */
  event(name: string): Promise<unknown>;
  /** Runs JavaScript there, with `plugin`, `sockets` and `server`; resolves with its value. */
  run(source: string): Promise<unknown>;
  /** Connects to it, and joins rooms. */
  member(...rooms: string[]): Promise<Client>;
  /** Blocks the JavaScript thread there until it is released, from the turn in which `last` runs on. */
  block(last?: string): Promise<{ release(): Promise<void> }>;
}

/** A node in a process of its own, once messages come and go. */
export async function nodeProcess(
  cluster: WSClusterOptions,
  options: Omit<ServeOptions, 'before' | 'host'> = {},
): Promise<NodeProcess> {
  const child = script(`
    const fs = require('node:fs');
    const { WebSocketPlugin } = require('nextrush-websocket');
    const server = require('node:http').createServer();
    const plugin = new WebSocketPlugin(${JSON.stringify({ ...options, cluster })});
    const say = (name, value = null) => fs.writeSync(1, JSON.stringify([name, value]) + '\\n');
    for (const name of ['up', 'down', 'gap']) {
      plugin.on('cluster:' + name, (value) => say(name, value));
    }
    const sockets = plugin.attach(server);
    sockets.ws('/ws', (socket) => {
      for (const room of JSON.parse(decodeURIComponent(socket.url.split('?')[1]))) socket.join(room);
      socket.send('joined');
    });
    require('node:readline').createInterface({ input: process.stdin }).on('line', async (line) => {
      say('ran', await eval('(async () => {' + JSON.parse(line) + '})()') ?? null);
    });
    server.listen(0, '127.0.0.1', () => say('listens', [server.address().port, process.pid]));`);
  const events = new Map<string, Queue<unknown>>();
  const of = (name: string) => {
    const known = events.get(name) ?? queue();
    events.set(name, known);
    return known;
  };
  (async () => {
    for (;;) {
      const [name, value] = JSON.parse(await child.line());
      of(name).push(value);
    }
  })().catch(() => {});
  const event = (name: string) => of(name).next();
  const run = async (source: string) => {
    child.tell(JSON.stringify(source));
    return event('ran');
  };
  const [port, pid] = (await event('listens')) as [number, number];
  const id = (await run('return plugin.getStats().cluster.nodeId')) as string;
  await event('up');
  return {
    ...child,
    id,
    port,
    pid,
    event,
    run,
    async member(...rooms) {
      const query = encodeURIComponent(JSON.stringify(rooms));
      const client = await connect(wsUrl(port, `/ws?${query}`));
      await client.next();
      return client;
    },
    async block(last = '') {
      const folder = mkdtempSync(join(tmpdir(), 'block-'));
      onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
      // Whoever reads a named pipe waits for somebody who writes.
      const pipe = join(folder, 'pipe');
      execFileSync('mkfifo', [pipe]);
      await run(`${last};
      setImmediate(() => {
        say('blocks');
        fs.readFileSync(${JSON.stringify(pipe)});
        say('goes on');
      })`);
      await event('blocks');
      let released = false;
      const release = async () => {
        if (!released) writeFileSync(pipe, '');
        released = true;
        await event('goes on');
      };
      return { release };
    },
  };
}
