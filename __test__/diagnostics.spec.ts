/** What operators and tracers are told: the event `rejected`, and Node's `diagnostics_channel`. */

import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { WSDiagnostics, WSRejection } from '../index.js';
import { connect, expectEcho, refused } from './support/client.js';
import { stderr } from './support/console.js';
import { type Queue, queue } from './support/events.js';
import { echo, pair, serveRecorded } from './support/pair.js';
import { rawConnect, upgradeRequest } from './support/raw.js';
import { type Served, serve } from './support/server.js';

/** What is published on a channel from now on about one plugin: specs run side by side in a process. */
function published<C extends keyof WSDiagnostics>(
  channel: C,
  { plugin }: Pick<Served, 'plugin'>,
): Queue<WSDiagnostics[C]> {
  const messages = queue<WSDiagnostics[C]>();
  const onMessage = (message: unknown) => {
    const of = message as WSDiagnostics[C];
    if (of.plugin === plugin) messages.push(of);
  };
  subscribe(channel, onMessage);
  onTestFinished(() => void unsubscribe(channel, onMessage));
  return messages;
}

function rejectionsOf({ plugin }: Pick<Served, 'plugin'>): Queue<WSRejection> {
  const rejections = queue<WSRejection>();
  plugin.on('rejected', (rejection) => rejections.push(rejection));
  return rejections;
}

describe('the event rejected', () => {
  test('tells the address that a trusted proxy says, and only that', async () => {
    const headers = { 'X-Forwarded-For': '192.0.2.1' };
    for (const [trustProxy, address] of [
      ['loopback', '192.0.2.1'],
      [false, '127.0.0.1'],
      ['10.0.0.0/8', '127.0.0.1'],
    ] as const) {
      const served = await serve({ trustProxy, verifyClient: () => false });
      const rejections = rejectionsOf(served);
      await refused(served.url('/ws'), { headers });
      await refused(served.url('/nowhere'), { headers });
      expect(await rejections.next()).toMatchObject({ reason: 'unauthorized', address });
      expect(await rejections.next()).toMatchObject({ reason: 'path', address });
    }
  });

  test('tells why, by which status, where from and for which path', async () => {
    const served = await serve({ allowOrigins: ['https://example.com'] });
    const rejections = rejectionsOf(served);
    await refused(served.url('/ws?token=secret'), { origin: 'https://evil.example' });
    expect(await rejections.next()).toEqual({
      reason: 'origin',
      status: 403,
      origin: 'https://evil.example',
      address: '127.0.0.1',
      path: '/ws',
    });
    await refused(served.url('/elsewhere'));
    expect(await rejections.next()).toMatchObject({
      reason: 'path',
      status: 404,
      origin: undefined,
      path: '/elsewhere',
    });
  });

  test.each([
    [
      'verifyClient has chosen',
      { verifyClient: () => ({ status: 402 }) as never },
      402,
      'unauthorized',
    ],
    ['verifyClient is answered by', { verifyClient: () => false }, 401, 'unauthorized'],
    ['goes with the limit', { maxConnections: 0 }, 503, 'limit'],
  ] as const)('has the status that %s', async (_name, options, status, reason) => {
    const served = await serve(options);
    const rejections = rejectionsOf(served);
    expect(await refused(served.url())).toMatchObject({ status });
    expect(await rejections.next()).toMatchObject({ status, reason });
  });

  test('has the status that the application has answered by', async () => {
    const served = await serve({
      before: (app) => {
        app.use(async (ctx) => {
          ctx.res.status(418).json({ error: 'a teapot' });
        });
      },
    });
    const rejections = rejectionsOf(served);
    expect(await refused(served.url())).toMatchObject({ status: 418 });
    expect(await rejections.next()).toMatchObject({ status: 418, reason: 'application' });
  });

  test('has texts of the client as they are, but bounded', async () => {
    const served = await serve({ allowOrigins: ['https://example.com'] });
    const rejections = rejectionsOf(served);
    const client = await rawConnect(served.port);
    const origin = `\x80${'o'.repeat(3000)}`;
    client.write(Buffer.from(upgradeRequest('/ws', { Origin: origin }).toString(), 'latin1'));
    const rejection = await rejections.next();
    expect(rejection.origin).toBe(origin.slice(0, 1024));
    await refused(served.url(`/${'p'.repeat(3000)}`), { origin: 'https://example.com' });
    expect((await rejections.next()).path).toHaveLength(1024);
  });

  test('is told to the application as well', async () => {
    const { app, url } = await serve();
    const told = queue<WSRejection>();
    app.on('plugin:WebSocketPlugin:rejected', (rejection: WSRejection) => told.push(rejection));
    await refused(url('/elsewhere'));
    expect(await told.next()).toMatchObject({ reason: 'path' });
  });

  test('may be answered by a clean-up, a throw and a rejection', async () => {
    const printed = stderr();
    const { url, plugin } = await serveRecorded({}, echo);
    plugin.on('rejected', () => {
      throw new Error('listener');
    });
    plugin.on('rejected', async () => {
      throw new Error('async listener');
    });
    expect(await refused(url('/elsewhere'))).toMatchObject({ status: 404 });
    expect((await printed.next())[1]).toMatchObject({ message: 'listener' });
    expect((await printed.next())[1]).toMatchObject({ message: 'async listener' });
    await expectEcho(url());
    plugin.removeAllListeners('rejected');
    plugin.once('rejected', () => void plugin.cleanup());
    const client = await connect(url());
    expect(await refused(url('/elsewhere'))).toMatchObject({ status: 404 });
    expect(await client.closed).toMatchObject({ code: 1001 });
  });
});

