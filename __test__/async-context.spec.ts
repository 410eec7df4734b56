/** In whose async context user code runs: never in that of another connection. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { WSConnection } from '../index.js';
import { type Client, connect } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { script } from './support/process.js';
import { frame, rawUpgrade, TEXT } from './support/raw.js';
import { serve } from './support/server.js';
import { clientSource, createServerSource } from './support/transport.js';

interface Store {
  user: string;
}

/** What was seen, where, of whom. */
type Seen = [where: string, of: string, store: string | undefined];

function storage() {
  const als = new AsyncLocalStorage<Store>();
  onTestFinished(() => als.disable());
  return als;
}

const nameOf = (socket: WSConnection) => socket.url.split('?')[1] ?? '';

/** Awaits as many as are expected, and orders them. */
async function take(seen: ReturnType<typeof queue<Seen>>, count: number): Promise<Seen[]> {
  const all: Seen[] = [];
  while (all.length < count) all.push(await seen.next());
  return all.sort();
}

async function everyone(url: (path: string) => string, names: string[]): Promise<Client[]> {
  const clients: Client[] = [];
  for (const name of names) clients.push(await connect(url(`/ws?${name}`)));
  return clients;
}

describe('listeners of a connection', () => {
  test('run in the context of the handler that registered them, their timers and awaits too', async () => {
    const als = storage();
    const seen = queue<Seen>();
    const { url } = await serve(
      {
        before: (app) => {
          app.use((ctx, next) => als.run({ user: ctx.url.split('?')[1] ?? '' }, next));
        },
      },
      ({ wsApp }) => {
        wsApp.ws('/ws', (socket) => {
          const name = nameOf(socket);
          const see = (where: string) => seen.push([where, name, als.getStore()?.user]);
          see('handler');
          socket.onMessage(async () => {
            see('message');
            await wait(1);
            see('message, later');
            setTimeout(() => see('message, timer'));
          });
          socket.onMessage(() => see('second listener'));
          socket.onClose(() => see('close'));
        });
      },
    );
    const names = ['ada', 'bob', 'cyd'];
    const clients = await everyone(url, names);
    for (const client of [...clients].reverse()) client.send('hello');
    const places = ['handler', 'message', 'message, later', 'message, timer', 'second listener'];
    const expected = names.flatMap((name) => places.map((place): Seen => [place, name, name]));
    expect(await take(seen, expected.length)).toEqual(expected.sort());
    for (const client of clients) client.close();
    expect(await take(seen, 3)).toEqual(names.map((name) => ['close', name, name]));
  });

  test('that were registered in no context run in none, whoever connected first', async () => {
    const als = storage();
    const seen = queue<Seen>();
    const { url, plugin } = await serve(
      {
        before: (app) => {
          app.use((ctx, next) =>
            ctx.url.endsWith('ada') ? als.run({ user: 'ada' }, next) : next(),
          );
        },
      },
      ({ wsApp }) => {
        wsApp.ws('/ws', (socket) => {
          const see = (where: string) => seen.push([where, nameOf(socket), als.getStore()?.user]);
          socket.onMessage(() => see('message'));
          socket.onClose(() => see('close'));
        });
      },
    );
    plugin.on('close', (socket) => seen.push(['event', nameOf(socket), als.getStore()?.user]));
    const clients = await everyone(url, ['ada', 'bob']);
    for (const client of clients) client.send('hello');
    for (const client of clients) client.close();
    expect(await take(seen, 6)).toEqual([
      ['close', 'ada', 'ada'],
      ['close', 'bob', undefined],
      ['event', 'ada', undefined],
      ['event', 'bob', undefined],
      ['message', 'ada', 'ada'],
      ['message', 'bob', undefined],
    ]);
  });

  test('may enter a context, which ends with them', async () => {
    const als = storage();
    const seen = queue<Seen>();
    const { url, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => {
        const name = nameOf(socket);
        const see = (where: string) => seen.push([where, name, als.getStore()?.user]);
        socket.onMessage(() => {
          see('before');
          als.enterWith({ user: name });
          // An event of the plugin in between does not take it away.
          socket.join(`room of ${name}`);
          see('after');
        });
        socket.onMessage(() => see('second listener'));
        socket.onClose(() => see('close'));
      });
    });
    plugin.on('room:created', () => seen.push(['room', '', als.getStore()?.user]));
    const clients = await everyone(url, ['ada', 'bob']);
    for (const client of clients) client.send('hello');
    for (const client of clients) client.send('again');
    expect(await take(seen, 14)).toEqual([
      ...['ada', 'ada', 'bob', 'bob'].map((name) => ['after', name, name]),
      ...['ada', 'ada', 'bob', 'bob'].map((name) => ['before', name, undefined]),
      ['room', '', undefined],
      ['room', '', undefined],
      ...['ada', 'ada', 'bob', 'bob'].map((name) => ['second listener', name, undefined]),
    ]);
    for (const client of clients) client.close();
    expect(await take(seen, 2)).toEqual([
      ['close', 'ada', undefined],
      ['close', 'bob', undefined],
    ]);
  });

  test('may enter a context that covers their own, in one batch with those of others', async () => {
    const als = storage();
    const seen = queue<Seen>();
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => {
        als.run({ user: 'of the handler' }, () => {
          socket.onMessage((data) => {
            seen.push(['message', String(data), als.getStore()?.user]);
            als.enterWith({ user: 'entered' });
          });
        });
      });
    });
    const client = await rawUpgrade(port);
    client.write(Buffer.concat(['1', '2', '3'].map((text) => frame(TEXT, text))));
    expect(await take(seen, 3)).toEqual(
      ['1', '2', '3'].map((text) => ['message', text, 'of the handler']),
    );
  });

  test('get messages that were held for the handler in the same context as later ones', async () => {
    const als = storage();
    const seen = queue<Seen>();
    const gate = deferred();
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.wsUse((_socket, _req, next) => als.run({ user: 'middleware' }, next));
      wsApp.ws('/ws', async (socket) => {
        const see = (data: unknown) => seen.push(['message', String(data), als.getStore()?.user]);
        socket.onMessage(see);
        als.exit(() => socket.onMessage((data) => see(`no context ${data}`)));
        await gate.promise;
        als.enterWith({ user: 'handler' });
      });
    });
    const client = await rawUpgrade(port, '/ws', frame(TEXT, 'held'));
    gate.resolve();
    const held = await take(seen, 2);
    client.write(frame(TEXT, 'later'));
    expect([...held, ...(await take(seen, 2))]).toEqual([
      ['message', 'held', 'middleware'],
      ['message', 'no context held', undefined],
      ['message', 'later', 'middleware'],
      ['message', 'no context later', undefined],
    ]);
  });

  test('of the end, registered after it, run in the context of who registers', async () => {
    const als = storage();
    const seen = queue<Seen>();
    const ended = deferred();
    const { url } = await serve({}, ({ wsApp, plugin }) => {
      plugin.on('close', () => ended.resolve());
      wsApp.ws('/ws', async (socket) => {
        await ended.promise;
        als.run({ user: 'late' }, () => {
          socket.onClose(() => seen.push(['close', '', als.getStore()?.user]));
        });
      });
    });
    (await connect(url())).close();
    expect(await seen.next()).toEqual(['close', '', 'late']);
  });
});

