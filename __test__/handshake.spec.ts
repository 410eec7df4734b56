/** A request is read once, when it comes; what was read becomes a connection or is withdrawn, once. */

import type { IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { WebSocketPluginOptions } from '../index.js';
import { deferred } from './support/events.js';
import { rawConnect, upgradeRequest } from './support/raw.js';
import { serve } from './support/server.js';

/** As far as it says what a handshake was: id, slot and generation come first. */
type Adopted = [string, number, number, protocol: string | null, route: number | null];

interface NativePlugin {
  ws(path: string): { number: number };
  admit(
    url: string,
    head: string,
    hosts: number,
    matchesOrigin: (origin: string) => boolean,
  ): number | { reason: string };
  start(onWake: () => void, hasEventLoop: boolean): unknown;
  stop(): void;
  protocolChoices(handshake: number): string[];
  withdraw(handshake: number): void;
  adopt(
    fd: number | undefined,
    handshake: number,
    protocol: string | undefined,
    headers: string[],
    replay: Buffer,
  ): Adopted;
}

const native = createRequire(import.meta.url)('../lib/native.js') as {
  constants(): { requestHeaders: string[] };
  WebSocketPlugin: new (options?: WebSocketPluginOptions) => NativePlugin;
};

const HEADERS: Record<string, string> = {
  host: '127.0.0.1',
  upgrade: 'websocket',
  connection: 'Upgrade',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'sec-websocket-version': '13',
};

/** What a plugin makes of a request. */
function admit(plugin: NativePlugin, more: Record<string, string> = {}, url = '/ws') {
  const headers = { ...HEADERS, ...more };
  const values = native.constants().requestHeaders.map((name) => headers[name]);
  const lines = values.map((value) => (value === undefined ? '' : `=${value}`));
  return plugin.admit(url, ['GET', '1.1', ...lines].join('\n'), 1, () => false);
}

function admitted(...args: Parameters<typeof admit>): number {
  const handshake = admit(...args);
  if (typeof handshake !== 'number') throw new Error('refused');
  return handshake;
}

describe('what user code makes of the headers', () => {
  /** Everything that the answer could be made of. */
  const rewrite = ({ headers }: IncomingMessage) => {
    headers['sec-websocket-key'] = 'AAAAAAAAAAAAAAAAAAAAAA==';
    headers['sec-websocket-protocol'] = 'theirs';
    delete headers['sec-websocket-extensions'];
  };
  const offer = {
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol': 'ours',
    'Sec-WebSocket-Extensions': 'permessage-deflate',
  };
  const answer = [
    'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
    'Sec-WebSocket-Protocol: ours',
    'Sec-WebSocket-Extensions: permessage-deflate',
  ];

  test.each<[string, WebSocketPluginOptions]>([
    ['verifyClient', { verifyClient: (req) => [rewrite(req), true][1] as boolean }],
    [
      'the choice of a subprotocol',
      { protocols: ([first = ''], req) => [rewrite(req), first][1] as string },
    ],
  ])('in %s changes nothing about the answer', async (_name, options) => {
    const { port } = await serve({ ...options, perMessageDeflate: true });
    const client = await rawConnect(port);
    client.write(upgradeRequest('/ws', offer));
    expect((await client.head()).split('\r\n').slice(3)).toEqual(answer);
  });

  test('in HTTP middleware changes nothing either', async () => {
    const { port } = await serve({
      perMessageDeflate: true,
      before: (app) =>
        app.use((ctx: { req: IncomingMessage }, next: () => unknown) => {
          rewrite(ctx.req);
          return next();
        }),
    });
    const client = await rawConnect(port);
    client.write(upgradeRequest('/ws', offer));
    expect((await client.head()).split('\r\n').slice(3)).toEqual(answer);
  });
});

/** A plugin whose engine runs, without what Node's half would do with it. */
function started(options?: WebSocketPluginOptions): NativePlugin {
  const plugin = new native.WebSocketPlugin(options);
  plugin.start(() => {}, true);
  onTestFinished(() => plugin.stop());
  return plugin;
}

function adopted(plugin: NativePlugin, handshake: number, chosen?: string) {
  const connection = plugin.adopt(undefined, handshake, chosen, [], Buffer.alloc(0));
  const [, , , protocol, route] = connection;
  return { protocol, route };
}

describe('an admitted handshake', () => {
  test('becomes a connection with the number of its route, and none for a path without a handler', () => {
    const plugin = started({ path: '/open' });
    const chat = plugin.ws('/chat').number;
    const game = plugin.ws('/game/:id').number;
    const routeOf = (url: string) => adopted(plugin, admitted(plugin, {}, url)).route;
    expect(routeOf('/chat')).toBe(chat);
    expect(routeOf('/game/1')).toBe(game);
    expect(game).not.toBe(chat);
    expect(routeOf('/open')).toBe(null);
  });

  test('becomes a connection with the subprotocol that the options say', () => {
    const protocolOf = (options: WebSocketPluginOptions, chosen?: string) => {
      const plugin = started(options);
      const handshake = admitted(plugin, { 'sec-websocket-protocol': 'b, a' });
      return adopted(plugin, handshake, chosen).protocol;
    };
    expect(protocolOf({})).toBe('b');
    expect(protocolOf({}, 'a')).toBe('b');
    expect(protocolOf({ protocols: ['a', 'b'] })).toBe('a');
    expect(protocolOf({ protocols: ['c'] })).toBe(null);
    expect(protocolOf({ protocols: () => false })).toBe(null);
    expect(protocolOf({ protocols: () => 'a' }, 'a')).toBe('a');
  });

  test('has the subprotocols that a function may choose from', () => {
    const choices = (offered?: string) => {
      const plugin = new native.WebSocketPlugin({ protocols: () => false });
      const headers = offered === undefined ? undefined : { 'sec-websocket-protocol': offered };
      return plugin.protocolChoices(admitted(plugin, headers));
    };
    expect(choices('b, a')).toEqual(['b', 'a']);
    expect(choices()).toEqual([]);
  });

  test('that ends while user code chooses for it ends without an error', async () => {
    const errors: Error[] = [];
    const chosen = deferred();
    const { port, plugin } = await serve({
      protocols: ([first = '']) => {
        plugin.cleanup().then(chosen.resolve);
        return first;
      },
    });
    plugin.on('error', (error) => errors.push(error));
    const client = await rawConnect(port);
    client.write(upgradeRequest('/ws', { 'Sec-WebSocket-Protocol': 'a' }));
    expect(await client.head()).toMatch(/^HTTP\/1.1 503 /);
    await chosen.promise;
    expect(errors).toEqual([]);
  });

  test('has a place until it is withdrawn, and gives it back once', () => {
    const plugin = new native.WebSocketPlugin({ maxConnections: 2 });
    const first = admitted(plugin);
    admitted(plugin);
    expect(admit(plugin)).toMatchObject({ reason: 'limit' });
    plugin.withdraw(first);
    plugin.withdraw(first);
    admitted(plugin);
    plugin.withdraw(first);
    expect(admit(plugin)).toMatchObject({ reason: 'limit' });
  });

  test('that was withdrawn becomes no connection', () => {
    const plugin = new native.WebSocketPlugin();
    const handshake = admitted(plugin);
    plugin.withdraw(handshake);
    const adopt = () => plugin.adopt(undefined, handshake, undefined, [], Buffer.alloc(0));
    expect(adopt).toThrow('this handshake is over');
    expect(plugin.protocolChoices(handshake)).toEqual([]);
  });

  test('that could not become a connection keeps its place until it is withdrawn', () => {
    const plugin = new native.WebSocketPlugin({ maxConnections: 1 });
    const handshake = admitted(plugin);
    // The engine has not been started.
    expect(() => plugin.adopt(undefined, handshake, undefined, [], Buffer.alloc(0))).toThrow(
      'the engine has not been started',
    );
    expect(admit(plugin)).toMatchObject({ reason: 'limit' });
    plugin.withdraw(handshake);
    admitted(plugin);
    expect(admit(plugin)).toMatchObject({ reason: 'limit' });
  });
});
