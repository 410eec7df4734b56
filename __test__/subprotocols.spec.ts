import { expect, test } from 'vitest';
import WebSocket from 'ws';
import { WebSocketPlugin, type WebSocketPluginOptions } from '../index.js';
import { open, refused } from './support/client.js';
import { rawConnect, upgradeRequest } from './support/raw.js';
import { serve } from './support/server.js';
import { clientOptions } from './support/transport.js';

/** Connects with subprotocols and tells what both sides make of it. */
async function negotiate(options: WebSocketPluginOptions, offered: string[], path = '/ws') {
  let seen: string | undefined;
  const { url } = await serve(options, ({ wsApp }) => {
    wsApp.ws('/ws', (socket) => {
      seen = socket.protocol;
    });
  });
  const ws = new WebSocket(url(path), offered, { perMessageDeflate: false, ...clientOptions });
  const outcome = await new Promise<string>((resolve) => {
    ws.on('open', () => resolve(`open: ${ws.protocol}`));
    ws.on('error', (error) => resolve(error.message));
  });
  ws.terminate();
  return { outcome, seen };
}

test('the first of the server that the client offers is chosen', async () => {
  const protocols = ['chat.v2', 'chat.v1'];
  expect(await negotiate({ protocols }, ['other', 'chat.v1', 'chat.v2'])).toEqual({
    outcome: 'open: chat.v2',
    seen: 'chat.v2',
  });
  expect(await negotiate({ protocols }, [])).toEqual({ outcome: 'open: ', seen: '' });
});

test('without a match none is agreed on, and the connection lives', async () => {
  const { outcome, seen } = await negotiate({ protocols: ['a'] }, ['b']);
  expect(outcome).toBe('Server sent no subprotocol');
  expect(seen).toBe('');
});

test('without the option it is the first that the client offers', async () => {
  expect(await negotiate({}, ['one', 'two'])).toEqual({ outcome: 'open: one', seen: 'one' });
});

test('a function gets the offer and the request and decides', async () => {
  const calls: unknown[] = [];
  const protocols: WebSocketPluginOptions['protocols'] = (offered, req) => {
    calls.push([offered, req.url]);
    return 'two';
  };
  expect(await negotiate({ protocols }, ['one', 'two'], '/ws?x=1')).toEqual({
    outcome: 'open: two',
    seen: 'two',
  });
  expect(calls).toEqual([[['one', 'two'], '/ws?x=1']]);
  expect((await negotiate({ protocols: () => false }, ['one'])).seen).toBe('');
});

test('a function that throws, or chooses what was not offered, is answered by 500 and reported', async () => {
  const errors: string[] = [];
  let choose = (): string => {
    throw new Error('cannot choose');
  };
  const { url } = await serve({ protocols: () => choose() }, ({ plugin }) => {
    plugin.on('error', (error) => errors.push(error.message));
  });
  const headers = { 'Sec-WebSocket-Protocol': 'a, b' };
  expect((await refused(url(), { headers })).status).toBe(500);
  choose = () => 'c';
  expect((await refused(url(), { headers })).status).toBe(500);
  expect(errors[0]).toBe('cannot choose');
  expect(errors[1]).toContain('one of the offered subprotocols (a, b), got "c"');
});

test.each(['a,', ',a', 'a,,b', ' , a ,\t, b'])(
  'empty elements of the offer %j are ignored',
  async (offer) => {
    const { port } = await serve({ protocols: ['a'] });
    const client = await rawConnect(port);
    client.write(upgradeRequest('/ws', { 'Sec-WebSocket-Protocol': offer }));
    const head = await client.head();
    expect(head).toMatch(/^HTTP\/1\.1 101 /);
    expect(head).toMatch(/\r\nSec-WebSocket-Protocol: a(\r\n|$)/);
  },
);

test.each(['', ' ', ',', ' ,\t,', 'a b', 'a, a', 'a,,a', 'a;b'])(
  'the malformed offer %j is a 400',
  async (offer) => {
    const { port, plugin } = await serve({ protocols: ['a'] });
    const client = await rawConnect(port);
    client.write(upgradeRequest('/ws', { 'Sec-WebSocket-Protocol': offer }));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 400 /);
    expect(plugin.getStats().rejected.badRequest).toBe(1);
  },
);

test.each([
  [[], 'an empty array'],
  [['a', 'a'], '"a" twice'],
  [['a b'], '"a b" at index 0'],
  [['a', ''], '"" at index 1'],
  [[' a'], '" a" at index 0'],
  [['a,b'], '"a,b" at index 0'],
  [['a', 1], '1 at index 1'],
  [['a', undefined], 'undefined at index 1'],
  ['a', '"a"'],
  [null, 'null'],
])('protocols %j is refused by the constructor', (protocols, got) => {
  const make = () => new WebSocketPlugin({ protocols } as WebSocketPluginOptions);
  expect(make).toThrow(TypeError);
  expect(make).toThrow(`option "protocols" must be a function or a non-empty array`);
  expect(make).toThrow(`got ${got}`);
});

test('the ws client without subprotocols sees none', async () => {
  const { url } = await serve({ protocols: ['a'] });
  const client = open(url());
  await new Promise((resolve) => client.ws.once('open', resolve));
  expect(client.ws.protocol).toBe('');
});
