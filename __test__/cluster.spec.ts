/** Several processes on one port. Each of them has connections, rooms and counters of its own. */
import { describe, expect, test } from 'vitest';
import { type Client, connect } from './support/client.js';
import { type Script, script } from './support/process.js';
import { createServerSource, isBun, wsUrl } from './support/transport.js';

/** An echo that puts the worker's name before each message; `join` and `tell` are for rooms. */
const serve = (name: string, listen: string) => `
  const server = ${createServerSource};
  const { WebSocketPlugin } = require('nextrush-websocket');
  const plugin = new WebSocketPlugin();
  const sockets = plugin.attach(server);
  sockets.ws('/ws', (socket) => {
    socket.join('room');
    socket.onMessage((data) => {
      if (data === 'tell') sockets.wsBroadcast(${name} + ' told', 'room');
      else socket.send(${name} + ': ' + data);
    });
  });
  server.listen(${listen});`;

/** Asks a connection for the name of its process. */
async function ownerOf(client: Client): Promise<string> {
  client.send('name');
  return (await client.next()).toString().replace(': name', '');
}

/** Connects until each of the processes has some of the connections. */
async function connectToAll(url: string, processes: number): Promise<Map<string, Client[]>> {
  const clients = new Map<string, Client[]>();
  while (clients.size < processes || [...clients.values()].some((owned) => owned.length < 2)) {
    const client = await connect(url);
    const owner = await ownerOf(client);
    clients.set(owner, [...(clients.get(owner) ?? []), client]);
  }
  return clients;
}

// In Bun, workers that listen on port 0 get a port each.
describe.skipIf(isBun).each(['SCHED_RR', 'SCHED_NONE'])('workers of a cluster, by %s', (policy) => {
  /**
   * A primary that forks a worker, kills or disconnects one, as its stdin says, and prints when they
   * listen and how they end. To all workers port 0 is the same port.
   */
  const source = `
    const cluster = require('node:cluster');
    if (cluster.isPrimary) {
      cluster.schedulingPolicy = cluster.${policy};
      cluster.setupPrimary({ exec: 'the same source' });
      const commands = {
        fork() {
          const worker = cluster.fork();
          worker.on('listening', ({ port }) => console.log('listening ' + port));
          worker.on('exit', (code, signal) => console.log('exit ' + worker.id + ' ' + (signal ?? code)));
        },
        kill: (id) => cluster.workers[id].process.kill('SIGKILL'),
        disconnect: (id) => cluster.workers[id].disconnect(),
      };
      require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
        const [command, id] = line.split(' ');
        commands[command](id);
      });
    } else {
      ${serve('cluster.worker.id', "0, '127.0.0.1'")}
    }`;

  async function start(workers: number): Promise<Script & { url: string }> {
    const primary = script(source);
    let port = 0;
    for (let count = 0; count < workers; count++) {
      primary.tell('fork');
      port = Number((await primary.line()).replace('listening ', ''));
    }
    return { ...primary, url: wsUrl(port) };
  }

  test('each serve connections on the shared port, with rooms of their own', async () => {
    const { url } = await start(2);
    const clients = await connectToAll(url, 2);
    expect([...clients.keys()].sort()).toEqual(['1', '2']);
    for (const [owner, owned] of clients) {
      owned[0]?.send('tell');
      for (const client of owned) expect(await client.next()).toBe(`${owner} told`);
    }
    // Nobody was told by another process.
    for (const [owner, owned] of clients) {
      for (const client of owned) {
        expect(await ownerOf(client)).toBe(owner);
        expect(client.waiting).toEqual([]);
      }
    }
  });

  test('take nobody along when they are killed, and can be replaced', async () => {
    const { url, tell, line } = await start(2);
    const clients = await connectToAll(url, 2);
    tell('kill 1');
    expect(await line()).toBe('exit 1 SIGKILL');
    for (const client of clients.get('1') ?? []) {
      expect(await client.closed).toMatchObject({ code: 1006 });
    }
    for (const client of clients.get('2') ?? []) expect(await ownerOf(client)).toBe('2');
    tell('fork');
    expect(await line()).toMatch(/^listening /);
    expect([...(await connectToAll(url, 2)).keys()].sort()).toEqual(['2', '3']);
  });

  test('end gracefully by disconnect(): with 1001, and by themselves', async () => {
    const { url, tell, line } = await start(2);
    const clients = await connectToAll(url, 2);
    tell('disconnect 1');
    for (const client of clients.get('1') ?? []) {
      expect(await client.closed).toEqual({ code: 1001, reason: 'server is shutting down' });
    }
    expect(await line()).toBe('exit 1 0');
    for (const client of clients.get('2') ?? []) expect(await ownerOf(client)).toBe('2');
    expect(await ownerOf(await connect(url))).toBe('2');
  });
});

/** Node has the option from 23.1 on, Bun has not. */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const hasReusePort = !isBun && (major > 23 || (major === 23 && minor >= 1));

// Other systems have SO_REUSEPORT as well, but not all of them share the connections out.
describe.skipIf(!hasReusePort || process.platform !== 'linux')(
  'processes with SO_REUSEPORT',
  () => {
    test('each serve connections on the same port, and do not miss one that ends', async () => {
      let port = 0;
      const processes = new Map<string, Script>();
      for (const name of ['one', 'two']) {
        const child = script(`
        const name = '${name}';
        ${serve('name', `{ port: ${port}, host: '127.0.0.1', reusePort: true }`)}
        server.on('listening', () => console.log(server.address().port));
        process.stdin.once('data', () => { server.close(); process.stdin.destroy(); });`);
        port = Number(await child.line());
        processes.set(name, child);
      }
      const clients = await connectToAll(wsUrl(port), 2);
      processes.get('one')?.tell('close');
      for (const client of clients.get('one') ?? []) {
        expect(await client.closed).toMatchObject({ code: 1001 });
      }
      expect(await processes.get('one')?.exited).toEqual({ code: 0, signal: null, stderr: '' });
      for (const client of clients.get('two') ?? []) expect(await ownerOf(client)).toBe('two');
      expect(await ownerOf(await connect(wsUrl(port)))).toBe('two');
    });
  },
);
