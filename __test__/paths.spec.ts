import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { createApp } from '../examples/host/index.js';
import { WebSocketPlugin, type WSConnection, withWebSocket } from '../index.js';
import { connect, refused } from './support/client.js';
import { queue } from './support/events.js';
import { answerTo, upgradeStatus } from './support/http.js';
import { rawUpgrade, upgradeRequest } from './support/raw.js';
import { type Served, serve } from './support/server.js';
import { createServer, hostOptions, wsUrl } from './support/transport.js';

/** A server with these routes in this order; each tells a client which of them it has met. */
async function routes(patterns: string[], path?: string | string[]) {
  const { url, port } = await serve({ path }, ({ wsApp }) => {
    for (const pattern of patterns) {
      wsApp.ws(pattern, (socket) => socket.send(pattern));
    }
  });
  return {
    port,
    url,
    async winner(target: string): Promise<string | Buffer> {
      const client = await connect(url(target));
      const pattern = await client.next();
      client.close();
      return pattern;
    },
  };
}

/** As a client's library might rewrite the target, this one does not. */
async function rawWinner(port: number, target: string): Promise<string> {
  const client = await rawUpgrade(port, target);
  const { payload } = await client.frame();
  return payload.toString();
}

function permutations<T>(items: T[]): T[][] {
  if (items.length < 2) return [items];
  return items.flatMap((item, index) =>
    permutations(items.toSpliced(index, 1)).map((rest) => [item, ...rest]),
  );
}

describe('patterns', () => {
  test('an exact path is met by itself only', async () => {
    const { winner, port } = await routes(['/chat']);
    expect(await winner('/chat')).toBe('/chat');
    for (const target of ['/', '/cha', '/chats', '/Chat', '/chat/a', '/a/chat', '//chat']) {
      expect(await upgradeStatus(port, target), target).toBe(404);
    }
  });

  test('the root is a path like any other', async () => {
    const { winner, port } = await routes(['/']);
    expect(await winner('/')).toBe('/');
    expect(await winner('/?a=1')).toBe('/');
    expect(await upgradeStatus(port, '/a')).toBe(404);
  });

  test('a param is exactly one segment that is not empty', async () => {
    const { winner, port } = await routes(['/chat/:room', '/users/:id/posts/:post']);
    expect(await winner('/chat/lobby')).toBe('/chat/:room');
    expect(await winner('/users/7/posts/9')).toBe('/users/:id/posts/:post');
    for (const target of ['/chat', '/chat/', '/chat//', '/chat/a/b', '/users/7/posts']) {
      expect(await upgradeStatus(port, target), target).toBe(404);
    }
  });

  test('a star at the end is one segment or more', async () => {
    const { winner, port } = await routes(['/rooms/*', '/api/:version/*']);
    expect(await winner('/rooms/game1')).toBe('/rooms/*');
    expect(await winner('/rooms/game1/red/7')).toBe('/rooms/*');
    expect(await winner('/api/v2/ws/chat')).toBe('/api/:version/*');
    for (const target of ['/rooms', '/rooms/', '/rooms//a', '/roomsx/a', '/api/v2']) {
      expect(await upgradeStatus(port, target), target).toBe(404);
    }
  });

  test('a star alone is every path', async () => {
    const { winner } = await routes(['*']);
    for (const target of ['/', '/a', '/a/b/c', '/a/b/']) {
      expect(await winner(target), target).toBe('*');
    }
  });

  test('the query string never matters', async () => {
    const { winner, port } = await routes(['/chat', '/rooms/:id', '/files/*']);
    expect(await winner('/chat?token=/rooms/1')).toBe('/chat');
    expect(await winner('/chat?')).toBe('/chat');
    expect(await winner('/rooms/1?a=b&c=%zz')).toBe('/rooms/:id');
    expect(await winner('/files/a/b?/c')).toBe('/files/*');
    expect(await upgradeStatus(port, '/other?path=/chat')).toBe(404);
    expect(await upgradeStatus(port, '/rooms/?id=1')).toBe(404);
  });

  test('socket.url is the request target as it was sent, with its query string', async () => {
    const { url } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/rooms/:id', (socket) => socket.send(socket.url));
    });
    const client = await connect(url('/rooms/a%20b/?x=1&y=%2F'));
    expect(await client.next()).toBe('/rooms/a%20b/?x=1&y=%2F');
  });
});