describe('listeners of the plugin', () => {
  test('run in the context of who added them, by whatever method, and can be removed', async () => {
    const als = storage();
    const seen = queue<Seen>();
    const { url, plugin, app } = await serve(
      { before: (host) => host.use((_ctx, next) => als.run({ user: 'request' }, next)) },
      ({ wsApp }) => wsApp.ws('/ws', (socket) => socket.join('room')),
    );
    const see = (where: string) => () => seen.push([where, '', als.getStore()?.user]);
    const removed = see('removed');
    als.run({ user: 'registrar' }, () => {
      plugin.on('connection', see('on'));
      plugin.addListener('connection', see('addListener'));
      plugin.prependListener('connection', see('prependListener'));
      plugin.once('connection', see('once'));
      plugin.prependOnceListener('connection', see('prependOnceListener'));
      plugin.on('connection', removed);
      plugin.once('connection', removed);
      plugin.on('room:created', see('room'));
    });
    expect(plugin.listeners('connection').filter((each) => each === removed)).toHaveLength(2);
    plugin.off('connection', removed);
    plugin.off('connection', removed);
    plugin.on('close', see('close'));
    app.on('plugin:WebSocketPlugin:room:created', see('application'));
    const first = await connect(url());
    expect(await take(seen, 7)).toEqual([
      ['addListener', '', 'registrar'],
      ['application', '', undefined],
      ['on', '', 'registrar'],
      ['once', '', 'registrar'],
      ['prependListener', '', 'registrar'],
      ['prependOnceListener', '', 'registrar'],
      ['room', '', 'registrar'],
    ]);
    await connect(url());
    expect(await take(seen, 3)).toEqual([
      ['addListener', '', 'registrar'],
      ['on', '', 'registrar'],
      ['prependListener', '', 'registrar'],
    ]);
    first.close();
    expect(await seen.next()).toEqual(['close', '', undefined]);
  });
});

