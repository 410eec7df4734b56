/** Servers that reach each other over an adapter: NATS, the workers of `node:cluster`, and one's own. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect as connectToNats, type NatsConnection } from 'nats';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocketPlugin, type WSClusterAdapter, type WSClusterOptions } from '../index.js';
import { clusterContract } from '../lib/cluster/contract.js';
import { natsAdapter } from '../lib/cluster/nats.js';
import { relayClusterWorkers, workersAdapter } from '../lib/cluster/workers.js';
import { type Broker, hasBroker, startBroker } from './support/broker.js';
import { type Client, connect } from './support/client.js';
import { startWorkers, type Workers } from './support/cluster-workers.js';
import { deferred, type Queue, queue } from './support/events.js';
import { memoryBus } from './support/memory-bus.js';
import { script } from './support/process.js';
import { portOf } from './support/server.js';
import { until } from './support/until.js';

const hasNats = hasBroker('nats-server');
const hasRedis = hasBroker('redis-server');

/** Connects to a broker as an application would that runs for long. Closed after the test. */
async function natsConnection({ port }: Broker, options = {}): Promise<NatsConnection> {
  const connection = await connectToNats({
    servers: `127.0.0.1:${port}`,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
    ...options,
  });
  onTestFinished(() => connection.close());
  return connection;
}

interface Node {
  plugin: WebSocketPlugin;
  broadcast(text: string, room?: string): void;
  /** A client that is in these rooms. */
  member(...rooms: string[]): Promise<Client>;
  /** What the plugin has told, as `[event, detail]`. */
  events: Queue<[string, unknown]>;
  up(): Promise<void>;
}

