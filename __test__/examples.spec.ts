import type { Server } from 'node:http';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { start as startChat } from '../examples/chat.js';
import { start as startCluster } from '../examples/cluster.js';
import { start as startDashboard } from '../examples/dashboard.js';
import { start as startExpress } from '../examples/express.js';
import { start as startFastify } from '../examples/fastify.js';
import { start as startGame } from '../examples/game.js';
import { start as startKoa } from '../examples/koa.js';
import { start as startQuickStart } from '../examples/quick-start.js';
import type { WebSocketPlugin } from '../index.js';
import { hasBroker } from './support/broker.js';
import { type Client, connect, refused } from './support/client.js';
import { queue } from './support/events.js';
import { script } from './support/process.js';
import { portOf } from './support/server.js';
import { isBun } from './support/transport.js';

type Start = (options: {
  port: number;
}) => Promise<{ server: Server; wsPlugin: WebSocketPlugin; close(): Promise<void> }>;
type Message = Record<string, unknown> & { type?: string };

/** Starts an example on a free port until the test is over. */
async function run(start: Start) {
  const { server, wsPlugin, close } = await start({ port: 0 });
  onTestFinished(close);
  const port = await portOf(server);
  return {
    wsPlugin,
    http: (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init),
    connect: (path: string) => connect(`ws://127.0.0.1:${port}${path}`),
    refused: (path: string) => refused(`ws://127.0.0.1:${port}${path}`),
  };
}

const asJson = (body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});

const say = (client: Client, message: Message) => client.send(JSON.stringify(message));

const aTime = expect.any(Number);
const aText = expect.any(String);

describe('the quick start', () => {
  beforeEach(() => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => {});
    onTestFinished(() => log.mockRestore());
  });

  test('serves a page that talks to the path of the chat', async () => {
    const { http } = await run(startQuickStart);
    const page = await http('/');
    expect(page.status).toBe(200);
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    const html = await page.text();
    expect(html).toContain('<!doctype html>');
    expect(html).toContain("new URL('/chat', location.href)");
  });

  test('lets two clients talk', async () => {
    const { connect } = await run(startQuickStart);
    const ada = await connect('/chat');
    const bob = await connect('/chat');
    ada.send(JSON.stringify({ user: 'Ada', text: 'Hello Bob' }));
    const greeting = { user: 'Ada', text: 'Hello Bob', timestamp: aTime };
    expect(await ada.nextJson()).toEqual(greeting);
    expect(await bob.nextJson()).toEqual(greeting);
    bob.send(JSON.stringify({ user: 'Bob', text: 'Hello Ada' }));
    const answer = { user: 'Bob', text: 'Hello Ada', timestamp: aTime };
    expect(await ada.nextJson()).toEqual(answer);
    expect(await bob.nextJson()).toEqual(answer);
  });

  test('goes on when a client sends what is no JSON', async () => {
    const print = vi.spyOn(console, 'error').mockImplementation(() => {});
    onTestFinished(() => print.mockRestore());
    const { connect } = await run(startQuickStart);
    const good = await connect('/chat');
    const bad = await connect('/chat');
    bad.send('this is no JSON');
    expect(await bad.closed).toMatchObject({ code: 1011 });
    good.send(JSON.stringify({ user: 'Ada', text: 'still here' }));
    expect(await good.nextJson()).toMatchObject({ text: 'still here' });
  });

  test('logs who comes and who goes', async () => {
    const { connect, wsPlugin } = await run(startQuickStart);
    const lines = queue<unknown[]>();
    vi.mocked(console.log).mockImplementation((...args) => lines.push(args));
    const client = await connect('/chat');
    const [, id] = await lines.next();
    client.close(4000, 'bye');
    expect(await lines.next()).toEqual(['Client disconnected:', id, 4000, 'bye']);
    expect(wsPlugin.getStats().rooms).toEqual([]);
  });

  test('accepts connections on the path of its plugin too', async () => {
    const { connect, wsPlugin } = await run(startQuickStart);
    await connect('/ws');
    expect(wsPlugin.getStats().totalConnections).toBe(1);
  });

  test('starts from the command line on the port that it is told', async () => {
    const { line } = script(`process.env.PORT = '0';
      process.argv[1] = require('node:path').resolve('examples/quick-start.js');
      import(require('node:url').pathToFileURL(process.argv[1]));`);
    const url = await line();
    expect(url).toMatch(/^http:\/\/localhost:\d+$/);
    const { port } = new URL(url);
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(200);
  });
});

