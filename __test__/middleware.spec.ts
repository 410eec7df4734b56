import type { IncomingMessage } from 'node:http';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { WSConnection, WSMiddleware } from '../index.js';
import { connect, refused } from './support/client.js';
import { stderr } from './support/console.js';
import { deferred, queue } from './support/events.js';
import { CLOSE, closePayload, frame, rawUpgrade, TEXT } from './support/raw.js';
import { serve } from './support/server.js';

afterEach(() => {
  vi.restoreAllMocks();
});

/** What middleware of an application attaches to a connection. */
type UserSocket = WSConnection & { user?: { id: number; name: string } };

/** A server with these middleware and one handler on /ws, and a record of what was run and reported. */
async function serveWith(
  middleware: WSMiddleware[],
  {
    handler = (socket) => socket.send('handled'),
    handshakeTimeoutMs,
  }: { handler?: (socket: WSConnection) => void | Promise<void>; handshakeTimeoutMs?: number } = {},
) {
  const handled = vi.fn(handler);
  const errors = queue<[error: Error, socket: WSConnection | undefined]>();
  const ended = queue<[code: number, reason: string]>();
  const served = await serve({ handshakeTimeoutMs }, ({ wsApp, plugin }) => {
    for (const one of middleware) wsApp.wsUse(one);
    wsApp.ws('/ws', handled);
    wsApp.ws('/echo', (socket) => socket.onMessage((data) => socket.send(data)));
    plugin.on('error', (error, socket) => errors.push([error, socket]));
    plugin.on('close', (_socket, code, reason) => ended.push([code, reason]));
  });
  return { ...served, handled, errors, ended };
}

const passing: WSMiddleware = (_socket, _req, next) => next();

describe('the chain', () => {
  test('runs in the order of wsUse, then the handler', async () => {
    const order: string[] = [];
    const note = (name: string): WSMiddleware => {
      return (_socket, _req, next) => {
        order.push(name);
        next();
      };
    };
    const { url } = await serveWith([note('first'), note('second'), note('third')], {
      handler: (socket) => {
        order.push('handler');
        socket.send('handled');
      },
    });
    const client = await connect(url());
    expect(await client.next()).toBe('handled');
    expect(order).toEqual(['first', 'second', 'third', 'handler']);
  });

  test('waits for async middleware, however long each of them takes', async () => {
    const order: string[] = [];
    const gates = [deferred(), deferred()];
    const slow = (index: number): WSMiddleware => {
      return async (_socket, _req, next) => {
        order.push(`${index} begins`);
        await gates[index]?.promise;
        order.push(`${index} goes on`);
        next();
      };
    };
    const { url, handled } = await serveWith([slow(0), passing, slow(1)]);
    const client = await connect(url());
    expect(order).toEqual(['0 begins']);
    gates[1]?.resolve();
    expect(handled).not.toHaveBeenCalled();
    gates[0]?.resolve();
    expect(await client.next()).toBe('handled');
    expect(order).toEqual(['0 begins', '0 goes on', '1 begins', '1 goes on']);
  });

  test('runs for every route, and with middleware that is added while the server listens', async () => {
    const seen = queue<string>();
    const { url, wsApp } = await serveWith([]);
    await connect(url('/ws'));
    wsApp.wsUse((socket, _req, next) => {
      seen.push(socket.url);
      next();
    });
    await connect(url('/echo'));
    await connect(url('/ws'));
    expect([await seen.next(), await seen.next()]).toEqual(['/echo', '/ws']);
  });

  test('runs apart for connections that come at the same time', async () => {
    const waiting = queue<[url: string, next: () => void]>();
    const { url } = await serveWith([(socket, _req, next) => waiting.push([socket.url, next])]);
    const clients = new Map<string, Awaited<ReturnType<typeof connect>>>();
    for (const path of ['/ws?a', '/ws?b', '/ws?c']) clients.set(path, await connect(url(path)));
    const all = [await waiting.next(), await waiting.next(), await waiting.next()];
    for (const [path, next] of all.reverse()) {
      next();
      expect(await clients.get(path)?.next()).toBe('handled');
    }
  });

  test('goes on when next() is called after the middleware has returned', async () => {
    const nexts = queue<() => void>();
    const { url, handled, errors } = await serveWith([(_socket, _req, next) => nexts.push(next)]);
    const client = await connect(url());
    const next = await nexts.next();
    expect(handled).not.toHaveBeenCalled();
    setImmediate(next);
    expect(await client.next()).toBe('handled');
    expect(errors.waiting).toEqual([]);
  });

  test('goes on when next() is called after an async middleware has resolved', async () => {
    const nexts = queue<() => void>();
    const { url, errors } = await serveWith([
      async (_socket, _req, next) => {
        nexts.push(next);
      },
    ]);
    const client = await connect(url());
    const next = await nexts.next();
    setImmediate(next);
    expect(await client.next()).toBe('handled');
    expect(errors.waiting).toEqual([]);
  });

  test('counts only the first next() of a middleware', async () => {
    const nexts = queue<() => void>();
    const second = vi.fn(passing);
    const { url, handled } = await serveWith([
      (_socket, _req, next) => {
        next();
        next();
        nexts.push(next);
      },
      second,
    ]);
    const client = await connect(url());
    expect(await client.next()).toBe('handled');
    (await nexts.next())();
    const marker = await connect(url());
    expect(await marker.next()).toBe('handled');
    expect(second).toHaveBeenCalledTimes(2);
    expect(handled).toHaveBeenCalledTimes(2);
    expect(client.waiting).toEqual([]);
  });

  test('a second next() does not skip a middleware that is still at work', async () => {
    const gate = deferred();
    const { url, handled } = await serveWith([
      (_socket, _req, next) => {
        next();
        next();
      },
      async (_socket, _req, next) => {
        await gate.promise;
        next();
      },
    ]);
    const client = await connect(url());
    expect(handled).not.toHaveBeenCalled();
    gate.resolve();
    expect(await client.next()).toBe('handled');
    expect(handled).toHaveBeenCalledOnce();
  });

  test('of a connection with nothing but middleware ends without a handler', async () => {
    const seen = queue<string>();
    const { url, plugin } = await serve({ path: '/live' }, ({ wsApp }) => {
      wsApp.wsUse((socket, _req, next) => {
        socket.send('hello');
        next();
        seen.push('next() returned');
      });
    });
    const client = await connect(url('/live'));
    expect(await client.next()).toBe('hello');
    expect(await seen.next()).toBe('next() returned');
    expect(plugin.getStats().totalConnections).toBe(1);
  });

  test('does not run where the upgrade is refused', async () => {
    const middleware = vi.fn(passing);
    const { url } = await serve({ verifyClient: () => false }, ({ wsApp }) => {
      wsApp.wsUse(middleware);
    });
    expect(await refused(url())).toMatchObject({ status: 401 });
    expect(middleware).not.toHaveBeenCalled();
  });
});