/** A server in this process, closed after the test. Clients name their rooms in the query. */
async function startNode(cluster: WSClusterOptions | WSClusterAdapter): Promise<Node> {
  const server = createServer();
  const plugin = new WebSocketPlugin({ cluster });
  const events = queue<[string, unknown]>();
  let isUp = false;
  for (const event of ['cluster:up', 'cluster:down', 'cluster:gap', 'error'] as const) {
    plugin.on(event, (detail?: unknown) => {
      if (event === 'cluster:up') isUp = true;
      events.push([event, detail]);
    });
  }
  const sockets = plugin.attach(server);
  sockets.ws('/ws', (socket) => {
    const { searchParams } = new URL(socket.url, 'http://localhost');
    for (const room of searchParams.getAll('room')) socket.join(room);
    socket.send('welcome');
  });
  onTestFinished(async () => {
    await plugin.cleanup();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  const port = await portOf(server);
  return {
    plugin,
    broadcast: (text, room) => void sockets.wsBroadcast(text, room),
    async member(...rooms) {
      const query = new URLSearchParams(rooms.map((room) => ['room', room]));
      const client = await connect(`ws://127.0.0.1:${port}/ws?${query}`);
      expect(await client.next()).toBe('welcome');
      return client;
    },
    events,
    up: async () => {
      if (!isUp) await once(plugin, 'cluster:up');
    },
  };
}

/** The next event of a name; others are passed over. */
async function eventOf({ events }: Node, name: string): Promise<unknown> {
  for (;;) {
    const [event, detail] = await events.next();
    if (event === name) return detail;
  }
}

/** Broadcasts in a room until a member of it on another node has got one. */
async function reach(from: Node, room: string, member: Client): Promise<void> {
  const reached = deferred();
  member.ws.on('message', (data) => {
    if (`${data}` === 'probe') reached.resolve();
  });
  const timer = setInterval(() => from.broadcast('probe', room), 10);
  await reached.promise;
  clearInterval(timer);
}

/** The next message that was not sent by `reach`. */
async function nextOf(member: Client): Promise<string | Buffer> {
  for (;;) {
    const message = await member.next();
    if (message !== 'probe') return message;
  }
}

describe.skipIf(!hasRedis)('over Redis, as over an adapter', () => {
  let redis: Broker;
  clusterContract({
    test: (name, run) =>
      test(name, async () => {
        redis = await startBroker('redis-server', 'save ""');
        await run();
      }),
    cluster: ({ prefix }) => ({ url: `redis://127.0.0.1:${redis.port}`, prefix }),
    async interrupt(meanwhile) {
      await redis.kill();
      await meanwhile();
      await redis.start();
    },
  });
});

describe.skipIf(!hasNats).each([
  ['NATS', ''],
  ['NATS that takes messages of 4 KiB at most', 'max_payload: 4096'],
])('over %s', (_, config) => {
  let nats: Broker;
  clusterContract({
    test: (name, run) =>
      test(name, async () => {
        nats = await startBroker('nats-server', config);
        await run();
      }),
    cluster: async ({ prefix }) => natsAdapter(await natsConnection(nats), { prefix }),
    async interrupt(meanwhile) {
      await nats.kill();
      await meanwhile();
      await nats.start();
    },
  });
});

describe.skipIf(!hasNats)('a connection to NATS', () => {
  test('serves several plugins and the application, and outlives them', async () => {
    const nats = await startBroker('nats-server');
    const [shared, other] = [await natsConnection(nats), await natsConnection(nats)];
    const nodes = [
      await startNode(natsAdapter(shared)),
      await startNode(natsAdapter(shared, { prefix: 'other.one' })),
      await startNode(natsAdapter(other)),
    ] as const;
    for (const node of nodes) await node.up();
    const subscription = other.subscribe('orders');
    await other.flush();
    const member = await nodes[0].member('room');
    await reach(nodes[2], 'room', member);
    for (const node of nodes) await node.plugin.cleanup();
    shared.publish('orders', 'tea');
    for await (const message of subscription) {
      expect(message.string()).toBe('tea');
      break;
    }
    expect(shared.isClosed()).toBe(false);
  });

  test('that is closed for good is a cluster that is down', async () => {
    const connection = await natsConnection(await startBroker('nats-server'));
    const node = await startNode(natsAdapter(connection));
    await eventOf(node, 'cluster:up');
    await connection.close();
    expect(await eventOf(node, 'cluster:down')).toBe('the connection was closed');
    expect(node.plugin.getStats().cluster?.state).toBe('down');
  });

  test('that may not hear a room says so, and the other rooms are heard', async () => {
    // The room `secret`, as the adapter calls it.
    const subject = `nextrush-ws.r-${Buffer.from('secret').toString('base64url')}`;
    const nats = await startBroker('nats-server', mayNotHear(subject));
    const [a, b] = [
      await startNode(natsAdapter(await natsConnection(nats, { user: 'a', pass: 'a' }))),
      await startNode(natsAdapter(await natsConnection(nats, { user: 'a', pass: 'a' }))),
    ];
    for (const node of [a, b]) await node.up();
    const open = await b.member('open');
    await b.member('secret');
    expect(await eventOf(b, 'error')).toMatchObject({
      message: expect.stringMatching(/^cluster: the room "secret" cannot be subscribed to: /),
    });
    await reach(a, 'open', open);
    expect(b.plugin.getStats().cluster).toMatchObject({ state: 'up', refused: 1 });
  });

  test('that loses a permission begins again, and tells what may be missing', async () => {
    const subject = `nextrush-ws.r-${Buffer.from('secret').toString('base64url')}`;
    const nats = await startBroker('nats-server', mayNotHear('nothing'));
    const login = { user: 'a', pass: 'a' };
    const node = await startNode(natsAdapter(await natsConnection(nats, login)));
    const other = await startNode(natsAdapter(await natsConnection(nats, login)));
    for (const each of [node, other]) await each.up();
    const member = await node.member('secret');
    await reach(other, 'secret', member);
    nats.reload(mayNotHear(subject));
    expect(await eventOf(node, 'cluster:down')).toMatch(/permissions violation/i);
    expect(await eventOf(node, 'error')).toMatchObject({
      message: expect.stringMatching(/^cluster: the room "secret" cannot be subscribed to: /),
    });
    await until(() => node.plugin.getStats().cluster?.state === 'up');
  });

  test('lets the process end, once plugin and connection have been closed', async () => {
    const { port } = await startBroker('nats-server');
    const { line, exited } = script(`
      const { createServer } = require('node:http');
      const { connect } = require('nats');
      const { WebSocketPlugin } = require('nextrush-websocket');
      const { natsAdapter } = require('nextrush-websocket/cluster-nats');
      (async () => {
        const connection = await connect({ servers: '127.0.0.1:${port}' });
        const plugin = new WebSocketPlugin({ cluster: natsAdapter(connection) });
        plugin.attach(createServer());
        plugin.once('cluster:up', async () => {
          await plugin.cleanup();
          await connection.close();
          console.log('closed');
        });
      })();`);
    expect(await line()).toBe('closed');
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
  });

  test('is asked for, and nothing else is taken for one', async () => {
    const connection = await natsConnection(await startBroker('nats-server'));
    for (const wrong of [undefined, null, {}, 'nats://localhost', Promise.resolve(connection)]) {
      expect(() => natsAdapter(wrong as never)).toThrow(
        /^natsAdapter: connection must be a connection of the "nats" package, as await connect\(\) resolves to, got /,
      );
    }
    for (const prefix of ['', 'a b', 'a.*', '.a', 'a..b', 'ü', 'x'.repeat(65), 1, null]) {
      expect(() => natsAdapter(connection, { prefix } as never)).toThrow(TypeError);
    }
    expect(() => natsAdapter(connection, { prefixes: 'a' } as never)).toThrow(
      'natsAdapter: unknown option "prefixes"; accepted is "prefix"',
    );
    expect(() => natsAdapter(connection, null as never)).toThrow(TypeError);
  });
});

/** Users of NATS who may hear everything but one subject. */
function mayNotHear(subject: string): string {
  return `authorization { users = [ { user: a, password: a,
    permissions: { publish: ">", subscribe: { deny: "${subject}" } } } ] }`;
}

describe.each(['json', 'advanced'] as const)('over node:cluster, serialization %s', (kind) => {
  let workers: Workers;
  let started = 0;

  clusterContract({
    test: (name, run) =>
      test(name, async () => {
        workers = startWorkers(3, kind);
        started = 0;
        await run();
      }),
    async start({ prefix }) {
      const number = started;
      started += 1;
      // A fourth one is beside the first.
      const worker = (number % 3) + 1;
      const port = await workers.inWorker<number>(
        worker,
        `const { workersAdapter } = require('nextrush-websocket/cluster-workers');
        const { startContractNode } = require('nextrush-websocket/cluster-contract');
        const node = await startContractNode({ cluster: workersAdapter({ prefix: '${prefix}' }) });
        keep[${number}] = node;
        return node.port;`,
      );
      return { port, close: () => workers.inWorker(worker, `await keep[${number}].close();`) };
    },
    async interrupt(meanwhile) {
      await workers.inPrimary('keep.relay.close();');
      await meanwhile();
      await workers.inPrimary(
        `keep.relay = require('nextrush-websocket/cluster-workers').relayClusterWorkers();`,
      );
    },
  });
});

describe('workers of node:cluster', () => {
  /** Has a worker serve; `keep` then has the plugin, and `keep.say(text, count)` for its room. */
  const serving = (setup = '') => `
    const { WebSocketPlugin } = require('nextrush-websocket');
    const { workersAdapter } = require('nextrush-websocket/cluster-workers');
    const server = require('node:http').createServer();
    keep.plugin = new WebSocketPlugin({ cluster: workersAdapter() });
    keep.gaps = [];
    keep.plugin.on('cluster:gap', (gap) => keep.gaps.push(gap));
    const up = new Promise((resolve) => keep.plugin.once('cluster:up', resolve));
    const sockets = keep.plugin.attach(server);
    sockets.ws('/ws', (socket) => socket.join('room'));
    keep.say = (text, count = 1) => {
      while (count-- > 0) sockets.wsBroadcast(text, 'room');
    };
    ${setup}
    await new Promise((resolve) => server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, resolve));
    await up;
    keep.server = server;
    return server.address().port;`;

  async function serve(workers: Workers, count: number): Promise<Client[]> {
    const members = [];
    for (let worker = 1; worker <= count; worker += 1) {
      const port = await workers.inWorker<number>(worker, serving());
      members.push(await connect(`ws://127.0.0.1:${port}/ws`));
    }
    return members;
  }

  /** Has a worker broadcast until all members on other workers have got something. */
  async function reachAll(workers: Workers, worker: number, members: Client[]) {
    let left = members.length;
    const heard = new Set<Client>();
    for (const member of members) {
      member.ws.on('message', () => {
        if (!heard.has(member)) left -= 1;
        heard.add(member);
      });
    }
    while (left > 0) await workers.inWorker(worker, `keep.say('probe');`);
  }

  test('go on where one is killed, and are not told of it by the primary', async () => {
    const workers = startWorkers(3, 'json');
    const [, second, third] = await serve(workers, 3);
    await reachAll(workers, 1, [second as Client, third as Client]);
    await workers.inPrimary(`
      const worker = cluster.workers[3];
      const gone = new Promise((resolve) => cluster.once('exit', resolve));
      worker.process.kill('SIGKILL');
      await gone;`);
    await workers.inWorker(1, `keep.say('still here');`);
    expect(await nextOf(second as Client)).toBe('still here');
    expect(await workers.inPrimary('return keep.relay.getStats();')).toMatchObject({
      workers: 2,
      adapters: 2,
    });
  });

  test('that are blocked hold nobody up, and tell what they have missed', async () => {
    const workers = startWorkers(3, 'json');
    await workers.inPrimary(`
      keep.relay.close();
      const { relayClusterWorkers } = require('nextrush-websocket/cluster-workers');
      keep.relay = relayClusterWorkers({ maxBufferedBytes: 500_000 });`);
    const [, second, third] = await serve(workers, 3);
    await reachAll(workers, 1, [second as Client, third as Client]);
    const blocked = workers.inWorker(
      3,
      'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);',
    );
    const text = 'x'.repeat(10_000);
    for (let round = 0; round < 100; round += 1) {
      await workers.inWorker(1, `keep.say('${text}', 5);`);
      for (let count = 0; count < 5; count += 1) expect(await nextOf(second as Client)).toBe(text);
    }
    await blocked;
    const { dropped } = await workers.inPrimary<{ dropped: number }>(
      'return keep.relay.getStats();',
    );
    expect(dropped).toBeGreaterThan(0);
    const told = await workers.inWorker<{ room: string | null; missed: number | null }[]>(
      3,
      `while (keep.gaps.length === 0) await new Promise((resolve) => keep.plugin.once('cluster:gap', resolve));
      return keep.gaps;`,
    );
    expect(told[0]).toMatchObject({ node: expect.any(String) });
  });

  test('end by themselves, once they are cleaned up and disconnected', async () => {
    const workers = startWorkers(2, 'advanced');
    await serve(workers, 2);
    const ended = workers.inPrimary(`
      const codes = [];
      await new Promise((resolve) => cluster.on('exit', (_worker, code) => {
        if (codes.push(code) === 2) resolve();
      }));
      process.stdin.destroy();
      return codes;`);
    for (const worker of [1, 2]) {
      await workers.inWorker(
        worker,
        `await keep.plugin.cleanup();
        keep.server.close();
        setImmediate(() => cluster.worker.disconnect());`,
      );
    }
    expect(await ended).toEqual([0, 0]);
    expect(await workers.exited).toEqual({ code: 0, signal: null, stderr: '' });
  });

  test('are heard of by a primary that begins later', async () => {
    const workers = startWorkers(1, 'json');
    await workers.inPrimary('keep.relay.close();');
    const port = workers.inWorker<number>(1, serving());
    await workers.inPrimary(
      `keep.relay = require('nextrush-websocket/cluster-workers').relayClusterWorkers();`,
    );
    expect(await port).toEqual(expect.any(Number));
  });

  test('each do what is theirs', async () => {
    const workers = startWorkers(1, 'json');
    const message = (body: string) => `
      const { relayClusterWorkers, workersAdapter } = require('nextrush-websocket/cluster-workers');
      try {
        ${body};
      } catch (error) {
        return error.name + ': ' + error.message;
      }`;
    expect(await workers.inWorker(1, message('relayClusterWorkers()'))).toBe(
      'Error: relayClusterWorkers: this is not the primary of node:cluster',
    );
    expect(await workers.inPrimary(message('workersAdapter()'))).toBe(
      'Error: workersAdapter: this is no worker of node:cluster',
    );
    expect(await workers.inPrimary(message('relayClusterWorkers()'))).toBe(
      'Error: relayClusterWorkers: was called already; close() that relay first',
    );
    expect(await workers.inWorker(1, message('workersAdapter({ prefix: "a/b" })'))).toMatch(
      /^TypeError: workersAdapter: option "prefix" must be 1 to 64 letters, /,
    );
  });

  test('are no place for other processes, and options are checked', () => {
    expect(() => workersAdapter()).toThrow('workersAdapter: this is no worker of node:cluster');
    for (const [options, Kind] of [
      [null, TypeError],
      [{ maxBytes: 1 }, TypeError],
      [{ maxBufferedBytes: '1' }, TypeError],
      [{ maxBufferedBytes: 0 }, RangeError],
      [{ maxBufferedBytes: Number.NaN }, RangeError],
    ] as const) {
      expect(() => relayClusterWorkers(options as never)).toThrow(Kind);
    }
    const relay = relayClusterWorkers();
    expect(() => relayClusterWorkers()).toThrow('was called already');
    relay.close();
    relayClusterWorkers().close();
  });
});

describe('the contract', () => {
  let bus = memoryBus();
  clusterContract({
    test: (name, run) =>
      test(`holds in memory: ${name}`, () => {
        bus = memoryBus();
        return run();
      }),
    cluster: ({ prefix }) => bus.adapter(prefix),
    async interrupt(meanwhile) {
      bus.down();
      await meanwhile();
      bus.up();
    },
  });

  test.each([
    ['loses messages now and then', 'what a node says in a room arrives in order'],
    ['changes the order', 'what a node says in a room arrives in order'],
    ['knows no prefix', 'nodes with different prefixes do not hear each other'],
    ['cuts long messages off', 'a message may be as long as maxMessageSize'],
    ['takes bytes for text', 'text stays text, and bytes stay bytes'],
    ['mistakes small letters for capitals', 'rooms are told apart, whatever they are called'],
    ['leaves for good', 'a room that was left is not heard, and one that is joined again is'],
    ['tells of no interruption', 'an interruption is told of'],
    ['forgets what it was given when it closes', 'a node that is cleaned up says goodbye'],
  ])('is not kept by an adapter that %s', async (fault, broken) => {
    const flawed = memoryBus(fault);
    const found = new Map<string, () => Promise<void>>();
    clusterContract({
      test: (name, run) => found.set(name, run),
      cluster: ({ prefix }) => flawed.adapter(prefix),
      async interrupt(meanwhile) {
        flawed.down();
        await meanwhile();
        flawed.up();
      },
      limitMs: 4000,
    });
    const [run] = [...found].filter(([name]) => name.startsWith(broken)).map(([, each]) => each);
    await expect(run?.()).rejects.toThrow();
  });

  test('wants a runner, and one way to start nodes', () => {
    const cluster = () => bus.adapter('a');
    const start = async () => ({ port: 1, close: async () => {} });
    for (const options of [
      undefined,
      { cluster },
      { test },
      { test, cluster, start },
      { test, cluster, interrupt: true },
    ]) {
      expect(() => clusterContract(options as never)).toThrow(TypeError);
    }
  });
});