describe('diagnostics_channel', () => {
  test('tells of a connection with its request, and of its end', async () => {
    const served = await serveRecorded();
    const connections = published('nextrush-websocket:connection', served);
    const closes = published('nextrush-websocket:close', served);
    const client = await connect(served.url('/ws?a=1'));
    const socket = await served.sockets.next();
    const { connection, request } = await connections.next();
    expect(connection).toBe(socket);
    expect(request.url).toBe('/ws?a=1');
    client.close(4001, 'bye');
    expect(await closes.next()).toEqual({
      plugin: served.plugin,
      connection: socket,
      code: 4001,
      reason: 'bye',
    });
  });

  test('tells of refused requests, whether somebody listens or not', async () => {
    const served = await serve();
    const rejections = published('nextrush-websocket:rejected', served);
    await refused(served.url('/elsewhere'));
    expect(await rejections.next()).toEqual({
      plugin: served.plugin,
      reason: 'path',
      status: 404,
      origin: undefined,
      address: '127.0.0.1',
      path: '/elsewhere',
    });
  });

  test('tells of errors, and a listener is told all the same', async () => {
    const { client, socket, ...served } = await pair({}, (each) =>
      each.onMessage(() => {
        throw new Error('boom');
      }),
    );
    const errors = published('nextrush-websocket:error', served);
    const heard = queue<Error>();
    served.plugin.on('error', (error) => heard.push(error));
    client.send('x');
    const { error, connection } = await errors.next();
    expect(error.message).toBe('boom');
    expect(connection).toBe(socket);
    expect(await heard.next()).toBe(error);
  });

  test('publishes ends in no async context, whatever a subscriber enters', async () => {
    const served = await serveRecorded();
    const storage = new AsyncLocalStorage<string>();
    const seen = queue<string | undefined>();
    const onClose = (message: unknown) => {
      if ((message as { plugin: unknown }).plugin !== served.plugin) return;
      seen.push(storage.getStore());
      storage.enterWith('of another');
    };
    subscribe('nextrush-websocket:close', onClose);
    onTestFinished(() => void unsubscribe('nextrush-websocket:close', onClose));
    const clients = [await connect(served.url()), await connect(served.url())];
    await served.plugin.cleanup();
    for (const client of clients) {
      await client.closed;
      expect(await seen.next()).toBeUndefined();
    }
  });
});