describe('closing in middleware', () => {
  test('ends the chain quietly: no error, no handler, and the client sees why', async () => {
    const second = vi.fn(passing);
    const print = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { url, handled, errors, ended } = await serveWith([
      (socket) => socket.close(1008, 'Authentication required'),
      second,
    ]);
    const client = await connect(url());
    expect(await client.closed).toEqual({ code: 1008, reason: 'Authentication required' });
    expect(await ended.next()).toEqual([1008, 'Authentication required']);
    expect(second).not.toHaveBeenCalled();
    expect(handled).not.toHaveBeenCalled();
    expect(errors.waiting).toEqual([]);
    expect(print).not.toHaveBeenCalled();
  });

  test('ends it as quietly after a wait', async () => {
    const { url, handled, errors } = await serveWith([
      async (socket) => {
        await Promise.resolve();
        socket.close(1008, 'Invalid token');
      },
    ]);
    const client = await connect(url());
    expect(await client.closed).toEqual({ code: 1008, reason: 'Invalid token' });
    expect(handled).not.toHaveBeenCalled();
    expect(errors.waiting).toEqual([]);
  });

  test('wins over a next() that is called all the same', async () => {
    const { url, handled, errors } = await serveWith([
      (socket, _req, next) => {
        socket.close(1008, 'no');
        next();
      },
    ]);
    const client = await connect(url());
    expect(await client.closed).toEqual({ code: 1008, reason: 'no' });
    expect(handled).not.toHaveBeenCalled();
    expect(errors.waiting).toEqual([]);
  });

  test('sends what middleware has sent before', async () => {
    const { url } = await serveWith([
      (socket) => {
        socket.send('{"error":"unauthorized"}');
        socket.close(4401, 'unauthorized');
      },
    ]);
    const client = await connect(url());
    expect(await client.next()).toBe('{"error":"unauthorized"}');
    expect(await client.closed).toEqual({ code: 4401, reason: 'unauthorized' });
  });

  test('tells an onClose listener of the middleware before it', async () => {
    const codes = queue<number>();
    const { url } = await serveWith([
      (socket, _req, next) => {
        socket.onClose((code) => codes.push(code));
        next();
      },
      (socket) => socket.close(4000),
    ]);
    await connect(url());
    expect(await codes.next()).toBe(4000);
  });
});

