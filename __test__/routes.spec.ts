import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import type { WSRouteOptions, WSSocket } from '../index.js';
import { connect, refused } from './support/client.js';
import { queue } from './support/events.js';
import { answerTo, upgradeStatus } from './support/http.js';
import { CLOSE, frame, PING, rawConnect, rawUpgrade, TEXT, upgradeRequest } from './support/raw.js';
import { type ServeOptions, serve } from './support/server.js';

const echo = (socket: WSSocket) => socket.onMessage((data) => void socket.send(data));

/** A server with `/ws`, which has the plugin's options, and `/own`, which has some of its own. */
function serveBoth(own: WSRouteOptions, options: ServeOptions = {}) {
  return serve(options, ({ wsApp }) => {
    wsApp.ws('/ws', echo);
    wsApp.ws('/own', own, echo);
  });
}

/** The extensions that are agreed on with a client that offers compression, and its connection. */
async function offer(port: number, path: string) {
  const client = await rawConnect(port);
  client.write(upgradeRequest(path, { 'Sec-WebSocket-Extensions': 'permessage-deflate' }));
  const head = await client.head();
  return { client, answer: /^sec-websocket-extensions: (.*)$/im.exec(head)?.[1] ?? null };
}

const text = (length: number) => 'a'.repeat(length);

