/** Redis servers that tests start for themselves, and what can befall them. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';
import { freePort } from '../../scripts/free-port.mjs';
import type { Certificate } from './certificate.js';
import { type RespClient, respClient } from './resp.js';

const run = promisify(execFile);

/** Whether there is a `redis-server`; where there is none, a line says what is skipped. */
export function hasRedis(spec: string): boolean {
  const found = spawnSync('redis-server', ['--version']).error === undefined;
  if (!found) {
    console.warn(`${spec} is skipped: no redis-server. Install one (apt install redis-server).`);
  }
  return found;
}

export interface RedisOptions {
  /** Lines of `redis.conf`, by name. */
  config?: Record<string, string | number>;
  /** Speaks TLS only, with this certificate. */
  certificate?: Certificate;
  /** Asks clients for certificates of this authority. */
  clientAuthority?: string;
  /** Listens on a Unix socket only. */
  unix?: boolean;
  /** Lines of `redis.conf` about users: `user name on >password …`. */
  users?: string[];
  /** How the tests' own client logs in. */
  auth?: string[];
  /** What the tests' own client shows, where clients need certificates. */
  clientCertificate?: Certificate;
  /** Takes what kills it at the end, which is that of the test by itself. */
  ends?: (end: () => Promise<void>) => void;
}

export interface Redis {
  port: number;
  /** Path of the Unix socket, where it has one. */
  socket: string;
  /** What nodes are told. */
  url: string;
  /** Starts it, again with the same port and options, and resolves once it answers. */
  start(): Promise<void>;
  /** Kills it, and resolves once it has ended. */
  kill(): Promise<void>;
  /** Freezes it: connections stay, and nothing is read or answered. */
  freeze(): void;
  thaw(): void;
  /** A client of the tests' own. */
  admin(): Promise<RespClient>;
  /** A command by such a client, which leaves again. */
  command(...args: (string | number | Buffer)[]): Promise<string[]>;
  /** How many connections have subscribed to a channel. */
  subscribers(channel: string): Promise<number>;
  /** Channels that somebody has subscribed to. */
  channels(pattern: string): Promise<string[]>;
}

/** Starts a server, which is killed after the test. */
export async function startRedis(options: RedisOptions = {}): Promise<Redis> {
  const redis = await redisServer(options);
  await redis.start();
  return redis;
}

/** A server that has not been started. */
export async function redisServer(options: RedisOptions = {}): Promise<Redis> {
  const folder = mkdtempSync(join(tmpdir(), 'redis-'));
  const port = await freePort();
  const socket = join(folder, 'redis.sock');
  const { certificate, clientAuthority, unix } = options;
  const lines = ['save ""', 'appendonly no', `dir ${folder}`, 'bind 127.0.0.1', 'daemonize no'];
  if (unix) lines.push('port 0', `unixsocket ${socket}`);
  else if (certificate) lines.push('port 0', `tls-port ${port}`);
  else lines.push(`port ${port}`);
  if (certificate) {
    for (const [name, pem] of Object.entries(certificate)) writeFileSync(join(folder, name), pem);
    lines.push(`tls-cert-file ${join(folder, 'cert')}`, `tls-key-file ${join(folder, 'key')}`);
    writeFileSync(join(folder, 'ca'), clientAuthority ?? certificate.cert);
    lines.push(`tls-ca-cert-file ${join(folder, 'ca')}`);
    lines.push(`tls-auth-clients ${clientAuthority ? 'yes' : 'no'}`);
  }
  for (const [name, value] of Object.entries(options.config ?? {})) lines.push(`${name} ${value}`);
  lines.push(...(options.users ?? []));
  writeFileSync(join(folder, 'redis.conf'), lines.join('\n'));

  let server: ChildProcess | undefined;
  async function kill() {
    const running = server;
    server = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const ended = once(running, 'exit');
    running.kill('SIGKILL');
    await ended;
  }
  (options.ends ?? onTestFinished)(async () => {
    await kill();
    rmSync(folder, { recursive: true, force: true });
  });

  const secure = certificate && {
    rejectUnauthorized: false,
    ...options.clientCertificate,
  };
  const admin = () =>
    respClient(unix ? { path: socket } : { port, host: '127.0.0.1' }, {
      auth: options.auth,
      secure,
    });
  async function command(...args: (string | number | Buffer)[]) {
    const client = await admin();
    try {
      return await client.texts(...args);
    } finally {
      client.close();
    }
  }
  return {
    port,
    socket,
    url: unix ? `redis+unix://${socket}` : `redis${certificate ? 's' : ''}://127.0.0.1:${port}`,
    async start() {
      const started = spawn('redis-server', [join(folder, 'redis.conf')], { stdio: 'pipe' });
      server = started;
      let printed = '';
      for (const stream of [started.stdout, started.stderr]) {
        stream.setEncoding('utf8').on('data', (text) => {
          printed += text;
        });
      }
      for (;;) {
        if (started.exitCode !== null) throw new Error(`redis-server has ended: ${printed}`);
        try {
          await command('PING');
          return;
        } catch {
          await wait(5);
        }
      }
    },
    kill,
    freeze: () => void server?.kill('SIGSTOP'),
    thaw: () => void server?.kill('SIGCONT'),
    admin,
    command,
    async subscribers(channel) {
      const [, count] = await command('PUBSUB', 'NUMSUB', channel);
      return Number(count);
    },
    channels: (pattern) => command('PUBSUB', 'CHANNELS', pattern),
  };
}