describe('middleware that never calls next()', () => {
  test.each<[string, WSMiddleware]>([
    ['returns', () => {}],
    ['resolves', async () => {}],
    ['waits for ever', () => new Promise(() => {})],
  ])('and %s leaves the handler unrun and ends with 1008', async (_name, middleware) => {
    const { url, handled, errors, ended } = await serveWith([passing, middleware], {
      handshakeTimeoutMs: 50,
    });
    const client = await connect(url());
    expect(await client.closed).toMatchObject({ code: 1008 });
    expect(await ended.next()).toMatchObject([1008, expect.any(String)]);
    expect(handled).not.toHaveBeenCalled();
    expect(errors.waiting).toEqual([]);
  });

  test('cannot have the handler run by a next() after the limit', async () => {
    const nexts = queue<() => void>();
    const { url, handled } = await serveWith([(_socket, _req, next) => nexts.push(next)], {
      handshakeTimeoutMs: 50,
    });
    const client = await connect(url());
    expect(await client.closed).toMatchObject({ code: 1008 });
    (await nexts.next())();
    expect(handled).not.toHaveBeenCalled();
  });

  test('has no limit to fear once the handler runs, which may take as long as it likes', async () => {
    const gate = deferred();
    const { url } = await serveWith([passing], {
      handshakeTimeoutMs: 30,
      handler: async (socket) => {
        await gate.promise;
        socket.send('handled');
      },
    });
    const slow = await connect(url());
    // Another connection's limit passes in the meantime.
    const stuck = await serveWith([() => {}], { handshakeTimeoutMs: 60 });
    await (await connect(stuck.url())).closed;
    gate.resolve();
    expect(await slow.next()).toBe('handled');
  });

  test('frees its place when the client leaves first', async () => {
    const { url, ended, handled, errors } = await serveWith([() => {}]);
    const client = await connect(url());
    client.close(4005, 'enough');
    expect(await ended.next()).toEqual([4005, 'enough']);
    expect(handled).not.toHaveBeenCalled();
    expect(errors.waiting).toEqual([]);
  });
});

describe('what throws or rejects', () => {
  const mine = new Error('the application is wrong');
  const thrown = () => {
    throw mine;
  };
  const rejected = async () => {
    await Promise.resolve();
    throw mine;
  };
  const late: WSMiddleware = async (_socket, _req, next) => {
    next();
    throw mine;
  };

  test.each<[string, WSMiddleware]>([
    ['throws', thrown],
    ['rejects', rejected],
  ])(
    'middleware that %s closes with 1011 and is reported with its connection',
    async (_name, middleware) => {
      const { url, handled, errors, ended, plugin } = await serveWith([passing, middleware]);
      const sockets = queue<WSConnection>();
      plugin.on('connection', sockets.push);
      const client = await connect(url());
      expect(await client.closed).toMatchObject({ code: 1011 });
      expect(await errors.next()).toEqual([mine, await sockets.next()]);
      expect(await ended.next()).toMatchObject([1011, expect.any(String)]);
      expect(handled).not.toHaveBeenCalled();
      expect(errors.waiting).toEqual([]);
    },
  );

  test.each<[string, () => void | Promise<void>]>([
    ['throws', thrown],
    ['rejects', rejected],
  ])(
    'a handler that %s closes with 1011 and is reported with its connection',
    async (_name, handler) => {
      const { url, errors, plugin } = await serveWith([], { handler });
      const sockets = queue<WSConnection>();
      plugin.on('connection', sockets.push);
      const client = await connect(url());
      expect(await client.closed).toMatchObject({ code: 1011 });
      expect(await errors.next()).toEqual([mine, await sockets.next()]);
      expect(errors.waiting).toEqual([]);
    },
  );

  test('middleware that rejects after next() closes with 1011 and is reported once', async () => {
    const { url, errors, handled } = await serveWith([late]);
    const client = await connect(url());
    expect(await client.closed).toMatchObject({ code: 1011 });
    expect(await errors.next()).toMatchObject([mine, {}]);
    expect(handled).toHaveBeenCalledOnce();
    expect(errors.waiting).toEqual([]);
  });

  test('the process and everyone else go on', async () => {
    const { url } = await serveWith([
      (_socket, req, next) => {
        if (req.url?.includes('bad')) throw mine;
        next();
      },
    ]);
    const good = await connect(url('/echo'));
    const bad = await connect(url('/echo?bad'));
    expect(await bad.closed).toMatchObject({ code: 1011 });
    good.send('still here');
    expect(await good.next()).toBe('still here');
  });

  test('the client is told nothing about the error', async () => {
    const { url } = await serveWith([thrown]);
    const client = await connect(url());
    expect((await client.closed).reason).not.toContain(mine.message);
  });

  test('is told to the application as plugin:WebSocketPlugin:error', async () => {
    const told = queue<unknown[]>();
    const { url } = await serve({}, ({ app, wsApp }) => {
      wsApp.wsUse(thrown);
      app.on('plugin:WebSocketPlugin:error', (...args) => told.push(args));
    });
    await connect(url());
    expect(await told.next()).toMatchObject([mine, { url: '/ws' }]);
  });

  test('is printed to stderr where nobody listens', async () => {
    const printed = stderr();
    const { url } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', rejected);
    });
    const client = await connect(url());
    expect(await client.closed).toMatchObject({ code: 1011 });
    expect(await printed.next()).toContain(mine);
    expect(printed.waiting).toEqual([]);
  });

  test.each<[string, unknown]>([
    ['a text', 'just a text'],
    ['undefined', undefined],
    ['null', null],
    ['an object without a prototype', Object.create(null)],
  ])('need not be an Error: %s is reported as one', async (_name, value) => {
    const { url, errors } = await serveWith([
      () => {
        throw value;
      },
    ]);
    const client = await connect(url());
    expect(await client.closed).toMatchObject({ code: 1011 });
    const [error] = await errors.next();
    expect(error).toBeInstanceOf(Error);
    expect(error.cause).toBe(value);
  });

  test('may even be the error listener', async () => {
    const printed = stderr();
    const { url, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.wsUse((_socket, req, next) => {
        if (req.url === '/ws?bad') throw mine;
        next();
      });
    });
    plugin.on('error', () => {
      throw new Error('the listener is wrong too');
    });
    const bad = await connect(url('/ws?bad'));
    expect(await bad.closed).toMatchObject({ code: 1011 });
    expect(String(await printed.next())).toContain('the listener is wrong too');
    await connect(url());
  });
});