describe('a route of its own', () => {
  test('takes longer messages than others, and shorter ones', async () => {
    const { url } = await serve({ maxMessageSize: 100 }, ({ wsApp }) => {
      wsApp.ws('/ws', echo);
      wsApp.ws('/long', { maxMessageSize: 1000 }, echo);
      wsApp.ws('/short', { maxMessageSize: 10 }, echo);
    });
    for (const [path, most] of [
      ['/ws', 100],
      ['/long', 1000],
      ['/short', 10],
    ] as const) {
      const client = await connect(url(path));
      client.send(text(most));
      expect(await client.next()).toBe(text(most));
      client.send(text(most + 1));
      expect(await client.closed).toMatchObject({ code: 1009 });
    }
  });

  test('counts inflated messages against its size', async () => {
    const { url } = await serveBoth({ maxMessageSize: 1000 }, { perMessageDeflate: true });
    const client = await connect(url('/own'), { perMessageDeflate: { threshold: 0 } });
    client.send(text(1000));
    expect(await client.next()).toBe(text(1000));
    client.send(text(1001));
    expect(await client.closed).toMatchObject({ code: 1009 });
  });

  test('lets in other origins', async () => {
    const { port } = await serveBoth(
      { allowOrigins: ['https://own.example'] },
      { allowOrigins: ['https://all.example'] },
    );
    for (const [path, Origin, status] of [
      ['/ws', 'https://all.example', 101],
      ['/ws', 'https://own.example', 403],
      ['/own', 'https://own.example', 101],
      ['/own', 'https://all.example', 403],
    ] as const) {
      expect(await upgradeStatus(port, path, { Origin })).toBe(status);
    }
  });

  test('lets in all origins where its list is empty', async () => {
    const { port } = await serveBoth({ allowOrigins: [] }, { allowOrigins: ['https://a.example'] });
    expect(await upgradeStatus(port, '/own', { Origin: 'https://b.example' })).toBe(101);
    expect(await upgradeStatus(port, '/own')).toBe(101);
  });

  test('has regular expressions of its own, also those that only JavaScript can run', async () => {
    // A look-behind is nothing for linear time.
    const { port } = await serveBoth(
      { allowOrigins: [/(?<=own)\.example$/] },
      { allowOrigins: [/(?<=all)\.example$/] },
    );
    for (const [path, Origin, status] of [
      ['/ws', 'https://all.example', 101],
      ['/ws', 'https://own.example', 403],
      ['/own', 'https://own.example', 101],
      ['/own', 'https://all.example', 403],
    ] as const) {
      expect(await upgradeStatus(port, path, { Origin })).toBe(status);
    }
  });

  test('is verified by its own function only', async () => {
    const asked: string[] = [];
    const { port } = await serveBoth(
      {
        verifyClient: (req) => {
          asked.push(`own ${req.url}`);
          return true;
        },
      },
      {
        path: '/bare',
        verifyClient: (req) => {
          asked.push(`all ${req.url}`);
          return false;
        },
      },
    );
    expect(await upgradeStatus(port, '/own?1')).toBe(101);
    expect(await upgradeStatus(port, '/ws?2')).toBe(401);
    expect(await upgradeStatus(port, '/bare?3')).toBe(401);
    expect(asked).toEqual(['own /own?1', 'all /ws?2', 'all /bare?3']);
  });

  test('speaks subprotocols of its own', async () => {
    const { port } = await serve({ protocols: ['all'] }, ({ wsApp }) => {
      wsApp.ws('/ws', echo);
      wsApp.ws('/list', { protocols: ['b', 'a'] }, echo);
      wsApp.ws('/function', { protocols: (offered) => offered[2] ?? false }, echo);
    });
    for (const [path, protocol] of [
      ['/ws', 'all'],
      ['/list', 'b'],
      ['/function', 'c'],
    ] as const) {
      const client = await rawConnect(port);
      client.write(upgradeRequest(path, { 'Sec-WebSocket-Protocol': 'a, b, c, all' }));
      expect(await client.head()).toMatch(`\r\nSec-WebSocket-Protocol: ${protocol}`);
    }
  });

  test('compresses where others do not, and in its own way', async () => {
    const { port } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', echo);
      wsApp.ws('/own', { perMessageDeflate: { threshold: 10, serverMaxWindowBits: 9 } }, echo);
    });
    expect((await offer(port, '/ws')).answer).toBeNull();
    const { client, answer } = await offer(port, '/own');
    expect(answer).toContain('permessage-deflate');
    for (const [length, compressed] of [
      [9, false],
      [10, true],
    ] as const) {
      client.write(frame(TEXT, text(length)));
      expect((await client.frame()).rsv).toBe(compressed ? 4 : 0);
    }
  });

  test('may leave messages as they are where others compress', async () => {
    const { port } = await serveBoth({ perMessageDeflate: false }, { perMessageDeflate: true });
    expect((await offer(port, '/ws')).answer).toContain('permessage-deflate');
    expect((await offer(port, '/own')).answer).toBeNull();
  });

  test('is sent a broadcast in its own way, whoever else is', async () => {
    const { port, wsApp } = await serve({}, ({ wsApp }) => {
      const join = (socket: WSSocket) => {
        socket.join('all');
        socket.send('joined');
      };
      const own = { serverNoContextTakeover: true };
      wsApp.ws('/never', { perMessageDeflate: { ...own, threshold: 10_000 } }, join);
      wsApp.ws('/always', { perMessageDeflate: { ...own, threshold: 0, level: 9 } }, join);
      wsApp.ws('/fast', { perMessageDeflate: { ...own, threshold: 0, level: 1 } }, join);
      wsApp.ws('/plain', join);
    });
    const clients = [];
    for (const path of ['/never', '/always', '/fast', '/plain']) {
      const { client } = await offer(port, path);
      await client.frame();
      clients.push(client);
    }
    wsApp.wsBroadcast(text(1000), 'all');
    const frames = await Promise.all(clients.map((client) => client.frame()));
    expect(frames.map(({ rsv }) => rsv)).toEqual([0, 4, 4, 0]);
  });

  test('has a heartbeat of its own, or none', async () => {
    const { url } = await serve({ heartbeatMs: 20 }, ({ wsApp }) => {
      wsApp.ws('/ws', echo);
      wsApp.ws('/often', { heartbeatMs: 15 }, echo);
      wsApp.ws('/never', { heartbeatMs: 0 }, echo);
    });
    const never = await connect(url('/never'));
    let pings = 0;
    never.ws.on('ping', () => pings++);
    for (const path of ['/ws', '/often']) {
      const client = await connect(url(path));
      for (let seen = 0; seen < 5; seen++) await once(client.ws, 'ping');
    }
    never.send('no ping before this');
    await never.next();
    expect(pings).toBe(0);
  });

  test('has a heartbeat where others have none, which ends who does not answer', async () => {
    const { port } = await serveBoth({ heartbeatMs: 15 }, { heartbeatMs: 0, pongTimeoutMs: 40 });
    const silent = await rawUpgrade(port, '/own');
    let opcode = PING;
    while (opcode === PING) ({ opcode } = await silent.frame());
    expect(opcode).toBe(CLOSE);
  });

  test('runs its middleware after that of all routes, and before its handler', async () => {
    const order: string[] = [];
    const through = (name: string) => (socket: WSSocket, _req: unknown, next: () => void) => {
      order.push(`${name} ${socket.url}`);
      next();
    };
    const { url, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/own', { use: [through('first'), through('second')] }, (socket) => {
        order.push('handler');
        socket.send('ready');
      });
      wsApp.ws('/ws', (socket) => void socket.send('ready'));
      wsApp.wsUse(through('all'));
    });
    expect(await (await connect(url('/own'))).next()).toBe('ready');
    expect(order).toEqual(['all /own', 'first /own', 'second /own', 'handler']);
    expect(await (await connect(url('/ws'))).next()).toBe('ready');
    expect(order.slice(4)).toEqual(['all /ws']);
    expect(plugin.getStats().handlers).toBe(2);
  });

  test('is refused by its middleware for its own connections only', async () => {
    const { url } = await serveBoth({ use: [(socket) => socket.close(1008, 'not here')] });
    expect(await (await connect(url('/own'))).closed).toEqual({ code: 1008, reason: 'not here' });
    const client = await connect(url('/ws'));
    client.send('served');
    expect(await client.next()).toBe('served');
  });

  test('keeps what it was told, whatever becomes of the object', async () => {
    const use = [(socket: WSSocket) => socket.close(4000)];
    const options: WSRouteOptions = { use, verifyClient: () => false, allowOrigins: [/^a$/] };
    const { port } = await serveBoth(options);
    use.length = 0;
    options.verifyClient = () => true;
    options.allowOrigins?.splice(0);
    expect(await upgradeStatus(port, '/own', { Origin: 'a' })).toBe(401);
  });

  test('has the options of the plugin where it has none, or they are undefined', async () => {
    const own = { maxMessageSize: undefined, verifyClient: undefined, use: undefined };
    const { url, port } = await serve({ maxMessageSize: 10 }, ({ wsApp }) => {
      wsApp.ws('/own', own, echo);
      wsApp.ws('/none', undefined, echo);
      wsApp.ws('/empty', {}, echo);
    });
    for (const path of ['/own', '/none', '/empty']) {
      const client = await connect(url(path));
      client.send(text(11));
      expect(await client.closed).toMatchObject({ code: 1009 });
    }
    expect(await upgradeStatus(port, '/empty')).toBe(101);
  });
});