describe('the chat', () => {
  async function chat() {
    const served = await run(startChat);
    return {
      ...served,
      /** Gets a token and joins, up to the list of users that a newcomer is sent. */
      async join(name: string) {
        const response = await served.http(`/api/token?name=${name}`);
        const { token, user } = (await response.json()) as {
          token: string;
          user: { id: string; name: string };
        };
        const client = await served.connect(`/chat?token=${token}`);
        expect(await client.nextJson()).toEqual({ type: 'user_joined', user, timestamp: aTime });
        const { users } = await client.nextJson<{ users: unknown[] }>();
        return { client, user, users };
      },
    };
  }

  test('lets nobody in without a token of its own', async () => {
    const { refused, http, wsPlugin } = await chat();
    expect(await refused('/chat')).toMatchObject({ status: 401 });
    expect(await refused('/chat?token=')).toMatchObject({ status: 401 });
    expect(await refused('/chat?token=a.b.c')).toMatchObject({ status: 401 });
    const { token } = (await (await http('/api/token?name=Ada')).json()) as { token: string };
    const forged = token.replace(/\.[^.]+\./, () => {
      const payload = { id: 'x', name: 'Eve', exp: 9_999_999_999 };
      return `.${Buffer.from(JSON.stringify(payload)).toString('base64url')}.`;
    });
    expect(await refused(`/chat?token=${forged}`)).toMatchObject({ status: 401 });
    expect(wsPlugin.getStats().totalConnections).toBe(0);
  });

  test('tells everyone who comes and the newcomer who is there', async () => {
    const { join } = await chat();
    const ada = await join('Ada');
    expect(ada.users).toEqual([ada.user]);
    const bob = await join('Bob');
    expect(bob.users).toEqual([ada.user, bob.user]);
    expect(await ada.client.nextJson()).toEqual({
      type: 'user_joined',
      user: bob.user,
      timestamp: aTime,
    });
    expect(bob.user).toMatchObject({ name: 'Bob' });
  });

  test('passes messages, private messages and typing on', async () => {
    const { join } = await chat();
    const ada = await join('Ada');
    const bob = await join('Bob');
    const eve = await join('Eve');
    for (const _ of [bob, eve]) await ada.client.nextJson();
    await bob.client.nextJson();

    say(ada.client, { type: 'chat_message', text: 'Hello all' });
    for (const { client } of [ada, bob, eve]) {
      expect(await client.nextJson()).toEqual({
        type: 'message',
        id: aText,
        user: ada.user,
        text: 'Hello all',
        timestamp: aTime,
      });
    }

    say(ada.client, { type: 'private_message', targetUserId: bob.user.id, text: 'Hello Bob' });
    expect(await bob.client.nextJson()).toEqual({
      type: 'private_message',
      from: ada.user,
      text: 'Hello Bob',
      timestamp: aTime,
    });
    say(ada.client, { type: 'private_message', targetUserId: 'nobody', text: 'Hello?' });

    // Whoever had got the private message as well would see it before this.
    say(bob.client, { type: 'typing', isTyping: true });
    for (const { client } of [ada, bob, eve]) {
      expect(await client.nextJson()).toEqual({ type: 'typing', user: bob.user, isTyping: true });
    }
  });

  test('tells everyone who goes, and forgets them', async () => {
    const { join } = await chat();
    const ada = await join('Ada');
    const bob = await join('Bob');
    await ada.client.nextJson();
    bob.client.close();
    expect(await ada.client.nextJson()).toEqual({
      type: 'user_left',
      user: bob.user,
      timestamp: aTime,
    });
    expect((await join('Cleo')).users).toEqual([
      ada.user,
      expect.objectContaining({ name: 'Cleo' }),
    ]);
  });

  test('answers what is no JSON with an error, and the connection goes on', async () => {
    const { join } = await chat();
    const { client, user } = await join('Ada');
    client.send('this is no JSON');
    expect(await client.nextJson()).toEqual({ type: 'error', message: 'Invalid message format' });
    say(client, { type: 'typing', isTyping: false });
    expect(await client.nextJson()).toMatchObject({ type: 'typing', user });
  });

  test('broadcasts system messages that come by HTTP', async () => {
    const { join, http } = await chat();
    const ada = await join('Ada');
    const bob = await join('Bob');
    await ada.client.nextJson();
    const response = await http('/api/admin/broadcast', asJson({ message: 'Maintenance at five' }));
    expect(await response.json()).toEqual({ success: true });
    const elsewhere = asJson({ message: 'Not for you', room: 'elsewhere' });
    expect((await http('/api/admin/broadcast', elsewhere)).status).toBe(200);
    await http('/api/admin/broadcast', asJson({ message: 'The end' }));
    for (const message of ['Maintenance at five', 'The end']) {
      for (const { client } of [ada, bob]) {
        expect(await client.nextJson()).toEqual({
          type: 'system_message',
          message,
          timestamp: aTime,
        });
      }
    }
  });
});