describe('specificity', () => {
  const sets: { patterns: string[]; winners: Record<string, string> }[] = [
    {
      patterns: ['/a/b', '/a/:x', '/a/*', '*'],
      winners: { '/a/b': '/a/b', '/a/c': '/a/:x', '/a/b/c': '/a/*', '/b': '*', '/a': '*' },
    },
    {
      patterns: ['/a/:x', '/:y/b', '/:y/:x', '/:y/*'],
      winners: { '/a/b': '/a/:x', '/c/b': '/:y/b', '/c/d': '/:y/:x', '/a/b/c': '/:y/*' },
    },
    {
      patterns: ['/a/b/*', '/a/:x/*', '/a/*', '/*'],
      winners: { '/a/b/c': '/a/b/*', '/a/c/d': '/a/:x/*', '/a/b': '/a/*', '/b': '/*' },
    },
  ];

  test.each(
    sets.flatMap(({ patterns, winners }) =>
      permutations(patterns).map((order) => ({ order, winners })),
    ),
  )('the most specific of $order wins', async ({ order, winners }) => {
    const { winner } = await routes(order);
    const met = await Promise.all(
      Object.keys(winners).map(async (target) => [target, await winner(target)]),
    );
    expect(Object.fromEntries(met)).toEqual(winners);
  });

  test('a route wins over a wildcard of the path option, whatever is installed first', async () => {
    const { winner } = await routes(['/game/:id', '/game/lobby'], '/game/*');
    expect(await winner('/game/7')).toBe('/game/:id');
    expect(await winner('/game/lobby')).toBe('/game/lobby');
  });
});

describe('percent-encoding and slashes', () => {
  test('paths are compared after decoding', async () => {
    const { port } = await routes(['/chat', '/café', '/a b/:x', '/100%25/*']);
    expect(await rawWinner(port, '/%63h%61t')).toBe('/chat');
    expect(await rawWinner(port, '/caf%C3%A9')).toBe('/café');
    expect(await rawWinner(port, '/caf%c3%a9')).toBe('/café');
    expect(await rawWinner(port, '/a%20b/y')).toBe('/a b/:x');
    expect(await rawWinner(port, '/100%25/y')).toBe('/100%25/*');
    expect(await upgradeStatus(port, '/%43hat')).toBe(404);
  });

  test('an encoded slash does not separate segments', async () => {
    const { port } = await routes(['/files/:name', '/a%2Fb']);
    expect(await rawWinner(port, '/files/x%2Fy')).toBe('/files/:name');
    expect(await rawWinner(port, '/a%2fb')).toBe('/a%2Fb');
    expect(await upgradeStatus(port, '/a/b')).toBe(404);
    expect(await upgradeStatus(port, '/files%2Fx')).toBe(404);
  });

  test('one trailing slash is ignored in patterns and in targets', async () => {
    const { port } = await routes(['/chat/', '/rooms/:id', '/files/*']);
    expect(await rawWinner(port, '/chat')).toBe('/chat/');
    expect(await rawWinner(port, '/chat/')).toBe('/chat/');
    expect(await rawWinner(port, '/rooms/7/')).toBe('/rooms/:id');
    expect(await rawWinner(port, '/files/a/')).toBe('/files/*');
    expect(await upgradeStatus(port, '/chat//')).toBe(404);
  });

  test('dot segments are not resolved', async () => {
    const { port } = await routes(['/chat']);
    for (const target of ['/a/../chat', '/./chat', '/%2e/chat']) {
      expect(await upgradeStatus(port, target), target).toBe(404);
    }
  });

  test('a target in absolute form is its path', async () => {
    const { port } = await routes(['/chat']);
    expect(await rawWinner(port, 'http://127.0.0.1/chat?x')).toBe('/chat');
  });

  test('malformed percent-encoding is a bad request that names the target', async () => {
    const { port } = await routes(['/chat', '*']);
    for (const target of ['/%', '/%4', '/%zz', '/%ff', '/%C3/%A9']) {
      const answer = await answerTo(port, upgradeRequest(target));
      expect(answer.status, target).toBe(400);
      expect(answer.body).toContain(`"${target}"`);
    }
  });
});