test('a store can be collected once its connection is gone, also that of the first', async () => {
  const server = script(`
    const { AsyncLocalStorage } = require('node:async_hooks');
    const { setFlagsFromString } = require('node:v8');
    setFlagsFromString('--expose-gc');
    const gc = require('node:vm').runInNewContext('gc');
    const { WebSocketPlugin } = require('./index.js');
    // The stream is made by the first line, and would keep the context of that.
    console.log('ready');
    const als = new AsyncLocalStorage();
    const server = ${createServerSource};
    const plugin = new WebSocketPlugin();
    const stores = [];
    const sockets = [];
    plugin.attach(server)
      .wsUse((socket, req, next) => {
        const store = { user: req.url };
        stores.push(new WeakRef(store));
        als.run(store, next);
      })
      .ws('/ws', (socket) => {
        // User code that keeps the connections does not keep their stores.
        sockets.push(socket);
        socket.onMessage((data) => socket.send(als.getStore().user + data));
        socket.onClose(() => console.log('closed ' + als.getStore().user));
      });
    const open = ${clientSource};
    server.listen(0, '127.0.0.1', async () => {
      const { port } = server.address();
      const keep = open(port, '/ws?keep');
      await new Promise((resolve) => keep.once('open', resolve));
      for (let round = 0; round < 2; round++) {
        const client = open(port, '/ws?' + round);
        await new Promise((resolve) => client.once('open', resolve));
        client.send('!');
        await new Promise((resolve) => client.once('message', resolve));
        client.close();
        await new Promise((resolve) => client.once('close', resolve));
      }
      const alive = () => stores.map((store) => store.deref()?.user ?? null);
      for (let tries = 0; tries < 100 && alive().filter(Boolean).length > 1; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        gc();
      }
      console.log(JSON.stringify(alive()));
      keep.close();
      for (let tries = 0; tries < 100 && alive().some(Boolean); tries++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        gc();
      }
      console.log(JSON.stringify(alive()));
      process.exit();
    });
  `);
  expect(await server.line()).toBe('ready');
  expect(await server.line()).toBe('closed /ws?0');
  expect(await server.line()).toBe('closed /ws?1');
  expect(await server.line()).toBe(JSON.stringify(['/ws?keep', null, null]));
  expect(await server.line()).toBe('closed /ws?keep');
  expect(await server.line()).toBe(JSON.stringify([null, null, null]));
});