describe('the dashboard', () => {
  const metrics = {
    cpu: { user: aTime, system: aTime },
    memory: expect.objectContaining({ rss: aTime, heapUsed: aTime }),
    uptime: aTime,
  };

  /** The next message of a type; metrics come all the time in between. */
  async function nextOf(client: Client, ...types: string[]): Promise<Message> {
    for (;;) {
      const message = await client.nextJson<Message>();
      if (types.includes(String(message.type))) return message;
    }
  }

  test('sends metrics at once, and updates to everyone', async () => {
    const { connect } = await run(startDashboard);
    const first = await connect('/dashboard');
    expect(await first.nextJson()).toEqual({
      type: 'initial_metrics',
      data: { ...metrics, connections: 1 },
      timestamp: aTime,
    });
    const second = await connect('/dashboard');
    expect(await nextOf(second, 'initial_metrics')).toMatchObject({ data: { connections: 2 } });
    for (const client of [first, second]) {
      expect(await nextOf(client, 'metrics_update')).toEqual({
        type: 'metrics_update',
        data: { ...metrics, connections: 2 },
        timestamp: aTime,
      });
    }
  });

  test('sends single metrics to those who have subscribed, until they have enough', async () => {
    const { connect, wsPlugin } = await run(startDashboard);
    const client = await connect('/dashboard');
    say(client, { type: 'subscribe', metric: 'uptime' });
    expect(await nextOf(client, 'metric_update')).toEqual({
      type: 'metric_update',
      metric: 'uptime',
      value: aTime,
      timestamp: aTime,
    });
    const left = new Promise((resolve) => wsPlugin.once('room:destroyed', resolve));
    say(client, { type: 'unsubscribe', metric: 'uptime' });
    expect(await left).toBe('metrics:uptime');
    expect(wsPlugin.getStats().rooms).toEqual(['dashboard']);
  });

  test('tells of each order that comes in by HTTP', async () => {
    const { connect, http } = await run(startDashboard);
    const clients = [await connect('/dashboard'), await connect('/dashboard')];
    const response = await http('/api/orders', asJson({ item: 'tea', amount: 2 }));
    const order = await response.json();
    expect(order).toEqual({ item: 'tea', amount: 2, id: aText, createdAt: aText });
    for (const client of clients) {
      expect(await nextOf(client, 'new_order')).toEqual({
        type: 'new_order',
        order,
        timestamp: aTime,
      });
    }
  });

  test('lets its process end when it is closed', async () => {
    const { line, tell, exited } = script(
      `const { start } = await import('./examples/dashboard.js');
      const { server, close } = await start({ port: 0 });
      console.log(server.address().port);
      process.stdin.once('data', () => { process.stdin.destroy(); close(); });`,
      { module: true },
    );
    const client = await connect(`ws://127.0.0.1:${await line()}/dashboard`);
    await client.next();
    tell('close');
    expect(await client.closed).toMatchObject({ code: 1001 });
    expect(await exited).toEqual({ code: 0, signal: null, stderr: '' });
  });
});