describe('the path option', () => {
  test('a path without a handler is a live connection that counts and gets broadcasts', async () => {
    const { url, plugin, wsApp } = await serve({ path: ['/live', '/feeds/*'] });
    const ended = queue<number>();
    plugin.on('close', (_socket, code) => ended.push(code));
    const live = await connect(url('/live'));
    const feed = await connect(url('/feeds/a/b'));
    expect(plugin.getStats().totalConnections).toBe(2);
    expect(plugin.getStats().handlers).toBe(0);
    wsApp.wsBroadcast('hello');
    expect(await live.next()).toBe('hello');
    expect(await feed.next()).toBe('hello');
    live.close(4000);
    expect(await ended.next()).toBe(4000);
    expect(plugin.getStats().totalConnections).toBe(1);
  });

  test('what a client sends to a path without a handler harms nobody', async () => {
    const { url, plugin, wsApp } = await serve({ path: '/live' });
    const client = await connect(url('/live'));
    for (let count = 0; count < 200; count++) client.send(Buffer.alloc(10_000));
    client.ws.ping();
    await new Promise((resolve) => client.ws.once('pong', resolve));
    wsApp.wsBroadcast('still here');
    expect(await client.next()).toBe('still here');
    expect(plugin.getStats().totalConnections).toBe(1);
  });

  test('middleware and the connection event see a connection without a handler', async () => {
    const sockets: WSConnection[] = [];
    const { url, wsApp } = await serve({ path: '/live' }, ({ wsApp, plugin }) => {
      plugin.on('connection', (socket) => {
        sockets.push(socket);
        socket.onMessage((data) => socket.send(`seen: ${data}`));
      });
      wsApp.wsUse((socket, _req, next) => {
        socket.join('room');
        next();
      });
    });
    const client = await connect(url('/live'));
    client.send('a');
    expect(await client.next()).toBe('seen: a');
    wsApp.wsBroadcast('to the room', 'room');
    expect(await client.next()).toBe('to the room');
    expect(sockets.map((socket) => socket.url)).toEqual(['/live']);
  });

  test('with a handler on the same path the handler runs', async () => {
    const { winner } = await routes(['/ws'], ['/ws', '/other']);
    expect(await winner('/ws')).toBe('/ws');
  });

  test('routes are served beside it', async () => {
    const { winner, url } = await routes(['/chat'], '/ws');
    expect(await winner('/chat')).toBe('/chat');
    await connect(url('/ws'));
  });

  test('params work in it', async () => {
    const { url, port } = await routes([], '/rooms/:id/live');
    await connect(url('/rooms/7/live'));
    expect(await upgradeStatus(port, '/rooms/7')).toBe(404);
  });
});