/** A Redis Cluster: its masters share the slots out among themselves. */
export interface RedisCluster {
  masters: Redis[];
  urls: string[];
  /** The master that has a slot. */
  ownerOf(slot: number): Promise<Redis>;
  /** Moves a slot to another master while everything goes on. */
  moveSlot(slot: number, from: Redis, to: Redis): Promise<void>;
  /** Starts one more master, without slots. */
  addMaster(): Promise<Redis>;
  /** Starts a replica of a master, and resolves once it has what that has. */
  addReplica(master: Redis): Promise<Redis>;
  /** Resolves once every node says that all is well. */
  settled(): Promise<void>;
}

const clusterConfig = async () => ({
  'cluster-enabled': 'yes',
  'cluster-port': await freePort(),
  'cluster-node-timeout': 1000,
  'cluster-replica-validity-factor': 0,
  'repl-diskless-sync-delay': 0,
  'enable-debug-command': 'yes',
});

/** Starts three masters that have all slots between them, with a password where one is given. */
export async function startRedisCluster({
  password,
  config = {},
  ends,
}: {
  password?: string;
  config?: Record<string, string>;
  ends?: RedisOptions['ends'];
} = {}): Promise<RedisCluster> {
  const auth = password === undefined ? undefined : [password];
  const login: Record<string, string> =
    password === undefined ? {} : { requirepass: password, masterauth: password };
  const startNode = async () =>
    startRedis({ config: { ...(await clusterConfig()), ...login, ...config }, auth, ends });
  const masters = [await startNode(), await startNode(), await startNode()];
  const nodes = [...masters];
  const address = ({ port }: Redis) => `127.0.0.1:${port}`;
  const env = password === undefined ? process.env : { ...process.env, REDISCLI_AUTH: password };
  const cli = (...args: string[]) => run('redis-cli', args, { env });
  await cli('--cluster', 'create', ...masters.map(address), '--cluster-yes');
  const idOf = async (node: Redis) => (await node.command('CLUSTER', 'MYID'))[0] as string;

  async function settled() {
    for (const node of nodes) {
      for (;;) {
        try {
          const [info = ''] = await node.command('CLUSTER', 'INFO');
          const known = /cluster_known_nodes:(\d+)/.exec(info)?.[1];
          if (info.includes('cluster_state:ok') && Number(known) >= nodes.length) break;
        } catch {
          // Not there; a node that has been killed stays out.
          nodes.splice(nodes.indexOf(node), 1);
          break;
        }
        await wait(20);
      }
    }
  }

  /** Whether a node says that it has a slot itself. */
  async function hasSlot(node: Redis, slot: number): Promise<boolean> {
    const [known = ''] = await node.command('CLUSTER', 'NODES');
    const own = known.split('\n').find((line) => line.includes('myself')) ?? '';
    const ranges = own.split(' ').slice(8);
    return ranges
      .filter((range) => !range.startsWith('['))
      .map((range) => range.split('-').map(Number))
      .some(([first = 0, last = first]) => first <= slot && slot <= last);
  }

  async function meet(node: Redis) {
    const [first] = nodes as [Redis];
    nodes.push(node);
    await node.command('CLUSTER', 'MEET', '127.0.0.1', first.port, await busPort(first));
    await settled();
  }
  const busPort = async (node: Redis) =>
    (await node.command('CONFIG', 'GET', 'cluster-port'))[1] as string;

  await settled();
  return {
    masters,
    urls: masters.map(({ url }) => url),
    settled,
    async ownerOf(slot) {
      for (;;) {
        for (const node of nodes) if (await hasSlot(node, slot)) return node;
        await wait(20);
      }
    },
    async moveSlot(slot, from, to) {
      const [fromId, toId] = [await idOf(from), await idOf(to)];
      await to.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId);
      await from.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId);
      // What a node has said before it was told may make another forget it again.
      do {
        for (const node of [to, from, ...nodes]) {
          // A replica learns it from its master.
          await node.command('CLUSTER', 'SETSLOT', slot, 'NODE', toId).catch(() => {});
        }
      } while (!(await hasSlot(to, slot)) || (await hasSlot(from, slot)));
    },
    async addMaster() {
      const node = await startNode();
      await meet(node);
      return node;
    },
    async addReplica(master) {
      const node = await startNode();
      await meet(node);
      const id = await idOf(master);
      for (;;) {
        try {
          await node.command('CLUSTER', 'REPLICATE', id);
          break;
        } catch {
          await wait(20);
        }
      }
      for (;;) {
        const [info = ''] = await node.command('INFO', 'replication');
        if (info.includes('master_link_status:up')) return node;
        await wait(20);
      }
    },
  };
}
