/**
 * What the programs of the documentation do, by the title of their block, seen from a client of its
 * own. A program that is not in here has to start, or to end, without an error.
 */

import { once } from 'node:events';
import { get } from 'node:https';
import { connect as connectTo } from 'node:net';
import { io as connectBySocketIo } from 'socket.io-client';
import { expect, onTestFinished } from 'vitest';
import type { ClientOptions } from 'ws';
import type { BrokerProgram } from '../support/broker.js';
import { type Client, connect, refused } from '../support/client.js';
import { queue } from '../support/events.js';
import { until } from '../support/until.js';
import type { Run } from './project.js';

/** Drives a program that has been started. */
export type Expectation = (run: Run) => Promise<void>;

const guide = (page: string, block: string) => `docs/guide/${page}.md > ${block}`;

const json = (client: Client, message: object) => client.send(JSON.stringify(message));

const bearer = (token: string): ClientOptions => ({
  headers: { authorization: `Bearer ${token}` },
});
const session = (token: string): ClientOptions => ({ headers: { cookie: `session=${token}` } });

/** Subprotocols, which `ws` takes as an option, too; its types do not know that. */
const offering = (...protocols: string[]) => ({ protocols }) as ClientOptions;

const post = (body?: unknown): RequestInit => ({
  method: 'POST',
  headers: body === undefined ? {} : { 'content-type': 'application/json' },
  ...(body !== undefined && { body: JSON.stringify(body) }),
});

/** A member who is greeted, and hears what it says. */
async function hearsItself(run: Run): Promise<void> {
  const client = await run.connect('/chat');
  expect(await client.next()).toMatch(/^process \d+$/);
  client.send('hello');
  expect(await client.next()).toBe('hello');
}

/** Two who are in a room where each of them hears what the other says. */
async function relay(run: Run, path: (name: string) => string): Promise<void> {
  const ada = await run.connect(path('ada'));
  const bob = await run.connect(path('bob'));
  ada.send(Buffer.from('bytes are left out'));
  ada.send('hello');
  expect(await bob.next()).toBe('ada: hello');
  bob.send('hi');
  expect(await ada.next()).toBe('bob: hi');
}

/** An echo beside a route of a framework. */
async function besideHttp(run: Run): Promise<void> {
  const client = await run.connect('/echo');
  client.send('over a WebSocket');
  expect(await client.next()).toBe('over a WebSocket');
  expect(await (await run.http('/')).text()).toBe('over HTTP');
  expect(await run.refused('/elsewhere')).toMatchObject({ status: 404 });
}

/** The certificate is one of the test's own. */
const trusting = { rejectUnauthorized: false };

async function echoOverTls(run: Run): Promise<void> {
  const client = await connect(`wss://127.0.0.1:${run.port}/echo`, trusting);
  client.send('encrypted');
  expect(await client.next()).toBe('encrypted');
}

async function overHttps(port: number): Promise<string> {
  const [response] = await once(get({ ...trusting, port, path: '/' }), 'response');
  let body = '';
  for await (const chunk of response) body += chunk;
  return body;
}

/** What is answered to a request behind a header of the PROXY protocol. */
async function answerBehind(port: number, header: string): Promise<string> {
  const socket = connectTo(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`${header}GET / HTTP/1.0\r\n\r\n`);
  let answer = '';
  for await (const chunk of socket) answer += chunk;
  return answer;
}