describe('a path that nobody serves', () => {
  test('gets 404 as a real response, after which the connection ends', async () => {
    const { port, plugin } = await serve();
    const answer = await answerTo(port, upgradeRequest('/nowhere'));
    expect(answer).toMatchObject({
      status: 404,
      statusText: 'Not Found',
      headers: { connection: 'close', 'content-length': String(answer.body.length) },
    });
    expect(answer.body).not.toBe('');
    expect(plugin.getStats().rejected).toMatchObject({ path: 1 });
  });

  test.each(['before', 'after'])(
    'is left to another upgrade listener that was added %s the plugin',
    async (order) => {
      const other = new WebSocketServer({ noServer: true });
      onTestFinished(() => other.close());
      other.on('connection', (socket) => socket.send('other'));
      const addOther = ({ app }: { app: ReturnType<typeof createApp> }) => {
        app.getServer().on('upgrade', (req, socket, head) => {
          if (req.url !== '/other') return;
          other.handleUpgrade(req, socket, head, (client) => other.emit('connection', client, req));
        });
      };
      const { url, plugin } = await serve(
        { before: (app) => order === 'before' && addOther({ app }) },
        ({ app, wsApp }) => {
          wsApp.ws('/mine', (socket) => socket.send('mine'));
          if (order === 'after') addOther({ app });
        },
      );
      const mine = await connect(url('/mine'));
      expect(await mine.next()).toBe('mine');
      const theirs = await connect(url('/other'));
      expect(await theirs.next()).toBe('other');
      theirs.close(4000);
      expect(await theirs.closed).toMatchObject({ code: 4000 });
      expect(plugin.getStats().totalConnections).toBe(1);
      expect(plugin.getStats().rejected).toMatchObject({ path: 0 });
    },
  );

  test('is not written to or closed where another listener takes its time', async () => {
    const upgrades = queue<NodeJS.WritableStream & { destroyed: boolean }>();
    const { port } = await serve({}, ({ app }) => {
      app.getServer().on('upgrade', (req, socket) => {
        if (req.url === '/slow') upgrades.push(socket as never);
      });
    });
    const answer = answerTo(port, upgradeRequest('/slow'));
    const socket = await upgrades.next();
    // A request that is served in between shows that the plugin has had its turn.
    expect(await upgradeStatus(port, '/ws')).toBe(101);
    expect(socket.destroyed).toBe(false);
    socket.end('HTTP/1.1 418 I am a teapot\r\nConnection: close\r\n\r\n');
    expect(await answer).toMatchObject({ status: 418, body: '' });
  });
});

describe('several plugins', () => {
  function listening(served: Pick<Served, 'plugin'>[], server: ReturnType<typeof createServer>) {
    onTestFinished(async () => {
      await Promise.all(served.map(({ plugin }) => plugin.cleanup()));
      server.close();
    });
    return new Promise<(path: string) => string>((resolve) => {
      server.listen(0, '127.0.0.1', () => {
        const { port } = server.address() as AddressInfo;
        resolve((path) => wsUrl(port, path));
      });
    });
  }

  test('on one application serve their own paths and count their own connections', async () => {
    const app = createApp(hostOptions);
    const first = new WebSocketPlugin({ path: '/first' });
    first.install(app);
    withWebSocket(app).ws('/first/:x', (socket) => socket.send('first'));
    const second = new WebSocketPlugin({ path: '/second' });
    second.install(app);
    withWebSocket(app).ws('/second/:x', (socket) => socket.send('second'));
    const url = await listening([{ plugin: first }, { plugin: second }], app.getServer());

    expect(await (await connect(url('/first/a'))).next()).toBe('first');
    expect(await (await connect(url('/second/a'))).next()).toBe('second');
    await connect(url('/first'));
    expect(first.getStats().totalConnections).toBe(2);
    expect(second.getStats().totalConnections).toBe(1);
    expect(await refused(url('/third'))).toMatchObject({ status: 404 });
  });

  test('on one server with two applications serve their own paths', async () => {
    const server = createServer();
    const served = ['/first', '/second'].map((path) => {
      const plugin = new WebSocketPlugin({ path });
      // Without middleware of its own the host has no part in upgrades.
      plugin.install({ server } as never);
      return { plugin };
    });
    const url = await listening(served, server);
    await connect(url('/first'));
    await connect(url('/second'));
    for (const { plugin } of served) expect(plugin.getStats().totalConnections).toBe(1);
    expect(await refused(url('/third'))).toMatchObject({ status: 404 });
  });

  test('are separate worlds for broadcasts and rooms', async () => {
    const app = createApp(hostOptions);
    const plugins = ['/first', '/second'].map((path) => {
      const plugin = new WebSocketPlugin({ path });
      plugin.install(app);
      const { wsUse, wsBroadcast } = withWebSocket(app);
      wsUse((socket, _req, next) => {
        socket.join('shared name');
        next();
      });
      return { plugin, wsBroadcast };
    });
    const url = await listening(plugins, app.getServer());
    const first = await connect(url('/first'));
    const second = await connect(url('/second'));
    for (const [index, { wsBroadcast }] of plugins.entries()) {
      wsBroadcast(`everyone of ${index}`);
      wsBroadcast(`the room of ${index}`, 'shared name');
    }
    for (const [index, client] of [first, second].entries()) {
      expect(await client.next()).toBe(`everyone of ${index}`);
      expect(await client.next()).toBe(`the room of ${index}`);
    }
    first.ws.ping();
    await new Promise((resolve) => first.ws.once('pong', resolve));
    expect(first.waiting).toEqual([]);
  });
});