describe('the game', () => {
  const empty = Array(9).fill(null);

  /** X and O at one board, and somebody who watches; each up to their own `player_joined`. */
  async function game() {
    const { connect, wsPlugin } = await run(startGame);
    const x = await connect('/game/one?playerId=xenia');
    expect(await x.nextJson()).toEqual({
      type: 'game_state',
      state: 'waiting',
      board: empty,
      players: ['xenia'],
    });
    const o = await connect('/game/one?playerId=otto');
    expect(await o.nextJson()).toMatchObject({ players: ['xenia', 'otto'] });
    expect(await x.nextJson()).toEqual({
      type: 'player_joined',
      playerId: 'xenia',
      playerCount: 1,
    });
    for (const client of [x, o]) {
      expect(await client.nextJson()).toEqual({
        type: 'player_joined',
        playerId: 'otto',
        playerCount: 2,
      });
    }
    return { connect, wsPlugin, x, o };
  }

  const move = (client: Client, cell: unknown) => say(client, { type: 'move', move: { cell } });
  const invalid = { type: 'invalid_move', reason: 'Move not allowed' };

  test('is played to the win', async () => {
    const { x, o } = await game();
    const board = [...empty];
    for (const [turn, cell] of [0, 4, 1, 5, 2].entries()) {
      const [client, playerId, mark] =
        turn % 2 === 0 ? ([x, 'xenia', 'X'] as const) : ([o, 'otto', 'O'] as const);
      move(client, cell);
      board[cell] = mark;
      for (const seat of [x, o]) {
        expect(await seat.nextJson()).toEqual({
          type: 'move_made',
          playerId,
          move: { cell },
          board,
        });
      }
    }
    for (const seat of [x, o]) {
      expect(await seat.nextJson()).toEqual({ type: 'game_over', winner: 'X', finalBoard: board });
    }
    move(o, 8);
    expect(await o.nextJson()).toEqual(invalid);
  });

  test('can end in a draw', async () => {
    const { x, o } = await game();
    for (const [turn, cell] of [0, 1, 2, 4, 3, 5, 7, 6, 8].entries()) {
      move(turn % 2 === 0 ? x : o, cell);
      for (const seat of [x, o]) expect(await seat.nextJson()).toMatchObject({ type: 'move_made' });
    }
    expect(await x.nextJson()).toMatchObject({ type: 'game_over', winner: 'draw' });
  });

  test('tells a player alone of a move that is not allowed', async () => {
    const { x, o, connect } = await game();
    move(o, 0);
    expect(await o.nextJson()).toEqual(invalid);
    move(x, 4);
    for (const client of [x, o])
      expect(await client.nextJson()).toMatchObject({ type: 'move_made' });
    for (const cell of [4, 9, -1, 'middle', undefined]) {
      move(o, cell);
      expect(await o.nextJson()).toEqual(invalid);
    }
    const watcher = await connect('/game/one?playerId=walter');
    expect(await watcher.nextJson()).toMatchObject({
      state: 'playing',
      players: ['xenia', 'otto', 'walter'],
    });
    for (const client of [x, o, watcher]) {
      expect(await client.nextJson()).toMatchObject({ type: 'player_joined', playerId: 'walter' });
    }
    move(watcher, 0);
    expect(await watcher.nextJson()).toEqual(invalid);
  });

  test('lets players talk, game by game', async () => {
    const { x, o, connect } = await game();
    const other = await connect('/game/two?playerId=olga');
    expect(await other.nextJson()).toMatchObject({ type: 'game_state', players: ['olga'] });
    await other.nextJson();
    say(x, { type: 'chat', text: 'Good luck' });
    for (const client of [x, o]) {
      expect(await client.nextJson()).toEqual({
        type: 'chat_message',
        playerId: 'xenia',
        message: 'Good luck',
        timestamp: aTime,
      });
    }
    say(other, { type: 'chat', text: 'Nobody here?' });
    expect(await other.nextJson()).toMatchObject({ message: 'Nobody here?' });
  });

  test('tells who leaves, and forgets a game that everybody has left', async () => {
    const { x, o, connect, wsPlugin } = await game();
    move(x, 0);
    for (const client of [x, o]) await client.nextJson();
    o.close();
    expect(await x.nextJson()).toEqual({ type: 'player_left', playerId: 'otto', playerCount: 1 });
    const gone = new Promise((resolve) => wsPlugin.once('close', resolve));
    x.close();
    await gone;
    const again = await connect('/game/one?playerId=xenia');
    expect(await again.nextJson()).toEqual({
      type: 'game_state',
      state: 'waiting',
      board: empty,
      players: ['xenia'],
    });
  });

  test('needs a player ID', async () => {
    const { connect } = await run(startGame);
    const nobody = await connect('/game/one');
    expect(await nobody.closed).toEqual({ code: 1008, reason: 'Player ID required' });
  });

  test('is at /game/:gameId; deeper paths are connections without a game', async () => {
    const { connect, refused, wsPlugin } = await run(startGame);
    expect(await refused('/game')).toMatchObject({ status: 404 });
    const deeper = await connect('/game/one/more?playerId=x');
    expect(wsPlugin.getStats()).toMatchObject({ totalConnections: 1, rooms: [] });
    expect(deeper.waiting).toEqual([]);
  });
});