describe('maxConnections of a route', () => {
  test('counts its own connections, which count for the plugin as well', async () => {
    const { url, port, plugin } = await serveBoth({ maxConnections: 1 }, { maxConnections: 3 });
    const ended = queue<number>();
    plugin.on('close', (_socket, code) => ended.push(code));
    const first = await connect(url('/own'));
    const refusal = await refused(url('/own'));
    expect(refusal).toMatchObject({ status: 503, statusText: 'Service Unavailable' });
    expect(refusal.body).toContain('on this route');
    await connect(url('/ws'));
    await connect(url('/ws'));
    expect((await refused(url('/ws'))).body).toContain('maxConnections is reached');
    expect(plugin.getStats().rejected).toMatchObject({ limit: 2 });
    first.close();
    await ended.next();
    await first.closed;
    await connect(url('/own'));
    expect(await upgradeStatus(port, '/own')).toBe(503);
  });

  test('lets a client in that comes back at once, again and again', async () => {
    const { url, plugin } = await serveBoth({ maxConnections: 1 });
    const ended = queue<number>();
    plugin.on('close', (_socket, code) => ended.push(code));
    for (let turn = 0; turn < 5; turn++) {
      const client = await connect(url('/own'));
      client.close();
      await ended.next();
      await client.closed;
    }
  });

  test('counts those that are being verified, until they are refused or have left', async () => {
    const verdicts = queue<(verdict: boolean) => void>();
    const { port, plugin } = await serveBoth({
      maxConnections: 1,
      verifyClient: () => new Promise((resolve) => verdicts.push(resolve)),
    });
    const answer = answerTo(port, upgradeRequest('/own'));
    const refuse = await verdicts.next();
    expect(await upgradeStatus(port, '/own')).toBe(503);
    expect(await upgradeStatus(port, '/ws')).toBe(101);
    refuse(false);
    expect(await answer).toMatchObject({ status: 401 });
    const second = rawUpgrade(port, '/own');
    (await verdicts.next())(true);
    await second;
    expect(await upgradeStatus(port, '/own')).toBe(503);
    expect(plugin.getStats().rejected).toMatchObject({ limit: 2, unauthorized: 1 });
  });

  test('counts from nothing after the plugin has been cleaned up and serves again', async () => {
    const { plugin, server, app } = await serveBoth({ maxConnections: 1 });
    const portOfServer = () => (server.address() as AddressInfo).port;
    const first = await rawUpgrade(portOfServer(), '/own');
    const closed = new Promise((resolve) => server.close(resolve));
    await first.end();
    await plugin.cleanup();
    await closed;
    expect(plugin.getStats().totalConnections).toBe(0);
    app.listen(0, '127.0.0.1');
    if (!server.listening) await once(server, 'listening');
    await rawUpgrade(portOfServer(), '/own');
    expect(await upgradeStatus(portOfServer(), '/own')).toBe(503);
  });

  test('of 0 lets nobody in', async () => {
    const { port } = await serveBoth({ maxConnections: 0 });
    expect(await upgradeStatus(port, '/own')).toBe(503);
    expect(await upgradeStatus(port, '/ws')).toBe(101);
  });
});