export const programs: Record<string, Expectation> = {
  'README.md > Example': async (run) => {
    const ada = await run.connect('/chat?name=Ada');
    const bob = await run.connect('/chat');
    bob.send('hello');
    for (const client of [ada, bob]) expect(await client.next()).toBe('somebody: hello');
    ada.close(4000);
    expect(await bob.next()).toBe('Ada left (4000)');
  },

  'docs/api.md > HTTP middleware and the context': async (run) => {
    expect(await run.refused('/ws')).toMatchObject({
      status: 401,
      body: '{"error":"Log in first"}',
    });
    const client = run.open('/ws', session('x'));
    const [response] = await once(client.ws, 'upgrade');
    expect(response.headers['set-cookie']).toEqual(['seen=1']);
    expect(await run.line()).toMatch(/^connected as [0-9a-f-]{36}$/);
    const answer = await run.http('/notify', post({ news: 1 }));
    expect(await answer.json()).toEqual({ rooms: [] });
  },

  [guide('getting-started', 'First server')]: async (run) => {
    const client = await run.connect('/echo');
    expect(await client.next()).toBe('welcome');
    client.send('text');
    expect(await client.next()).toBe('text');
    client.send(Buffer.from([1, 2]));
    expect(await client.next()).toEqual(Buffer.from([1, 2]));
  },

  [guide('getting-started', 'First server (2)')]: async (run) => {
    expect([await run.line(), await run.line()]).toEqual(['welcome', 'hello']);
  },

  [guide('getting-started', 'Handlers and paths')]: async (run) => {
    const inRoom = await run.connect('/chat/a%20b?name=Ada');
    expect(await inRoom.next()).toBe('Ada in a b, from 127.0.0.1');
    const below = await run.connect('/files/x/y');
    expect(await below.next()).toBe('below /files: x/y');
    await run.connect('/ws');
  },

  [guide('getting-started', 'Handlers and paths (2)')]: async (run) => {
    const client = run.open('/profile');
    client.ws.on('open', () => client.send('early'));
    expect(await client.next()).toBe('ada: early');
  },

  [guide('getting-started', 'Messages')]: async (run) => {
    const client = await run.connect('/types');
    client.send('four');
    expect(await client.next()).toBe('text of 4 characters');
    client.send(Buffer.from('ab'));
    expect(await client.next()).toEqual(Buffer.from('\x02ab'));
  },

  [guide('getting-started', 'Messages (2)')]: async (run) => {
    const client = await run.connect('/sums');
    for (const number of ['1', '2', '3']) client.send(number);
    for (const sum of [1, 3, 6]) expect(await client.nextJson()).toEqual({ sum });
    client.close();
    expect(await run.line()).toBe('the last sum was 6');
  },

  [guide('getting-started', 'Closing')]: async (run) => {
    const client = await run.connect('/session');
    client.send('stay');
    client.send('log out');
    expect(await client.closed).toEqual({ code: 4001, reason: 'logged out' });
    expect(await run.line()).toBe('closed with 4001: logged out');
  },

  [guide('getting-started', 'Data of a connection')]: async (run) => {
    expect(await (await run.connect('/greetings/fr?name=Ada')).next()).toBe('Bonjour Ada');
    expect(await (await run.connect('/greetings/en')).next()).toBe('Hello somebody');
  },

  [guide('getting-started', 'Data of a connection (2)')]: async (run) => {
    expect(await (await run.connect('/hello?name=Ada')).next()).toBe('Hello Ada');
    expect(await (await run.connect('/hello')).next()).toBe('Hello somebody');
  },

  [guide('getting-started', 'Data of a connection (3)')]: async (run) => {
    expect(await (await run.connect('/hello?name=Ada')).next()).toBe('Hello Ada');
    expect(await (await run.connect('/hello')).next()).toBe('Hello somebody');
  },

  [guide('getting-started', 'Errors')]: async (run) => {
    const client = await run.connect('/commands');
    client.send('garbage');
    expect(await client.nextJson()).toEqual({ error: 'not JSON' });
    json(client, { type: 'ping' });
    expect(await client.nextJson()).toEqual({ type: 'pong' });
    json(client, { type: 'nonsense' });
    expect(await client.closed).toEqual({ code: 1011, reason: 'internal error' });
    await until(() => run.stderr().includes(': no such command: nonsense\n'));
    run.forgetStderr();
  },

  [guide('getting-started', 'TypeScript')]: async (run) => {
    const refused = await run.connect('/ticker');
    expect(await refused.closed).toEqual({ code: 1008, reason: 'name is missing' });
    const client = await run.connect('/ticker?name=x');
    expect(await client.next()).toBe('ready');
    expect(await client.next()).toMatch(/^\d+$/);
  },

  [guide('getting-started', 'TypeScript (2)')]: async (run) => {
    const client = await run.connect('/rooms/blue?name=ada');
    expect(JSON.parse(`${await client.next()}`)).toEqual({ room: 'blue', user: 'ada' });
  },

  [guide('getting-started', 'TypeScript (3)')]: async (run) => {
    const client = await run.connect('/ws');
    client.close(4000);
    expect(await run.line()).toMatch(/^[\w-]{36} closed with 4000$/);
  },

  [guide('getting-started', 'TypeScript (4)')]: async (run) => {
    expect(await (await run.http('/rooms')).json()).toEqual([]);
  },

  [guide('rooms', 'Rooms')]: async (run) => {
    const ada = await run.connect('/chat');
    const bob = await run.connect('/chat');
    json(ada, { type: 'join', room: 'tea' });
    // Messages of two connections have no order: that she has joined, only what she hears tells.
    json(ada, { type: 'say', room: 'tea', text: 'alone' });
    expect(await ada.nextJson()).toEqual({ room: 'tea', text: 'alone' });
    json(bob, { type: 'join', room: 'tea' });
    json(bob, { type: 'say', room: 'tea', text: 'both' });
    for (const client of [ada, bob]) {
      expect(await client.nextJson()).toEqual({ room: 'tea', text: 'both' });
    }
    json(ada, { type: 'leave', room: 'tea' });
    json(ada, { type: 'say', room: 'tea', text: 'left' });
    expect(await bob.nextJson()).toEqual({ room: 'tea', text: 'left' });
    expect(ada.waiting).toEqual([]);
  },

  [guide('rooms', 'Broadcasting')]: async (run) => {
    const ada = await run.connect('/game/1');
    const bob = await run.connect('/game/1');
    expect(await ada.next()).toBe('a player has come');
    bob.send(Buffer.from('e4'));
    expect(await ada.next()).toEqual(Buffer.from('e4'));
    bob.close();
    expect(await ada.next()).toBe('a player has left');
  },

  [guide('rooms', 'Messages to one user')]: async (run) => {
    const stranger = await run.connect('/inbox');
    expect(await stranger.closed).toEqual({ code: 1008, reason: 'log in first' });
    const tabs = [
      await run.connect('/inbox', session('ada-token')),
      await run.connect('/inbox', session('ada-token')),
    ];
    const bob = await run.connect('/inbox', session('bob-token'));
    // The handler is async, and nothing tells when it has finished.
    const welcomed = Promise.all(tabs.map((tab) => tab.next()));
    let done = false;
    void welcomed.then(() => {
      done = true;
    });
    while (!done) expect((await run.http('/welcome', post())).status).toBe(200);
    expect(await welcomed).toEqual(['Welcome, Ada', 'Welcome, Ada']);
    expect(bob.waiting).toEqual([]);
  },

  [guide('rooms', 'From HTTP routes and elsewhere')]: async (run) => {
    const client = await run.connect('/dashboard');
    expect(await client.nextJson()).toEqual({ type: 'time', now: expect.any(Number) });
    expect((await run.http('/orders', post({ tea: 2 }))).status).toBe(201);
    expect(await client.nextJson()).toEqual({ type: 'order', order: { tea: 2 } });
  },

  [guide('rooms', 'Who is there')]: async (run) => {
    const ada = await run.connect('/lobby?name=Ada');
    expect(await ada.nextJson()).toEqual(['Ada']);
    const bob = await run.connect('/lobby?name=Bob');
    expect(await ada.nextJson()).toEqual(['Ada', 'Bob']);
    expect(await bob.nextJson()).toEqual(['Ada', 'Bob']);
    const numbers = async () => (await run.http('/numbers')).json();
    expect(await numbers()).toEqual({ connections: 2, rooms: ['lobby'] });
    bob.close();
    expect(await ada.nextJson()).toEqual(['Ada']);
    expect(await numbers()).toEqual({ connections: 1, rooms: ['lobby'] });
  },

  [guide('rooms', 'Several rooms at once')]: async (run) => {
    const [bridge, both] = [await run.connect('/ships/1'), await run.connect('/ships/2')];
    both.send('captain');
    expect(await both.next()).toBe('aye');
    bridge.send('iceberg');
    expect(await both.next()).toBe('iceberg');
    both.send('marker');
    expect([await bridge.next(), ...both.waiting]).toEqual(['marker']);
  },

  [guide('rooms', 'Sending somebody away')]: async (run) => {
    const one = await run.connect('/table/7');
    const id = (await one.next()).toString();
    const other = await run.connect('/table/7');
    await other.next();
    expect((await run.http('/kick/lobby', post())).status).toBe(404);
    expect((await run.http(`/kick/${id}`, post())).status).toBe(200);
    expect(await one.closed).toEqual({ code: 4003, reason: 'sent away' });
    const closed = await run.http('/close/7', post());
    expect(await closed.json()).toEqual({ closed: 1 });
    expect(await other.closed).toEqual({ code: 4000, reason: 'the table is closed' });
  },

  [guide('rooms', 'Who is there (2)')]: async (run) => {
    const client = await run.connect('/prices');
    client.send('tea');
    expect(await client.next()).toBe('price:tea 42');
    expect(await client.next()).toBe('price:tea 42');
  },

  [guide('rooms', 'Names that clients choose')]: async (run) => {
    const client = await run.connect('/rooms');
    client.send('user:ada');
    expect(await client.next()).toBe('no such room');
    client.send('tea-time');
    expect(await client.next()).toBe('joined tea-time');
  },

  [guide('access', 'Origins')]: async (run) => {
    const allowed = [
      'https://example.com',
      'https://a.b.example.com',
      'http://localhost:5173',
      'https://pr-12.preview.example.net',
    ];
    for (const origin of allowed) await run.connect('/account', { origin });
    const refused = [
      undefined,
      'http://example.com',
      'https://example.com:8443',
      'https://evilexample.com',
      'http://localhost',
      'https://pr-12.preview.example.net.evil.com',
    ];
    for (const origin of refused) {
      const options = origin === undefined ? {} : { origin };
      expect(await run.refused('/account', options)).toMatchObject({ status: 403 });
    }
  },

  [guide('access', 'verifyClient')]: async (run) => {
    expect(await run.refused('/devices')).toMatchObject({ status: 401 });
    expect(await run.refused('/devices', bearer('forged'))).toMatchObject({ status: 401 });
    expect(await (await run.connect('/devices', bearer('ada-token'))).next()).toBe('Hello ada');
  },

  [guide('access', 'Cookies')]: async (run) => {
    const origin = 'https://example.com';
    await run.connect('/account', { origin, ...session('ada-token') });
    expect(await run.refused('/account', { origin })).toMatchObject({ status: 401 });
    const elsewhere = { origin: 'https://evil.com', ...session('ada-token') };
    expect(await run.refused('/account', elsewhere)).toMatchObject({ status: 403 });
  },

  [guide('access', 'Tickets')]: async (run) => {
    expect((await run.http('/ticket', post())).status).toBe(401);
    const headers = { authorization: 'Bearer ada-token' };
    const response = await run.http('/ticket', { method: 'POST', headers });
    const { ticket } = (await response.json()) as { ticket: string };
    const client = await run.connect(`/chat?ticket=${ticket}`);
    expect(await client.next()).toBe('Hello ada');
    expect(await run.refused(`/chat?ticket=${ticket}`)).toMatchObject({ status: 401 });
    expect(await run.refused('/chat')).toMatchObject({ status: 401 });
  },

  [guide('access', 'Tokens in the query')]: async (run) => {
    await run.connect('/feed?token=ada-token');
    expect(await run.refused('/feed?token=forged')).toMatchObject({ status: 401 });
    expect(await run.refused('/feed')).toMatchObject({ status: 401 });
  },

  [guide('access', 'Tokens as a subprotocol')]: async (run) => {
    const client = await run.connect('/chat', offering('chat', 'token.ada-token'));
    expect(client.ws.protocol).toBe('chat');
    expect(await client.next()).toBe('Hello ada, we speak chat');
    const forged = offering('chat', 'token.forged');
    expect(await run.refused('/chat', forged)).toMatchObject({ status: 401 });
    expect(await run.refused('/chat')).toMatchObject({ status: 401 });
  },

  [guide('access', 'Tokens in the first message')]: async (run) => {
    const stranger = await run.connect('/private');
    stranger.send('forged');
    stranger.send('not heard');
    expect(await stranger.closed).toEqual({ code: 4401, reason: 'no valid token' });
    const ada = await run.connect('/private');
    const bob = await run.connect('/private');
    ada.send('ada-token');
    bob.send('bob-token');
    // Whether both have joined, only a message between them tells.
    let heard = false;
    void ada.next().then((message) => {
      expect(message).toBe('hello');
      heard = true;
    });
    while (!heard) {
      bob.send('hello');
      await new Promise(setImmediate);
    }
  },

  [guide('access', 'Words of your own')]: async (run) => {
    const stranger = await run.refused('/devices');
    expect(stranger.status).toBe(401);
    expect(stranger.headers['www-authenticate']).toBe('Bearer realm="devices"');
    const expired = await run.refused('/devices', bearer('forged'));
    expect(expired).toMatchObject({ status: 403, body: '{"code":"expired"}' });
    await run.connect('/devices', bearer('ada-token'));
  },

  [guide('access', 'One route and another')]: async (run) => {
    const page = { origin: 'https://example.com' };
    expect(await (await run.connect('/chat', page)).next()).toBe('chat');
    expect(await run.refused('/chat')).toMatchObject({ status: 403 });
    const bob = await run.connect('/admin?token=bob-token', page);
    expect(await bob.closed).toEqual({ code: 4403, reason: 'for admins only' });
    expect(await (await run.connect('/admin?token=ada-token', page)).next()).toBe('admin');
    const program = await run.connect('/import');
    expect(await program.next()).toBe('import');
    program.send('x'.repeat(1024 * 1024));
    program.close();
    expect(await program.closed).toMatchObject({ code: 1005 });
  },

  [guide('access', 'Middleware')]: async (run) => {
    const stranger = await run.connect('/chat?token=forged');
    expect(await stranger.closed).toEqual({ code: 4401, reason: 'no valid token' });
    const ada = await run.connect('/chat?token=ada-token');
    expect(await ada.next()).toBe('Hello ada');
    expect(await run.line()).toBe('ada on /chat?token=ada-token from 127.0.0.1');
  },

  [guide('access', 'The user of a session')]: async (run) => {
    expect(await run.refused('/chat')).toMatchObject({ status: 401 });
    const ada = await run.connect('/chat', session('ada-token'));
    const bob = await run.connect('/chat', session('bob-token'));
    expect(await ada.next()).toBe('Hello ada');
    expect(await bob.next()).toBe('Hello bob');
    await run.http('/logout', { method: 'POST', headers: { cookie: 'session=ada-token' } });
    expect(await ada.closed).toEqual({ code: 4401, reason: 'logged out' });
    expect(bob.ws.readyState).toBe(bob.ws.OPEN);
  },

  [guide('access', 'HTTP middleware')]: async (run) => {
    const stranger = await run.refused('/ws');
    expect(stranger).toMatchObject({ status: 403, body: '{"error":"not for you"}' });
    expect(await (await run.connect('/ws', session('ada-token'))).next()).toBe('welcome');
    expect((await run.http('/')).status).toBe(404);
  },

  [guide('access', 'Logins that expire')]: async (run) => {
    const client = await run.connect('/limited');
    expect(await client.closed).toEqual({ code: 4401, reason: 'login expired' });
  },

  [guide('access', 'Subprotocols')]: async (run) => {
    const both = await run.connect('/chat', offering('chat.v1', 'chat.v2'));
    expect(await both.next()).toBe('{"hello":2}');
    const old = await run.connect('/chat', offering('chat.v1'));
    expect(await old.next()).toBe('hello');
    const none = run.open('/chat', offering('other'));
    const [error] = await once(none.ws, 'error');
    expect(error.message).toBe('Server sent no subprotocol');
  },

  [guide('limits', 'Sizes and numbers')]: async (run) => {
    const client = await run.connect('/chat');
    client.send('x'.repeat(16 * 1024 + 1));
    expect(await client.closed).toEqual({ code: 1009, reason: 'message exceeds maxMessageSize' });
  },

  [guide('limits', 'Sizes and numbers (2)')]: async (run) => {
    const upload = await run.connect('/upload');
    expect(await upload.next()).toBe('ready');
    upload.send('x'.repeat(16 * 1024 + 1));
    upload.close();
    expect(await upload.closed).toMatchObject({ code: 1005 });
    const chat = await run.connect('/chat');
    chat.send('x'.repeat(16 * 1024 + 1));
    expect(await chat.closed).toMatchObject({ code: 1009 });
  },

  [guide('floods', 'Messages')]: async (run) => {
    const client = await run.connect('/chat');
    for (let count = 0; count < 40; count += 1) client.send(`${count}`);
    expect(await client.closed).toEqual({
      code: 1008,
      reason: 'messageRate exceeded: the peer sends too fast',
    });
    expect(client.waiting.slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, n) => `${n}`));
    expect(client.waiting.length).toBeLessThan(40);
  },

  [guide('floods', 'Connections of one address')]: async (run) => {
    const clients = [];
    for (let count = 0; count < 20; count += 1) clients.push(await run.connect('/chat'));
    expect(await run.refused('/chat')).toMatchObject({ status: 429 });
    clients[0]?.close();
    await clients[0]?.closed;
    await run.connect('/chat');
  },

  [guide('floods', 'Behind a proxy')]: async (run) => {
    const client = run.open('/chat', { headers: { 'X-Forwarded-For': '192.0.2.1' } });
    expect(await client.next()).toBe('you are 192.0.2.1');
  },

  [guide('floods', 'Behind a load balancer')]: async (run) => {
    const header = 'PROXY TCP4 192.0.2.1 198.51.100.7 4711 80\r\n';
    expect(await answerBehind(run.port, header)).toContain('192.0.2.1');
    expect(await answerBehind(run.port, '')).toBe('');
  },

  [guide('limits', 'Backpressure (2)')]: async (run) => {
    const client = await run.connect('/positions');
    expect(Object.keys(await client.nextJson())).toEqual(['x', 'y']);
  },

  [guide('limits', 'Backpressure (4)')]: async (run) => {
    const client = await run.connect('/jobs');
    for (const job of ['a', 'b', 'c']) client.send(job);
    for (const job of ['a', 'b', 'c']) expect(await client.next()).toBe(`done: ${job}`);
  },

  [guide('limits', 'Backpressure (5)')]: async (run) => {
    const client = await run.connect('/batches');
    for (let count = 0; count < 25; count += 1) client.send(`${count}`);
    for (let round = 0; round < 2; round += 1) {
      expect(await client.nextJson()).toEqual({ stored: 10 });
    }
  },

  [guide('limits', 'Backpressure (3)')]: async (run) => {
    const client = await run.connect('/download');
    let bytes = 0;
    client.ws.on('message', (data: Buffer) => {
      bytes += data.length;
    });
    client.send('go');
    expect(await client.closed).toEqual({ code: 1000, reason: 'all of it' });
    expect(bytes).toBe(100 * 256 * 1024);
  },

  [guide('limits', 'Compression')]: async (run) => {
    const client = run.open('/documents', { perMessageDeflate: true });
    const [response] = await once(client.ws, 'upgrade');
    expect(response.headers['sec-websocket-extensions']).toBe(
      'permessage-deflate; server_no_context_takeover; client_no_context_takeover',
    );
  },

  [guide('deployment', 'Graceful shutdown')]: async (run) => {
    const client = await run.connect('/ws');
    expect(await client.next()).toBe('welcome');
    run.signal('SIGTERM');
    expect(await client.closed).toEqual({ code: 1001, reason: 'server is shutting down' });
    expect(await run.exited).toEqual({ code: 0, signal: null, stderr: '' });
  },

  [guide('deployment', 'In waves')]: async (run) => {
    expect((await run.http('/ready')).status).toBe(200);
    const clients = [await run.connect('/ws'), await run.connect('/ws'), await run.connect('/ws')];
    const first = Promise.race(clients.map(({ closed }) => closed));
    run.signal('SIGTERM');
    // The others are closed within twenty seconds, which are not waited for.
    expect(await first).toEqual({ code: 1012, reason: 'service restart' });
    expect((await run.http('/ready')).status).toBe(503);
    expect(await run.refused('/ws')).toMatchObject({ status: 503 });
    for (const client of clients) client.close();
    expect(await run.exited).toEqual({ code: 0, signal: null, stderr: '' });
  },

  [guide('observability', 'Metrics')]: async (run) => {
    await run.connect('/ws');
    const response = await run.http('/metrics');
    expect(response.headers.get('content-type')).toBe(
      'application/openmetrics-text; version=1.0.0; charset=utf-8',
    );
    expect(await response.text()).toContain('\nnextrush_websocket_connections 1\n');
  },

  [guide('observability', 'Logger')]: async (run) => {
    await run.connect('/ws');
    expect(await run.refused('/x')).toMatchObject({ status: 404 });
    const line = JSON.parse(await run.line());
    expect(line).toMatchObject({ level: 'info', reason: 'path', status: 404 });
    expect(line.message).toMatch(/^\/x rejected \(path\): /);
  },

  [guide('observability', 'Tracing (2)')]: async (run) => {
    /** The lines of the next span. */
    const span = async () => {
      let text = '';
      while (!text.endsWith('\n}\n')) text += `${await run.line()}\n`;
      return text;
    };
    const client = await run.connect('/ws?token=x');
    client.send('fail');
    expect(await client.closed).toMatchObject({ code: 1011 });
    const failed = await span();
    expect(failed).toContain("name: 'websocket'");
    expect(failed).toContain("'url.path': '/ws'");
    expect(failed).toContain("'websocket.close_code': 1011");
    expect(failed).toContain('as asked for');
    await run.refused('/elsewhere');
    const rejected = await span();
    expect(rejected).toContain("name: 'websocket rejected'");
    expect(rejected).toContain("'http.response.status_code': 404");
    run.forgetStderr();
  },

  [guide('deployment', 'Health and numbers')]: async (run) => {
    await run.connect('/ws');
    const health = await run.http('/health');
    expect(health.status).toBe(200);
    expect(await health.json()).toMatchObject({ installed: true, connections: 1 });
    const numbers = await run.http('/numbers');
    expect(await numbers.json()).toMatchObject({ totalConnections: 1, roomCount: 0 });
  },

  [guide('several-machines', 'Redis and Valkey')]: async (run) => {
    expect(await run.line()).toBe('one of several');
    await hearsItself(run);
    run.signal('SIGTERM');
    expect(await run.exited).toEqual({ code: 0, signal: null, stderr: '' });
  },

  [guide('several-machines', 'Processes of one machine')]: async (run) => {
    const clients = new Map<string, Client>();
    // Until there is one in each process.
    while (clients.size < 2) {
      const client = await run.connect('/chat');
      clients.set((await client.next()).toString(), client);
    }
    const [first, second] = [...clients.values()];
    // A first member's subscription takes its time.
    while (second?.waiting.length === 0) {
      first?.send('to all processes');
      expect(await first?.next()).toBe('to all processes');
      await new Promise(setImmediate);
    }
    expect(await second?.next()).toBe('to all processes');
  },

  [guide('several-machines', 'NATS')]: async (run) => {
    const client = await run.connect('/chat');
    client.send('hello');
    expect(await client.next()).toBe('hello');
    run.signal('SIGTERM');
    expect(await client.closed).toMatchObject({ code: 1001 });
    expect(await run.exited).toEqual({ code: 0, signal: null, stderr: '' });
  },

  [guide('several-machines', 'An adapter of your own (2)')]: async (run) => {
    expect(await run.exited).toEqual({ code: 0, signal: null, stderr: '' });
  },

  [guide('deployment', 'TLS')]: async (run) => {
    const url = `wss://127.0.0.1:${run.port}/ws`;
    expect(await refused(url, trusting)).toMatchObject({ status: 403 });
    const client = await connect(url, { ...trusting, ...session('ada-token') });
    expect(await client.next()).toBe('welcome');
    expect(await overHttps(run.port)).toBe('over HTTPS');
    run.signal('SIGTERM');
    expect(await client.closed).toEqual({ code: 1001, reason: 'server is shutting down' });
    expect(await run.exited).toEqual({ code: 0, signal: null, stderr: '' });
  },

  [guide('without-framework', 'A bare server')]: async (run) => {
    const ada = await run.connect('/chat');
    const bob = await run.connect('/chat');
    ada.send('hello');
    for (const client of [ada, bob]) expect(await client.next()).toBe('hello');
    expect(await (await run.http('/')).text()).toBe('over HTTP\n');
    run.signal('SIGTERM');
    expect(await ada.closed).toMatchObject({ code: 1001 });
    expect(await run.exited).toEqual({ code: 0, signal: null, stderr: '' });
  },

  [guide('without-framework', 'TLS')]: async (run) => {
    await echoOverTls(run);
    expect(await overHttps(run.port)).toBe('over HTTPS');
  },
  [guide('without-framework', 'TLS (2)')]: echoOverTls,

  [guide('without-framework', 'Express')]: besideHttp,
  [guide('without-framework', 'Koa')]: async (run) => {
    await besideHttp(run);
    expect(await run.line()).toBe('a WebSocket on /echo');
  },
  [guide('without-framework', 'Koa (2)')]: besideHttp,
  [guide('without-framework', 'Fastify')]: async (run) => {
    await besideHttp(run);
    const client = await run.connect('/echo');
    run.signal('SIGTERM');
    expect(await client.closed).toEqual({ code: 1001, reason: 'server is shutting down' });
    expect(await run.exited).toEqual({ code: 0, signal: null, stderr: '' });
  },

  [guide('without-framework', 'Several plugins, and other WebSocket servers')]: async (run) => {
    expect(await (await run.connect('/open')).next()).toBe('open');
    expect(await (await run.connect('/old')).next()).toBe('old');
    expect(await (await run.connect('/inside', session('ada-token'))).next()).toBe('inside');
    expect(await run.refused('/inside')).toMatchObject({ status: 401 });
    expect((await run.refused('/elsewhere')).status).toBe(400);
  },

  [guide('migration', 'From the WebSocket plugin built into NextRush v2')]: async (run) => {
    expect(await (await run.connect('/ws')).next()).toBe('welcome');
  },

  [guide('migration', 'An example')]: (run) => relay(run, (name) => `/chat?name=${name}`),
  [guide('migration', 'An example (2)')]: (run) => relay(run, (name) => `/chat?name=${name}`),

  [guide('migration', 'The same application')]: async (run) => {
    const enter = async (name: string) => {
      const options = { query: { name, room: 'tea' }, forceNew: true, reconnection: false };
      const client = connectBySocketIo(`http://127.0.0.1:${run.port}`, options);
      onTestFinished(() => void client.disconnect());
      const events = queue<unknown>();
      client.onAny((type, data) => events.push({ type, ...data }));
      await new Promise<void>((resolve) => client.on('connect', resolve));
      return { ...events, say: (text: string) => client.emit('say', { text }), client };
    };
    const ada = await enter('Ada');
    const bob = await enter('Bob');
    expect(await ada.next()).toEqual({ type: 'came', name: 'Bob' });
    bob.say('hello');
    for (const one of [ada, bob]) {
      expect(await one.next()).toEqual({ type: 'said', name: 'Bob', text: 'hello' });
    }
    bob.client.disconnect();
    expect(await ada.next()).toEqual({ type: 'left', name: 'Bob' });
  },

  [guide('migration', 'The same application (2)')]: async (run) => {
    const ada = await run.connect('/chat/tea?name=Ada');
    const bob = await run.connect('/chat/tea?name=Bob');
    expect(await ada.nextJson()).toEqual({ type: 'came', name: 'Bob' });
    json(bob, { type: 'say', text: 'hello' });
    for (const one of [ada, bob]) {
      expect(await one.nextJson()).toEqual({ type: 'said', name: 'Bob', text: 'hello' });
    }
    bob.close();
    expect(await ada.nextJson()).toEqual({ type: 'left', name: 'Bob' });
  },

  'docs/troubleshooting.md > Troubleshooting': async (run) => {
    await run.refused('/chat');
    const client = await run.connect('/chat', { origin: 'https://example.com' });
    client.close(1000);
    for (const _ of [1, 2, 3]) expect(await run.line()).toMatch(aDecision);
  },

  'docs/troubleshooting.md > Messages arrive late': async (run) => {
    expect(await run.line()).toMatch(/^event loop delay, 99th percentile: \d+\.\d ms$/);
  },
};