describe('the connection and the request', () => {
  test('are the same objects at every stage, with what was attached to them', async () => {
    const seen: [string, UserSocket, IncomingMessage?][] = [];
    const ended = deferred();
    const { url } = await serve({}, ({ wsApp, plugin }) => {
      plugin.on('connection', (socket, req) => {
        seen.push(['connection event', socket, req]);
      });
      wsApp.wsUse((socket, req, next) => {
        (socket as UserSocket).user = { id: 7, name: 'Ada' };
        seen.push(['first middleware', socket, req]);
        next();
      });
      wsApp.wsUse(async (socket, req, next) => {
        await Promise.resolve();
        seen.push(['second middleware', socket, req]);
        next();
      });
      wsApp.ws('/ws', (socket, req) => {
        seen.push(['handler', socket, req]);
        const { user } = socket as UserSocket;
        socket.onMessage(() => socket.send(`I am ${user?.name}`));
        socket.onClose(() => seen.push(['onClose', socket]));
      });
      plugin.on('close', (socket) => {
        seen.push(['close event', socket]);
        ended.resolve();
      });
    });
    const client = await connect(url('/ws?token=x'));
    client.send('Who are you?');
    expect(await client.next()).toBe('I am Ada');
    client.close();
    await ended.promise;
    expect(seen.map(([stage]) => stage)).toEqual([
      'connection event',
      'first middleware',
      'second middleware',
      'handler',
      'onClose',
      'close event',
    ]);
    expect(new Set(seen.map(([, socket]) => socket)).size).toBe(1);
    const requests = seen.flatMap(([, , req]) => req ?? []);
    expect(requests).toHaveLength(4);
    expect(new Set(requests).size).toBe(1);
    expect(requests[0]).toMatchObject({ url: '/ws?token=x', method: 'GET' });
  });

  test('what one connection carries is no other’s', async () => {
    const { url } = await serve({}, ({ wsApp }) => {
      wsApp.wsUse((socket, req, next) => {
        if (req.url === '/ws?ada') (socket as UserSocket).user = { id: 1, name: 'Ada' };
        next();
      });
      wsApp.ws('/ws', (socket) => socket.send((socket as UserSocket).user?.name ?? 'nobody'));
    });
    const ada = await connect(url('/ws?ada'));
    expect(await ada.next()).toBe('Ada');
    ada.close();
    await ada.closed;
    expect(await (await connect(url('/ws'))).next()).toBe('nobody');
  });

  test('the request tells both ends of the connection, also after the hand-off', async () => {
    const seen = queue<Record<string, unknown>>();
    const look = (stage: string, { socket }: IncomingMessage) => {
      const { remoteAddress, remotePort, remoteFamily, localAddress, localPort } = socket;
      seen.push({ stage, remoteAddress, remotePort, remoteFamily, localAddress, localPort });
    };
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.wsUse(async (_socket, req, next) => {
        look('middleware', req);
        await new Promise((resolve) => setImmediate(resolve));
        look('middleware, later', req);
        next();
      });
      wsApp.ws('/ws', (socket, req) => {
        look('handler', req);
        socket.onMessage(() => look('message', req));
        socket.onClose(() => look('close', req));
      });
    });
    const client = await rawUpgrade(port);
    const { localPort: remotePort } = client.socket;
    client.write(Buffer.concat([frame(TEXT, 'look'), frame(CLOSE, closePayload(1000))]));
    for (const stage of ['middleware', 'middleware, later', 'handler', 'message', 'close']) {
      expect(await seen.next()).toEqual({
        stage,
        remoteAddress: '127.0.0.1',
        remotePort,
        remoteFamily: 'IPv4',
        localAddress: '127.0.0.1',
        localPort: port,
      });
    }
  });
});