test('a route added while there are connections counts its own from then on', async () => {
  const { url, port, wsApp } = await serve({}, ({ wsApp }) => void wsApp.ws('/ws', echo));
  await connect(url('/ws'));
  wsApp.ws('/later', { maxConnections: 1 }, echo);
  await connect(url('/later'));
  expect(await upgradeStatus(port, '/later')).toBe(503);
});

describe('ws', () => {
  const never = () => {};

  test.each<[string, unknown[], RegExp]>([
    ['no handler', ['/x'], /^ws: handler must be a function, got undefined$/],
    ['options only', ['/x', {}], /^ws: handler must be a function, got an object$/],
    ['middleware', ['/x', never, never], /^ws: options must be .*option "use" for one route$/],
    ['null', ['/x', null, never], /^ws: options must be an object, got null$/],
    ['an array', ['/x', [never], never], /^ws: options must be an object, got an array$/],
    ['a handler that is none', ['/x', {}, 1], /^ws: handler must be a function, got 1$/],
    ['too much', ['/x', {}, never, never], /^ws takes \(path, options, handler\), got 4 arguments/],
    ['a path that is none', [1, {}, never], /^ws: path must be a string, got 1$/],
    [
      'an option of the plugin',
      ['/x', { path: '/y' }, never],
      /^ws: unknown option "path"; accepted are "heartbeatMs", .*"use"$/,
    ],
    ['a slip', ['/x', { heartbeatMS: 1 }, never], /did you mean "heartbeatMs"\?$/],
    [
      'a size that is a text',
      ['/x', { maxMessageSize: '1' }, never],
      /^ws: option "maxMessageSize" must be a whole number of bytes from 1 to \d+, got "1"$/,
    ],
    [
      'middleware that is none',
      ['/x', { use: [never, 1] }, never],
      /^ws: option "use" must be an array of functions, got 1 at index 1$/,
    ],
    ['one middleware', ['/x', { use: never }, never], /must be an array of functions, got a func/],
    [
      'an origin that is none',
      ['/x', { allowOrigins: ['example'] }, never],
      /^ws: option "allowOrigins": /,
    ],
    [
      'a parameter of compression',
      ['/x', { perMessageDeflate: { level: true } }, never],
      /^ws: option "perMessageDeflate\.level" must be /,
    ],
  ])('refuses %s', async (_name, args, message) => {
    const { wsApp, plugin } = await serve();
    const act = () => (wsApp.ws as (...args: unknown[]) => unknown)(...args);
    expect(act).toThrow(TypeError);
    expect(act).toThrow(message);
    expect(plugin.getStats().handlers).toBe(0);
  });

  test.each<[WSRouteOptions]>([
    [{ maxMessageSize: 0 }],
    [{ heartbeatMs: -1 }],
    [{ maxConnections: 0.5 }],
    [{ perMessageDeflate: { level: 10 } }],
  ])('refuses %j, which is out of range', async (options) => {
    const { wsApp } = await serve();
    expect(() => wsApp.ws('/x', options, never)).toThrow(RangeError);
    // It has not been added.
    wsApp.ws('/x', never);
  });

  test('adds what getters add, each with its own options', async () => {
    const { url } = await serve({}, ({ wsApp }) => {
      const options = {
        get maxMessageSize() {
          if (!added) {
            added = true;
            wsApp.ws('/inner', { maxMessageSize: 20 }, (socket) => void socket.send('inner'));
          }
          return 10;
        },
      };
      let added = false;
      wsApp.ws('/outer', options, (socket) => void socket.send('outer'));
    });
    for (const [path, most] of [
      ['inner', 20],
      ['outer', 10],
    ] as const) {
      const client = await connect(url(`/${path}`));
      expect(await client.next()).toBe(path);
      client.send(text(most + 1));
      expect(await client.closed).toMatchObject({ code: 1009 });
    }
  });
});