/** Programs that need a broker, and how they are told where it is. */
export const brokers: Record<
  string,
  { program: BrokerProgram; env(port: number): NodeJS.ProcessEnv }
> = {
  [guide('several-machines', 'Redis and Valkey')]: {
    program: 'redis-server',
    env: (port) => ({ REDIS_URL: `redis://127.0.0.1:${port}` }),
  },
  [guide('several-machines', 'NATS')]: {
    program: 'nats-server',
    env: (port) => ({ NATS_URL: `127.0.0.1:${port}` }),
  },
};

/** Programs that are clients, with the block that is their server. */
export const servers: Record<string, string> = {
  [guide('getting-started', 'First server (2)')]: guide('getting-started', 'First server'),
};

/**
 * What shell commands print, and the block that is the server which they need; or why they cannot
 * run here. Those are only parsed.
 */
export const shell: Record<string, { server?: string; prints: RegExp } | { notRun: string }> = {
  [guide('deployment', 'Descriptors')]: { prints: /^(\d+|unlimited)\n$/ },
  'docs/troubleshooting.md > Troubleshooting (3)': {
    server: guide('floods', 'Messages'),
    prints: /^HTTP\/1\.1 101 Switching Protocols\r\n/,
  },
};

const aDecision =
  /^\[WebSocketPlugin\] \/chat (rejected \(origin\): header Origin is missing: only requests of allowed origins are accepted|accepted as [0-9a-f-]{36}( over a bridge)?|closed with 1000)$/;

/** `text` blocks that are output of the program before them. */
export const outputs: Record<string, RegExp> = {
  'docs/troubleshooting.md > Troubleshooting (2)': aDecision,
};
