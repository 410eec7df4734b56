import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { createApp } from '../examples/host/index.js';
import {
  WebSocketPlugin,
  type WebSocketPluginOptions,
  type WSConnection,
  withWebSocket,
} from '../index.js';
import { connect, refused } from './support/client.js';
import { queue } from './support/events.js';
import { answerTo, upgradeStatus } from './support/http.js';
import { rawUpgrade, upgradeRequest } from './support/raw.js';
import { type Served, serve } from './support/server.js';
import { createServer, hostOptions, wsUrl } from './support/transport.js';

/** What the native half tells the facade about paths. */
interface NativePaths {
  normalised(url: string): string | null;
  serves(url: string): string | null;
  shapeOf(pattern: string): string;
  shapes(): string[];
  ws(pattern: string, route: number): void;
}

const native = createRequire(import.meta.url)('../lib/native.js') as {
  WebSocketPlugin: new (options?: WebSocketPluginOptions) => NativePaths;
};

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

  test.each(['/a/../chat', '/./chat', '/%2e/chat', '/chat/..', '/chat/%2E%2e/', '/.%2e', '/.'])(
    'dot segments, which readers of URLs resolve, match no route: %s',
    async (target) => {
      const { port } = await routes(['/chat', '/:a/:b', '/*', '*']);
      expect(await upgradeStatus(port, target)).toBe(404);
      expect(await upgradeStatus(port, `http://127.0.0.1${target}?x`)).toBe(404);
    },
  );

  test('dots elsewhere are characters like any other', async () => {
    const { port } = await routes(['/files/*']);
    for (const target of ['/files/.env', '/files/a..b', '/files/...', '/files/a?x=/../b']) {
      expect(await upgradeStatus(port, target), target).toBe(101);
    }
  });

  test.each(['//', '//chat', '//evil.example/chat', '///chat', 'http://127.0.0.1//chat'])(
    'two slashes at the start, which readers of URLs take for a host, match no route: %s',
    async (target) => {
      const { port } = await routes(['/chat', '/:a/:b', '/*', '*']);
      expect(await upgradeStatus(port, target)).toBe(404);
    },
  );

  test('two slashes elsewhere are met by a lone star only', async () => {
    const { port } = await routes(['/a/*', '*']);
    expect(await rawWinner(port, '/a//b')).toBe('*');
    expect(await rawWinner(port, '/a//')).toBe('*');
  });

  test('a target in absolute form is its path', async () => {
    const { port } = await routes(['/chat', '/']);
    for (const target of [
      'http://127.0.0.1/chat?x',
      'HTTPS://example.com:443/chat/',
      'ws://user:secret@[::1]:80/%63hat#top',
    ]) {
      expect(await rawWinner(port, target), target).toBe('/chat');
    }
    for (const target of ['http://127.0.0.1', 'http://127.0.0.1?x=/chat', 'http://[::1]/']) {
      expect(await rawWinner(port, target), target).toBe('/');
    }
  });

  test('an absolute form without a valid host is a bad request', async () => {
    const { port } = await routes(['*']);
    for (const target of ['http:///chat', 'http://user@/chat', 'http://a:x/chat', 'http://?x']) {
      expect(await upgradeStatus(port, target), target).toBe(400);
    }
  });

  test('a character that may stand in a path as it is means the same encoded', async () => {
    const { port } = await routes(['/@me', '/a%7Bb', '/x!$&()+,;=y']);
    expect(await rawWinner(port, '/%40me')).toBe('/@me');
    expect(await rawWinner(port, '/a{b')).toBe('/a%7Bb');
    expect(await rawWinner(port, '/x%21%24%26%28%29%2b%2C%3B%3dy')).toBe('/x!$&()+,;=y');
  });

  test('a long target is read in linear time', async () => {
    const { port } = await routes(['/files/*', '/:a/:b']);
    expect(await upgradeStatus(port, `/files/${'%2f'.repeat(4000)}`)).toBe(101);
    expect(await upgradeStatus(port, `/files/${'./'.repeat(6000)}`)).toBe(404);
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

describe('the normal form of a target', () => {
  const { normalised, serves } = (() => {
    const plugin = new native.WebSocketPlugin({ path: '*' });
    return {
      normalised: (url: string) => plugin.normalised(url),
      serves: (url: string) => plugin.serves(url),
    };
  })();

  test.each([
    ['/', '/'],
    ['/?', '/?'],
    ['/a/?x=%zz#y', '/a/?x=%zz'],
    ['/%61dmin/%6Cive', '/admin/live'],
    ['/a%2fb%25%3f%23%5c%20', '/a%2Fb%25%3F%23%5C%20'],
    ['/"<>\\^`{|}', '/%22%3C%3E%5C%5E%60%7B%7C%7D'],
    ['/caf\xc3\xa9?\xe9', '/caf%C3%A9?\xe9'],
    ['http://host', '/'],
    ['http://host?q', '/?q'],
    ['http://u:p@[::1]:80/%2e%2e/a', '/../a'],
    ['//evil.example/a', '//evil.example/a'],
  ])('of %j is %j', (target, normal) => {
    expect(normalised(target)).toBe(normal);
    expect(normalised(normal)).toBe(normal);
  });

  test.each([
    '',
    '*',
    'a',
    'host:80',
    '/%',
    '/%zz',
    '/\xe9',
    '/\u0100',
    '/\ud83d',
    '/😀',
    'ftp://h/a',
    'http://',
    'http://a b/',
  ])('does not exist for %j', (target) => {
    expect(normalised(target)).toBeNull();
    expect(serves(target)).toBeNull();
  });

  test('is what `new URL()` reads, wherever a route is found', () => {
    const pieces = ['a', '.', '..', '%2e', '%2E%2e', '\\', '%5c', '%2f', '//', '/', '\t', '"', '{'];
    pieces.push('|', '^', '`', ';', ':', '@', '%00', '\xc3\xa9', '%C3%A9', '%20', '[', 'c:', '%7C');
    const targets = pieces.flatMap((one) =>
      pieces.flatMap((two) => [`/${one}${two}`, `/a/${one}/${two}?${one}`, `/${one}/b${two}/`]),
    );
    let found = 0;
    for (const target of targets) {
      if (serves(target) === null) continue;
      found += 1;
      const path = normalised(target)?.split('?')[0];
      expect(new URL(normalised(target) as string, 'ws://base').pathname, target).toBe(path);
    }
    expect(found).toBeGreaterThan(targets.length / 2);
  });
});

describe('the path of a request', () => {
  /** What everybody on the way of a request sees of its path. */
  async function readings(target: string, patterns: string[]) {
    const seen = queue<Record<string, string | undefined>>();
    const { port } = await serve(
      {
        before: (app) => {
          app.use(async (ctx, next) => {
            seen.push({ 'ctx.path': ctx.path, 'ctx.url': ctx.url, 'ctx.req.url': ctx.req.url });
            await next();
          });
        },
        verifyClient: (req) => Boolean(seen.push({ verifyClient: req.url })) || true,
      },
      ({ wsApp }) => {
        wsApp.wsUse((socket, req, next) => {
          seen.push({ 'req.url in wsUse': req.url, 'socket.url': socket.url });
          next();
        });
        for (const pattern of patterns) {
          wsApp.ws(pattern, (socket) => {
            seen.push({ route: pattern, 'socket.url in the handler': socket.url });
          });
        }
      },
    );
    expect(await upgradeStatus(port, target)).toBe(101);
    const all = {};
    for (let count = 0; count < 4; count++) Object.assign(all, await seen.next());
    return all;
  }

  test.each([
    ['/admin/live', '/admin/live'],
    ['/%61dmin/live', '/admin/live'],
    ['/%61%64%6d%69%6E/%6cive', '/admin/live'],
    ['http://x/admin/live', '/admin/live'],
    ['HTTP://user@x:80/%61dmin/live', '/admin/live'],
    ['ws://[::1]/admin/live', '/admin/live'],
    ['/admin/live/', '/admin/live/'],
    ['/admin/live?a=%61', '/admin/live?a=%61'],
    ['/admin/live#fragment', '/admin/live'],
  ])('%s is one for guards, middleware, route and handler: %s', async (target, url) => {
    const path = url.replace(/\?.*/, '');
    expect(await readings(target, ['/admin/live', '/:any/:thing', '*'])).toEqual({
      'ctx.path': path,
      'ctx.url': url,
      'ctx.req.url': url,
      verifyClient: url,
      'req.url in wsUse': url,
      'socket.url': url,
      'socket.url in the handler': url,
      route: '/admin/live',
    });
  });

  test.each(['/admin%2Flive', '/admin%2flive', '/x%2F..%2Fadmin/live', '/%2561dmin/live'])(
    '%s is another one, and stays encoded',
    async (target) => {
      const all = await readings(target, ['/admin/live', '/:any', '/:any/:thing']);
      expect(all).toMatchObject({ 'socket.url': expect.stringContaining('%2') });
      expect(all).not.toMatchObject({ route: '/admin/live' });
    },
  );

  test.each(['/x/%2e%2e/admin/live', '/x/../admin/live', '/.%2E/admin/live', '//admin/live'])(
    '%s reaches nobody, not even by a star',
    async (target) => {
      const { port } = await routes(['/admin/live', '/:a/:b/:c/:d', '/x/*', '*'], '/live');
      expect(await upgradeStatus(port, target)).toBe(404);
    },
  );

  test('is not touched where it belongs to somebody else', async () => {
    const asked = queue<string | undefined>();
    const { port } = await serve({}, ({ app }) => {
      app.getServer().on('upgrade', (req, socket) => {
        asked.push(req.url);
        socket.destroy();
      });
    });
    await expect(answerTo(port, upgradeRequest('/%74heirs'))).rejects.toThrow('no HTTP response');
    expect(await asked.next()).toBe('/%74heirs');
  });
});

describe('several tables', () => {
  test('are compared by how specific their patterns for a target are', () => {
    const ranks = ['/a/b/c', '/a/b/:z', '/:x/b/c', '/a/b/*', '/a/*', '/:x/*', '/*', '*'].map(
      (path) => new native.WebSocketPlugin({ path }).serves('/a/b/c') as string,
    );
    expect(ranks.toSorted()).toEqual(ranks);
    expect(new Set(ranks).size).toBe(ranks.length);
  });

  test('rank a route as they rank a path option', () => {
    for (const pattern of ['/a/b', '/a/:x', '/:x/b', '/a/*', '*']) {
      const byOption = new native.WebSocketPlugin({ path: pattern });
      const byRoute = new native.WebSocketPlugin({ path: '/elsewhere' });
      byRoute.ws(pattern);
      expect(byRoute.serves('/a/b')).toBe(byOption.serves('/a/b'));
      expect(byRoute.serves('/a/b')).not.toBeNull();
    }
  });

  test('rank by the better of both where a path has both', () => {
    const plugin = new native.WebSocketPlugin({ path: '/a' });
    plugin.ws('*');
    expect(plugin.serves('/a')).toBe(new native.WebSocketPlugin({ path: '/a' }).serves('/a'));
    expect(plugin.serves('/b')).toBe(new native.WebSocketPlugin({ path: '*' }).serves('/b'));
  });

  test('tell the shapes that they have, each once', () => {
    const plugin = new native.WebSocketPlugin({ path: ['/ws', '/rooms/:id', '/rooms/:x/'] });
    plugin.ws('/rooms/:room');
    plugin.ws('/caf\xe9/*');
    plugin.ws('*');
    expect(plugin.shapes().toSorted()).toEqual(['*', '/caf%C3%A9/*', '/rooms/:', '/ws']);
    expect(plugin.shapeOf('/rooms/:other/')).toBe('/rooms/:');
    expect(() => plugin.shapeOf('/a*')).toThrow(/^ws: invalid path pattern "\/a\*"/);
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
    [['/ws'], 'an array'],
    [/ws/, 'RegExp'],
  ])('refuses the path %o with a TypeError', async (path, shown) => {
    const { wsApp } = await serve();
    const act = () => wsApp.ws(path as string, () => {});
    expect(act).toThrow(TypeError);
    expect(act).toThrow(new RegExp(`path must be a string, got .*${shown}`));
  });

  test.each([
    '',
    'chat',
    '/a//b',
    '//a',
    '/a?b',
    '/a*',
    '/*/a',
    '/:',
    '/:x/:x',
    '/%zz',
    '/./a',
    '/a/..',
    '/%2e%2E',
    '/a|b',
    '/^a$',
  ])('refuses the pattern %j with a TypeError that names it', async (pattern) => {
    const { wsApp, plugin } = await serve();
    const act = () => wsApp.ws(pattern, () => {});
    expect(act).toThrow(TypeError);
    expect(act).toThrow(`"${pattern}"`);
    expect(plugin.getStats().handlers).toBe(0);
  });

  test.each<[unknown, string]>([
    [undefined, 'undefined'],
    [null, 'null'],
    [{}, 'an object'],
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

  test.each([
    ['/chat/{room}', '/chat/:room'],
    ['/chat/<room>/log', '/chat/:room/log'],
    ['/chat/<int:room>', '/chat/:room'],
    ['/chat/[room]', '/chat/:room'],
    ['/chat/:room(\\d+)', '/chat/:room'],
    ['/files/[...rest]', '/files/*'],
    ['/files/*rest', '/files/*'],
    ['/files/**', '/files/*'],
  ])('refuses %s of another router and says to write %s', async (pattern, suggestion) => {
    const { wsApp } = await serve();
    const act = () => wsApp.ws(pattern, () => {});
    expect(act).toThrow(TypeError);
    expect(act).toThrow(`; write "${suggestion}"`);
    wsApp.ws(suggestion, () => {});
  });

  test('says how to write a character that has no meaning', async () => {
    const { wsApp } = await serve();
    expect(() => wsApp.ws('/a{b', () => {})).toThrow('write %7B for a literal "{"');
    expect(() => wsApp.ws('/(a|b)', () => {})).toThrow('alternatives need a pattern each');
  });

  test('again on the same path is an error that names both, and changes nothing', async () => {
    const { url, plugin, wsApp } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/chat/:room', (socket) => socket.send('first'));
    });
    const again = () => wsApp.ws('/chat/:name/', (socket) => socket.send('second'));
    expect(again).toThrow(
      'ws: "/chat/:name/" has the same shape as the earlier route "/chat/:room": one path has one handler',
    );
    expect(again).not.toThrow(TypeError);
    wsApp.ws('/chat/lobby', (socket) => socket.send('lobby'));
    expect(plugin.getStats().handlers).toBe(2);
    expect(await (await connect(url('/chat/a'))).next()).toBe('first');
    expect(await (await connect(url('/chat/lobby'))).next()).toBe('lobby');
  });

  test('works while the server listens', async () => {
    const { wsApp, url } = await serve();
    expect(await refused(url('/late'))).toMatchObject({ status: 404 });
    wsApp.ws('/late', (socket) => socket.send('late'));
    expect(await (await connect(url('/late'))).next()).toBe('late');
  });
});