describe('ws()', () => {
  test.each<[unknown, string]>([
    [undefined, 'undefined'],
    [null, 'null'],
    [5, '5'],
    [['/ws'], 'Array'],
    [/ws/, 'RegExp'],
  ])('refuses the path %o with a TypeError', async (path, shown) => {
    const { wsApp } = await serve();
    const act = () => wsApp.ws(path as string, () => {});
    expect(act).toThrow(TypeError);
    expect(act).toThrow(new RegExp(`path must be a string, got .*${shown}`));
  });

  test.each(['', 'chat', '/a//b', '/a?b', '/a*', '/*/a', '/:', '/:x/:x', '/%zz'])(
    'refuses the pattern %j with a TypeError that names it',
    async (pattern) => {
      const { wsApp, plugin } = await serve();
      const act = () => wsApp.ws(pattern, () => {});
      expect(act).toThrow(TypeError);
      expect(act).toThrow(`"${pattern}"`);
      expect(plugin.getStats().handlers).toBe(0);
    },
  );

  test.each<[unknown, string]>([
    [undefined, 'undefined'],
    [null, 'null'],
    [{}, 'Object'],
    ['handler', '"handler"'],
  ])('refuses the handler %o with a TypeError', async (handler, shown) => {
    const { wsApp, plugin } = await serve();
    const act = () => wsApp.ws('/chat', handler as () => void);
    expect(act).toThrow(TypeError);
    expect(act).toThrow(new RegExp(`handler must be a function, got .*${shown}`));
    expect(plugin.getStats().handlers).toBe(0);
  });

  test('returns the application, so that calls chain', async () => {
    const { wsApp, app, url } = await serve();
    const returned = wsApp
      .ws('/a', (socket) => socket.send('a'))
      .ws('/b', (socket) => socket.send('b'))
      .wsUse((_socket, _req, next) => next())
      .wsBroadcast('to nobody');
    expect(returned).toBe(app);
    expect(await (await connect(url('/a'))).next()).toBe('a');
    expect(await (await connect(url('/b'))).next()).toBe('b');
  });

  test('again on the same path replaces the handler', async () => {
    const { url, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/chat/:room', (socket) => socket.send('old'));
      wsApp.ws('/chat/:name/', (socket) => socket.send('new'));
    });
    expect(plugin.getStats().handlers).toBe(1);
    expect(await (await connect(url('/chat/a'))).next()).toBe('new');
  });

  test('works while the server listens', async () => {
    const { wsApp, url } = await serve();
    expect(await refused(url('/late'))).toMatchObject({ status: 404 });
    wsApp.ws('/late', (socket) => socket.send('late'));
    expect(await (await connect(url('/late'))).next()).toBe('late');
  });
});
