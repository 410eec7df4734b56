import { expect, test } from 'vitest';
import { script } from './support/process.js';
import { clientSource, createServerSource } from './support/transport.js';

/** Linux lists the threads of a process; elsewhere there is nothing to be counted. */
const listsThreads = process.platform === 'linux';

/** An echo that tells its port by \`print\`, and ends all by itself when it is told so. */
const echoServer = `
  const server = ${createServerSource};
  const { WebSocketPlugin } = require('nextrush-websocket');
  const plugin = new WebSocketPlugin({ ioThreads: 2 });
  const sockets = plugin.attach(server);
  sockets.ws('/echo', (socket) => {
    socket.join('room');
    socket.onMessage((data) => {
      if (data === 'tell') sockets.wsBroadcast('told', 'room');
      else socket.send(data);
    });
  });`;

/** What the scripts below have in common. */
const prelude = `
  const { once } = require('node:events');
  const fs = require('node:fs');
  const { Worker } = require('node:worker_threads');
  const connect = ${clientSource};

  /** Names of the threads that are the engine's, and the number of all. */
  function threads() {
    const tasks = fs.readdirSync('/proc/self/task');
    const names = tasks.map((task) => {
      try {
        return fs.readFileSync('/proc/self/task/' + task + '/comm', 'latin1');
      } catch {
        return 'ended since';
      }
    });
    return { all: tasks.length, engine: names.filter((name) => name.startsWith('nextrush')).length };
  }

  async function until(holds) {
    while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async function startWorker() {
    const worker = new Worker(${JSON.stringify(`${echoServer}
      const { parentPort } = require('node:worker_threads');
      server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
      parentPort.once('message', () => server.close());`)}, { eval: true });
    const [port] = await once(worker, 'message');
    return { worker, port };
  }

  async function open(port) {
    const client = connect(port, '/echo');
    client.on('error', () => {});
    await once(client, 'open');
    client.closed = once(client, 'close');
    return client;
  }

  async function echo(client, text) {
    client.send(text);
    const [data] = await once(client, 'message');
    if (data.toString() !== text) throw new Error('not an echo: ' + data);
  }`;

test('workers that have the addon at once each serve their own connections', async () => {
  const { line, exited } = script(`${prelude}
    (async () => {
      const workers = await Promise.all(Array.from({ length: 4 }, startWorker));
      const all = [];
      for (const { port } of workers) {
        const clients = [await open(port), await open(port), await open(port)];
        for (const client of clients) await echo(client, 'to ' + port);
        all.push(clients);
      }
      // A broadcast stays in its environment.
      const told = Promise.all(all[1].map((client) => once(client, 'message')));
      all[1][0].send('tell');
      await told;
      for (const clients of all) for (const client of clients) await echo(client, 'again');
      console.log('served');
      // Each ends by itself once it has said goodbye.
      for (const { worker } of workers) worker.postMessage('end');
      const codes = await Promise.all(workers.map(({ worker }) => once(worker, 'exit')));
      const closed = await Promise.all(all.flat().map((client) => client.closed));
      console.log(JSON.stringify({ codes: codes.flat(), closed: closed.map(([code]) => code) }));
    })();`);
  expect(await line()).toBe('served');
  expect(JSON.parse(await line())).toEqual({ codes: [0, 0, 0, 0], closed: Array(12).fill(1001) });
  expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
});

test.skipIf(!listsThreads)(
  'workers that are terminated with connections open leave no thread',
  async () => {
    const { line, exited } = script(`${prelude}
    (async () => {
      ${echoServer}
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const own = await open(server.address().port);
      await echo(own, 'of the main thread');
      const before = threads();
      console.log(before.engine);
      for (let round = 0; round < 5; round++) {
        const workers = await Promise.all(Array.from({ length: 3 }, startWorker));
        const clients = [];
        for (const { port } of workers) {
          for (let count = 0; count < 5; count++) clients.push(await open(port));
        }
        for (const client of clients) await echo(client, 'hello');
        const during = threads().engine;
        // Traffic under way, so that the end comes in the middle of it.
        for (const client of clients) for (let n = 0; n < 100; n++) client.send('more');
        await Promise.all(workers.map(({ worker }) => worker.terminate()));
        const codes = new Set();
        for (const client of clients) codes.add((await client.closed)[0]);
        // Bun starts threads of its own when it comes to it.
        const settled = ({ engine, all }) =>
          engine === before.engine && (globalThis.Bun || all <= before.all);
        await until(() => settled(threads()));
        await echo(own, 'still here');
        console.log(during + ' threads, ended with ' + [...codes]);
      }
      own.close();
      await plugin.cleanup();
      server.close();
      await until(() => threads().engine === 0);
      console.log('none left');
    })();`);
    expect(await line()).toBe('2');
    for (let round = 0; round < 5; round++) expect(await line()).toBe('8 threads, ended with 1006');
    expect(await line()).toBe('none left');
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
  },
);

test('a worker may load the addon and end without ever using it', async () => {
  const { line, exited } = script(`
    const { once } = require('node:events');
    const { Worker } = require('node:worker_threads');
    (async () => {
      for (let round = 0; round < 10; round++) {
        const source = "const { WebSocketPlugin } = require('nextrush-websocket'); new WebSocketPlugin();";
        const run = () => once(new Worker(source, { eval: true }), 'exit');
        const codes = await Promise.all(Array.from({ length: 3 }, run));
        if (codes.join() !== '0,0,0') throw new Error('ended with ' + codes);
      }
      console.log('done');
    })();`);
  expect(await line()).toBe('done');
  expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
});

test('workers that clean up and end in the same moment end alone, however they do', async () => {
  const { line, exited } = script(`${prelude}
    const ends = {
      'by process.exit()': 'plugin.cleanup().then(() => process.exit(0))',
      'by themselves': 'plugin.cleanup().then(() => { server.close(); parentPort.unref(); })',
      'before they have cleaned up': 'plugin.cleanup(); process.exit(0)',
      'after many clean-ups': '(async () => { while (rounds-- > 0) { await plugin.cleanup(); plugin.attach(server); } process.exit(0); })()',
    };
    (async () => {
      for (const [name, end] of Object.entries(ends)) {
        for (let round = 0; round < 5; round++) {
          const worker = new Worker(${JSON.stringify(`${echoServer}
            const { parentPort, workerData } = require('node:worker_threads');
            let rounds = 5;
            server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
            parentPort.on('message', () => eval(workerData));`)}, { eval: true, workerData: end });
          const exited = once(worker, 'exit');
          const [port] = await once(worker, 'message');
          const client = await open(port);
          await echo(client, 'hello');
          worker.postMessage('end');
          const [code] = await exited;
          const [closed] = await client.closed;
          if (code !== 0 || ![1001, 1006].includes(closed)) throw new Error(code + ', ' + closed);
        }
        console.log(name);
      }
    })();`);
  expect(await line()).toBe('by process.exit()');
  expect(await line()).toBe('by themselves');
  expect(await line()).toBe('before they have cleaned up');
  expect(await line()).toBe('after many clean-ups');
  expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
});