describe('under another framework', () => {
  test('Express: routes and sockets reach the same room', async () => {
    const { http, connect, refused } = await run(startExpress);
    const [ada, bob] = [await connect('/chat'), await connect('/chat')];
    ada.send('hello');
    for (const client of [ada, bob]) expect(await client.next()).toBe('hello');
    const announced = await http('/announce', {
      method: 'POST',
      headers: { 'content-type': 'text/plain' },
      body: 'lunch is ready',
    });
    expect(announced.status).toBe(204);
    for (const client of [ada, bob]) expect(await client.next()).toBe('lunch is ready');
    expect((await http('/chat')).status).toBe(404);
    expect(await refused('/elsewhere')).toMatchObject({ status: 404 });
  });

  test('Koa: sockets talk to all others, and a page knows how many there are', async () => {
    const { http, connect } = await run(startKoa);
    const [ada, bob] = [await connect('/chat'), await connect('/chat')];
    ada.send('hello');
    expect(await bob.next()).toBe('hello');
    bob.send('and you?');
    // Her own message would have come first.
    expect(await ada.next()).toBe('and you?');
    expect(await (await http('/members')).json()).toEqual({ members: 2 });
    expect((await http('/elsewhere')).status).toBe(404);
  });

  test('Fastify: an order goes to whoever watches that customer', async () => {
    const { http, connect, wsPlugin } = await run(startFastify);
    const [ada, bob] = [await connect('/orders/ada'), await connect('/orders/bob')];
    expect((await http('/orders/bob', asJson({ item: 'coffee' }))).status).toBe(204);
    expect((await http('/orders/ada', asJson({ item: 'tea' }))).status).toBe(204);
    expect(await ada.nextJson()).toEqual({ item: 'tea' });
    expect(await bob.nextJson()).toEqual({ item: 'coffee' });
    expect(wsPlugin.getStats().rooms.sort()).toEqual(['/orders/ada', '/orders/bob']);
  });

  test.each([
    ['Express', startExpress],
    ['Koa', startKoa],
    ['Fastify', startFastify],
  ] as [string, Start][])('%s: closing ends the connections with 1001', async (_, start) => {
    const { server, close } = await start({ port: 0 });
    const port = await portOf(server);
    const path = start === startFastify ? '/orders/ada' : '/chat';
    const client = await connect(`ws://127.0.0.1:${port}${path}`);
    await close();
    expect(await client.closed).toEqual({ code: 1001, reason: 'server is shutting down' });
    expect(server.listening).toBe(false);
  });
});

describe('two servers that share their rooms', () => {
  const hasRedis = hasBroker('redis-server');

  test.skipIf(!hasRedis)('over Redis', () => talk(true));

  // Bun's workers of node:cluster have not been tried.
  test.skipIf(isBun)('as workers of node:cluster', () => talk(false));

  async function talk(redis: boolean) {
    const { ports, close } = await startCluster({ port: 0, redis });
    onTestFinished(close);
    const [ada, bob] = await Promise.all(
      ports.map((port) => connect(`ws://127.0.0.1:${port}/chat`)),
    );
    expect(await ada?.next()).toBe('welcome to node A');
    expect(await bob?.next()).toBe('welcome to node B');
    // A first member's subscription takes its time.
    while (bob?.waiting.length === 0) {
      ada?.send('hello');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(await bob?.next()).toBe('A: hello');
    expect(ada?.waiting).toEqual([]);
  }
});