describe('the middleware of the reference', () => {
  const verifyJWT = async (token: string) => {
    if (token !== 'good') throw new Error('invalid token');
    return { id: 1, name: 'Ada' };
  };

  test('authenticates', async () => {
    const { url, errors } = await serveWith(
      [
        async (socket, req, next) => {
          const url = new URL(req.url || '', 'http://localhost');
          const token = url.searchParams.get('token');
          if (!token) {
            socket.close(1008, 'Authentication required');
            return;
          }
          try {
            const user = await verifyJWT(token);
            (socket as UserSocket).user = user;
            next();
          } catch {
            socket.close(1008, 'Invalid token');
          }
        },
      ],
      { handler: (socket) => socket.send(`Hello ${(socket as UserSocket).user?.name}`) },
    );
    const nobody = await connect(url('/ws'));
    expect(await nobody.closed).toEqual({ code: 1008, reason: 'Authentication required' });
    const stranger = await connect(url('/ws?token=bad'));
    expect(await stranger.closed).toEqual({ code: 1008, reason: 'Invalid token' });
    const ada = await connect(url('/ws?token=good'));
    expect(await ada.next()).toBe('Hello Ada');
    expect(errors.waiting).toEqual([]);
  });

  test('logs', async () => {
    const lines: string[] = [];
    const ids = queue<string>();
    const { url } = await serveWith(
      [
        (socket, req, next) => {
          lines.push(`WebSocket connection: ${socket.id} from ${req.socket.remoteAddress}`);
          next();
        },
      ],
      { handler: (socket) => ids.push(socket.id) },
    );
    await connect(url());
    expect(lines).toEqual([`WebSocket connection: ${await ids.next()} from 127.0.0.1`]);
  });

  test('limits the rate', async () => {
    const counts = new Map<string | undefined, number>();
    const { url } = await serveWith([
      (socket, req, next) => {
        const count = counts.get(req.socket.remoteAddress) || 0;
        if (count >= 3) {
          socket.close(1008, 'Rate limit exceeded');
          return;
        }
        counts.set(req.socket.remoteAddress, count + 1);
        next();
      },
    ]);
    for (let count = 0; count < 3; count++) {
      expect(await (await connect(url())).next()).toBe('handled');
    }
    const fourth = await connect(url());
    expect(await fourth.closed).toEqual({ code: 1008, reason: 'Rate limit exceeded' });
    expect(counts.get('127.0.0.1')).toBe(3);
  });
});

describe('wsUse()', () => {
  test.each<[unknown, string]>([
    [undefined, 'undefined'],
    [null, 'null'],
    [{}, 'an object'],
    ['auth', '"auth"'],
  ])('refuses %o with a TypeError', async (middleware, shown) => {
    const { wsApp } = await serve();
    const act = () => wsApp.wsUse(middleware as WSMiddleware);
    expect(act).toThrow(TypeError);
    expect(act).toThrow(new RegExp(`middleware must be a function, got .*${shown}`));
  });

  test('returns the application', async () => {
    const { app, wsApp } = await serve();
    expect(wsApp.wsUse(passing)).toBe(app);
  });
});
