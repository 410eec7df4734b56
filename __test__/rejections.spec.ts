import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { WSRefusal } from '../index.js';
import { connect } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { type Answer, answerOf, answerTo, parseResponse, upgradeStatus } from './support/http.js';
import {
  BINARY,
  CLOSE,
  closePayload,
  frame,
  rawConnect,
  rawUpgrade,
  rawUpgradeOncePossible,
  upgradeRequest,
} from './support/raw.js';
import { serve } from './support/server.js';
import { adopts } from './support/transport.js';

afterEach(() => {
  vi.restoreAllMocks();
});

/** What every rejection has in common. That it was read at all means that the connection ended. */
function expectRejection(answer: Answer, status: number, statusText: string): void {
  expect(answer).toMatchObject({ status, statusText });
  expect(answer.headers['content-length']).toBe(String(Buffer.byteLength(answer.body)));
  expect(answer.headers['content-type']).toMatch(/^text\/plain/);
  expect(String(answer.headers.connection).split(/, */)).toContain('close');
  expect(answer.body).not.toBe('');
}

const never = () => new Promise<boolean>(() => {});

describe('the handshake', () => {
  test.each<[string, Record<string, string | undefined>, RegExp]>([
    ['no key', { 'Sec-WebSocket-Key': undefined }, /Sec-WebSocket-Key is missing/],
    ['an empty key', { 'Sec-WebSocket-Key': '' }, /Sec-WebSocket-Key is ""/],
    ['a key that is no base64', { 'Sec-WebSocket-Key': 'not base64!' }, /"not base64!"/],
    [
      'a key of 15 bytes',
      { 'Sec-WebSocket-Key': Buffer.alloc(15).toString('base64') },
      /Sec-WebSocket-Key is/,
    ],
    [
      'a key of 17 bytes',
      { 'Sec-WebSocket-Key': Buffer.alloc(17).toString('base64') },
      /Sec-WebSocket-Key is/,
    ],
    ['no version', { 'Sec-WebSocket-Version': undefined }, /Sec-WebSocket-Version is missing/],
    ['a list of no subprotocols', { 'Sec-WebSocket-Protocol': ',' }, /Sec-WebSocket-Protocol/],
    ['no extension', { 'Sec-WebSocket-Extensions': ',' }, /Sec-WebSocket-Extensions/],
    ['no host', { Host: undefined }, /^header Host is missing: accepted is one host/],
    ['an empty host', { Host: '' }, /^header Host is "": accepted is one host/],
    ['two hosts in one line', { Host: 'a, b' }, /^header Host is "a, b"/],
    ['a host with a user', { Host: 'user@a' }, /^header Host is "user@a"/],
    ['a host with a scheme', { Host: 'http://a' }, /^header Host is "http:\/\/a"/],
    ['a host with a path', { Host: 'a/b' }, /^header Host is "a\/b"/],
    ['a port that is no number', { Host: 'a:b' }, /^header Host is "a:b"/],
    ['a port that is too large', { Host: 'a:65536' }, /^header Host is "a:65536"/],
    ['an IPv6 address without brackets', { Host: '::1' }, /^header Host is "::1"/],
    ['a subprotocol named twice', { 'Sec-WebSocket-Protocol': 'a, a' }, /Sec-WebSocket-Protocol/],
  ])('with %s gets 400 and the reason', async (_name, headers, reason) => {
    const { port, plugin } = await serve();
    const answer = await answerTo(port, upgradeRequest('/ws', headers));
    expectRejection(answer, 400, 'Bad Request');
    expect(answer.body).toMatch(reason);
    expect(plugin.getStats().rejected).toMatchObject({ badRequest: 1 });
  });

  test.each(['Host: 127.0.0.1', 'host: 127.0.0.1', 'HOST: evil.example', 'Host:'])(
    'with a second line %j gets 400 and the reason',
    async (line) => {
      const { port } = await serve();
      const request = upgradeRequest('/ws').replace('Upgrade:', `${line}\r\nUpgrade:`);
      const answer = await answerTo(port, request);
      expectRejection(answer, 400, 'Bad Request');
      expect(answer.body).toMatch(/^header Host occurs 2 times: accepted is one host/);
    },
  );

  test.each([
    'example.com',
    'example.com:8080',
    'example.com:',
    '[::1]:443',
    'my_host',
    'a%20b',
    'HOST.example',
  ])('with the host %s is accepted', async (host) => {
    const { port } = await serve();
    expect(await upgradeStatus(port, '/ws', { Host: host })).toBe(101);
  });

  test('over HTTP/1.0 gets 400', async () => {
    const { port } = await serve();
    const answer = await answerTo(port, upgradeRequest('/ws', {}, { version: '1.0' }));
    expectRejection(answer, 400, 'Bad Request');
    expect(answer.body).toContain('HTTP/1.0');
  });

  test('by HEAD gets 405 without the body, whose length is told all the same', async () => {
    const { port, plugin } = await serve();
    const answer = await answerTo(port, upgradeRequest('/ws', {}, { method: 'HEAD' }));
    expect(answer).toMatchObject({ status: 405, headers: { allow: 'GET' }, body: '' });
    expect(Number(answer.headers['content-length'])).toBeGreaterThan(0);
    expect(plugin.getStats().rejected).toMatchObject({ method: 1 });
    const elsewhere = await answerTo(port, upgradeRequest('/nowhere', {}, { method: 'HEAD' }));
    expect(elsewhere).toMatchObject({ status: 404, body: '' });
  });

  test.each(['POST', 'PUT', 'OPTIONS'])('by %s gets 405', async (method) => {
    const { port, plugin } = await serve();
    const answer = await answerTo(port, upgradeRequest('/ws', {}, { method }));
    expectRejection(answer, 405, 'Method Not Allowed');
    expect(answer.headers.allow).toBe('GET');
    expect(answer.body).toContain(`"${method}"`);
    expect(plugin.getStats().rejected).toMatchObject({ method: 1 });
  });

  test.each<[string, Record<string, string>, string]>([
    ['of a known length', { 'Content-Length': '5' }, 'hello'],
    ['in chunks', { 'Transfer-Encoding': 'chunked' }, '5\r\nhello\r\n0\r\n\r\n'],
  ])('with a body %s gets 400, whether that comes at once or not', async (_, headers, body) => {
    const { port, plugin, url } = await serve();
    const request = upgradeRequest('/ws', headers);
    for (const parts of [[request + body], [request, body], [request + body.slice(0, 2)]]) {
      const client = await rawConnect(port);
      client.write(parts[0] as string);
      const answer = answerOf(client);
      if (parts[1]) client.write(parts[1]);
      expectRejection(await answer, 400, 'Bad Request');
    }
    expect(plugin.getStats()).toMatchObject({ totalConnections: 0, rejected: { badRequest: 3 } });
    await connect(url());
  });

  test('that says it has no body is accepted', async () => {
    const { port } = await serve();
    expect(await upgradeStatus(port, '/ws', { 'Content-Length': '0' })).toBe(101);
  });

  test.each(['8', '12', '14', '013', '13, 8'])(
    'in version %s gets 426 with the version that is spoken',
    async (version) => {
      const { port, plugin } = await serve();
      const headers = { 'Sec-WebSocket-Version': version };
      const answer = await answerTo(port, upgradeRequest('/ws', headers));
      expectRejection(answer, 426, 'Upgrade Required');
      expect(answer.headers['sec-websocket-version']).toBe('13');
      expect(answer.headers.upgrade).toBe('websocket');
      expect(plugin.getStats().rejected).toMatchObject({ version: 1 });
    },
  );

  test.each<[string, Record<string, string>]>([
    ['upper case', { Upgrade: 'WebSocket', Connection: 'UPGRADE' }],
    ['lists', { Upgrade: 'h2c, websocket', Connection: 'keep-alive, Upgrade' }],
    ['an extension that nobody knows', { 'Sec-WebSocket-Extensions': 'x-unknown; a=1' }],
  ])('with %s is accepted', async (_name, headers) => {
    const { port } = await serve();
    expect(await upgradeStatus(port, '/ws', headers)).toBe(101);
  });

  test('is accepted with the key of the RFC, answered by the RFC', async () => {
    const { port } = await serve();
    const client = await rawConnect(port);
    client.write(upgradeRequest('/ws', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' }));
    const head = await client.head();
    expect(head).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/);
    expect(head).toMatch(/\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=(\r\n|$)/i);
    expect(head).not.toMatch(/sec-websocket-(protocol|extensions)/i);
  });
});

describe('the answers', () => {
  test('404 for a path that nobody serves', async () => {
    const { port } = await serve();
    expectRejection(await answerTo(port, upgradeRequest('/nowhere')), 404, 'Not Found');
  });

  test('403 for an origin that is not allowed, or is missing', async () => {
    const { port, plugin } = await serve({ allowOrigins: ['https://good.example'] });
    const evil = { Origin: 'https://evil.example' };
    expectRejection(await answerTo(port, upgradeRequest('/ws', evil)), 403, 'Forbidden');
    expectRejection(await answerTo(port, upgradeRequest('/ws')), 403, 'Forbidden');
    expect(plugin.getStats().rejected).toMatchObject({ origin: 2 });
  });

  test.each<[string, () => boolean | Promise<boolean>]>([
    ['returns false', () => false],
    ['resolves with false', async () => false],
  ])('401 where verifyClient %s', async (_name, verifyClient) => {
    const { port, plugin } = await serve({ verifyClient });
    const answer = await answerTo(port, upgradeRequest('/ws'));
    expectRejection(answer, 401, 'Unauthorized');
    expect(answer.headers['www-authenticate']).toBe('Bearer realm="websocket"');
    expect(plugin.getStats().rejected).toMatchObject({ unauthorized: 1 });
    expect(plugin.getStats().totalConnections).toBe(0);
  });

  const mine = new Error('database is down');
  test.each<[string, () => boolean | Promise<boolean>]>([
    [
      'throws',
      () => {
        throw mine;
      },
    ],
    ['rejects', () => Promise.reject(mine)],
  ])('500 where verifyClient %s, which is reported and told to no client', async (_name, act) => {
    let broken = true;
    const errors: unknown[][] = [];
    const { port, plugin, url } = await serve({ verifyClient: () => (broken ? act() : true) });
    plugin.on('error', (...args) => errors.push(args));
    const answer = await answerTo(port, upgradeRequest('/ws'));
    expectRejection(answer, 500, 'Internal Server Error');
    expect(answer.body).not.toContain('database');
    expect(errors).toEqual([[mine, undefined]]);
    expect(plugin.getStats().rejected).toMatchObject({ verifyError: 1 });
    broken = false;
    await connect(url());
  });

  test('what verifyClient throws goes to stderr where nobody listens', async () => {
    const print = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { port } = await serve({ verifyClient: () => Promise.reject(mine) });
    expectRejection(await answerTo(port, upgradeRequest('/ws')), 500, 'Internal Server Error');
    expect(print).toHaveBeenCalledOnce();
    expect(print.mock.calls[0]).toContain(mine);
  });

  test('503 where the limit is reached, until somebody leaves', async () => {
    const { port, url, plugin } = await serve({ maxConnections: 2 });
    const ended = queue<number>();
    plugin.on('close', (_socket, code) => ended.push(code));
    const first = await connect(url());
    await connect(url());
    expectRejection(await answerTo(port, upgradeRequest('/ws')), 503, 'Service Unavailable');
    expect(plugin.getStats().rejected).toMatchObject({ limit: 1 });
    first.close();
    await ended.next();
    // Its place is free once it has taken what was sent to it, the close frame included.
    await first.closed;
    await connect(url());
    expect(await upgradeStatus(port)).toBe(503);
  });

  test('503 where those that are being verified reach the limit, until one is refused', async () => {
    const verdicts = queue<(verdict: boolean) => void>();
    const { port } = await serve({
      maxConnections: 2,
      verifyClient: () => new Promise((resolve) => verdicts.push(resolve)),
    });
    const first = answerTo(port, upgradeRequest('/ws'));
    const refuse = await verdicts.next();
    const second = rawUpgrade(port);
    const accept = await verdicts.next();
    expectRejection(await answerTo(port, upgradeRequest('/ws')), 503, 'Service Unavailable');
    refuse(false);
    expectRejection(await first, 401, 'Unauthorized');
    const third = rawUpgrade(port);
    accept(true);
    (await verdicts.next())(true);
    await Promise.all([second, third]);
    expect(await upgradeStatus(port)).toBe(503);
  });

  test('503 while the plugin is shutting down', async () => {
    const { port, plugin } = await serve();
    const silent = await rawUpgrade(port);
    const cleaning = plugin.cleanup();
    expectRejection(await answerTo(port, upgradeRequest('/ws')), 503, 'Service Unavailable');
    expect(plugin.getStats().rejected).toMatchObject({ shuttingDown: 1 });
    silent.socket.destroy();
    await cleaning;
  });

  test('503 for who is still being verified when the plugin shuts down', async () => {
    const verdict = deferred<boolean>();
    const asked = deferred();
    const connected = vi.fn();
    const { port, plugin } = await serve({
      verifyClient: () => {
        asked.resolve();
        return verdict.promise;
      },
    });
    plugin.on('connection', connected);
    const answer = answerTo(port, upgradeRequest('/ws'));
    await asked.promise;
    await plugin.cleanup();
    expectRejection(await answer, 503, 'Service Unavailable');
    verdict.resolve(true);
    await verdict.promise;
    expect(plugin.getStats().totalConnections).toBe(0);
    expect(connected).not.toHaveBeenCalled();
  });

  test('reach a client that has already sent frames', async () => {
    const { port } = await serve({ verifyClient: () => false });
    const early = Buffer.concat([
      Buffer.from(upgradeRequest('/ws')),
      frame(BINARY, Buffer.alloc(5000)),
    ]);
    expectRejection(await answerTo(port, early), 401, 'Unauthorized');
  });

  test('reach a client that goes on sending', async () => {
    const { port } = await serve({ verifyClient: () => false });
    const client = await rawConnect(port);
    client.write(upgradeRequest('/ws'));
    for (let count = 0; count < 50; count++) client.write(frame(BINARY, Buffer.alloc(20_000)));
    expectRejection(await answerOf(client), 401, 'Unauthorized');
  });

  test('end the connection even where the client never closes its side', async () => {
    const { port, server } = await serve();
    const closed = deferred();
    server.on('connection', (socket) => socket.on('close', () => closed.resolve()));
    const client = await rawConnect(port);
    client.socket.allowHalfOpen = true;
    client.write(upgradeRequest('/nowhere'));
    await closed.promise;
    expectRejection(await answerOf(client), 404, 'Not Found');
  });

  test('reach a client that reads only after it has sent everything', async () => {
    const { port, server } = await serve({ verifyClient: () => false });
    const closed = deferred();
    server.on('connection', (socket) => socket.on('close', () => closed.resolve()));
    const client = await rawConnect(port);
    const errors: Error[] = [];
    client.socket.on('error', (error) => errors.push(error));
    client.socket.pause();
    client.write(upgradeRequest('/ws'));
    for (let count = 0; count < 20; count++) client.write(frame(BINARY, Buffer.alloc(20_000)));
    // Unread bytes would have the server's end of the connection reset it.
    await closed.promise;
    client.socket.resume();
    expectRejection(await answerOf(client), 401, 'Unauthorized');
    expect(errors).toEqual([]);
  });

  test('do not repeat a client’s bytes in a header', async () => {
    const { port } = await serve();
    const answer = await answerTo(
      port,
      upgradeRequest('/ws', { 'Sec-WebSocket-Version': 'x'.repeat(5000) }),
    );
    expect(answer.status).toBe(426);
    expect(JSON.stringify(answer.headers)).not.toContain('xx');
    expect(answer.body.length).toBeLessThan(300);
  });
});

describe('a refusal by the application', () => {
  const native = createRequire(import.meta.url)('../lib/native.js') as {
    constants(): { rejectReasons: { unauthorized: number } };
    WebSocketPlugin: new () => {
      reject(
        reason: number,
        message: string,
        answer?: { status?: number; phrase?: string; method?: string },
      ): { reason: string; message: string; response: Buffer };
      rejections(): Record<string, number>;
    };
  };

  const { unauthorized } = native.constants().rejectReasons;

  /** The response to a refusal by verifyClient with a status of its own. */
  function refusal(status?: number, phrase?: string, method?: string) {
    const plugin = new native.WebSocketPlugin();
    const { response } = plugin.reject(unauthorized, 'no', { status, phrase, method });
    expect(plugin.rejections()).toMatchObject({ unauthorized: 1 });
    const [head = '', body] = response.toString().split('\r\n\r\n');
    return parseResponse(head, body);
  }

  test('has its own status and phrase', () => {
    expectRejection(refusal(), 401, 'Unauthorized');
    expectRejection(refusal(403, 'Forbidden'), 403, 'Forbidden');
    expectRejection(refusal(429, 'Too Many Requests'), 429, 'Too Many Requests');
    expectRejection(refusal(402), 402, 'Refused');
  });

  test.each(['', 'a\r\nSet-Cookie: x=1', 'größer', '\0', '\x7f', '\t'])(
    'does not have the phrase %j, which could split the response',
    (phrase) => expectRejection(refusal(403, phrase), 403, 'Refused'),
  );

  test('has the headers of its status', () => {
    expect(refusal(401, 'No').headers['www-authenticate']).toBe('Bearer realm="websocket"');
    expect(refusal(403).headers).not.toHaveProperty('www-authenticate');
    expect(refusal(405).headers.allow).toBe('GET');
    expect(refusal(426).headers['sec-websocket-version']).toBe('13');
  });

  test('has no body where status or method have none', () => {
    expect(refusal(403, 'No', 'HEAD')).toMatchObject({
      headers: { 'content-length': '2' },
      body: '',
    });
    for (const status of [204, 205, 304]) {
      const answer = refusal(status);
      expect(answer.body).toBe('');
      expect(answer.headers).toEqual({ connection: 'close' });
    }
  });

  test.each([0, 100, 101, 199, 600, 403.5, -401, 65_937, Number.NaN, Number.POSITIVE_INFINITY])(
    'with the status %s is a RangeError and counts as nothing',
    (status) => {
      const plugin = new native.WebSocketPlugin();
      const act = () => plugin.reject(unauthorized, 'no', { status });
      expect(act).toThrow(RangeError);
      expect(act).toThrow(/status must be a whole number from 200 to 599, got /);
      expect(plugin.rejections()).toMatchObject({ unauthorized: 0 });
    },
  );
});

describe('the order of the checks', () => {
  test('path before request', async () => {
    const { port } = await serve();
    const headers = { 'Sec-WebSocket-Key': undefined };
    expect(await upgradeStatus(port, '/nowhere', headers)).toBe(404);
    const post = await answerTo(port, upgradeRequest('/nowhere', {}, { method: 'POST' }));
    expect(post.status).toBe(404);
  });

  test('method and HTTP version before host, host before the other headers', async () => {
    const { port } = await serve();
    const none = { Host: undefined, 'Sec-WebSocket-Key': undefined };
    const post = await answerTo(port, upgradeRequest('/ws', none, { method: 'POST' }));
    expect(post.status).toBe(405);
    const old = await answerTo(port, upgradeRequest('/ws', none, { version: '1.0' }));
    expect(old.body).toContain('HTTP/1.0');
    expect((await answerTo(port, upgradeRequest('/ws', none))).body).toContain('header Host');
    expect(await upgradeStatus(port, '/nowhere', none)).toBe(404);
  });

  test('request before origin', async () => {
    const { port } = await serve({ allowOrigins: ['https://good.example'] });
    expect(await upgradeStatus(port, '/ws', { 'Sec-WebSocket-Key': undefined })).toBe(400);
    expect(await upgradeStatus(port, '/ws', { 'Sec-WebSocket-Version': '8' })).toBe(426);
    expect(await upgradeStatus(port, '/ws')).toBe(403);
  });

  test('origin before limit, limit before verifyClient', async () => {
    const asked: (string | undefined)[] = [];
    const { port } = await serve({
      maxConnections: 0,
      allowOrigins: ['https://good.example'],
      verifyClient: (req) => {
        asked.push(req.headers.origin);
        return false;
      },
    });
    expect(await upgradeStatus(port, '/ws', { Origin: 'https://evil.example' })).toBe(403);
    expect(await upgradeStatus(port, '/ws', { Origin: 'https://good.example' })).toBe(503);
    expect(asked).toEqual([]);
  });

  test('verifyClient is asked about requests that passed everything else only', async () => {
    const asked: (string | undefined)[] = [];
    const { port } = await serve({
      allowOrigins: ['https://good.example'],
      verifyClient: (req) => {
        asked.push(req.url);
        return false;
      },
    });
    const good = { Origin: 'https://good.example' };
    expect(await upgradeStatus(port, '/nowhere', good)).toBe(404);
    expect(await upgradeStatus(port, '/ws?1', { ...good, 'Sec-WebSocket-Key': 'x' })).toBe(400);
    expect(await upgradeStatus(port, '/ws?2', { Origin: 'https://evil.example' })).toBe(403);
    expect(await upgradeStatus(port, '/ws?3', good)).toBe(401);
    expect(asked).toEqual(['/ws?3']);
  });

  test('each rejection is counted under its own reason', async () => {
    const { port, plugin } = await serve({
      allowOrigins: ['https://good.example'],
      verifyClient: () => false,
    });
    const good = { Origin: 'https://good.example' };
    await upgradeStatus(port, '/nowhere');
    await upgradeStatus(port, '/ws');
    await upgradeStatus(port, '/ws');
    await upgradeStatus(port, '/ws', good);
    expect(plugin.getStats().rejected).toEqual({
      method: 0,
      badRequest: 0,
      version: 0,
      path: 1,
      origin: 2,
      limit: 0,
      address: 0,
      unauthorized: 1,
      verifyError: 0,
      shuttingDown: 0,
      timeout: 0,
      application: 0,
    });
  });
});

describe('verifyClient', () => {
  // The reference's chat returns `token && (await verifyJWT(token))`, which is no boolean.
  test.each<[string, unknown, number]>([
    ['true', true, 101],
    ['a user object', { id: 1 }, 101],
    ['a text', 'yes', 101],
    ['1', 1, 101],
    ['an empty object', {}, 101],
    ['null', null, 401],
    ['undefined', undefined, 401],
    ['an empty text', '', 401],
    ['0', 0, 401],
    ['NaN', Number.NaN, 401],
  ])('that returns or resolves with %s is answered as its truth', async (_name, value, status) => {
    const returned = await serve({ verifyClient: () => value as boolean });
    expect(await upgradeStatus(returned.port)).toBe(status);
    const resolved = await serve({ verifyClient: async () => value as boolean });
    expect(await upgradeStatus(resolved.port)).toBe(status);
  });

  test.each<[string, (act: () => void) => void]>([
    ['at once', (act) => act()],
    ['later', (act) => void setImmediate(act)],
  ])('may return a thenable that is no Promise and settles %s', async (_name, when) => {
    const thenable = (verdict: boolean) => ({
      // biome-ignore lint/suspicious/noThenProperty: that is what is tested
      then: (resolve: (value: boolean) => void) => when(() => resolve(verdict)),
    });
    const yes = await serve({ verifyClient: () => thenable(true) as Promise<boolean> });
    expect(await upgradeStatus(yes.port)).toBe(101);
    const no = await serve({ verifyClient: () => thenable(false) as Promise<boolean> });
    expect(await upgradeStatus(no.port)).toBe(401);
  });

  test('of the reference lets clients with a good token in', async () => {
    const verifyJWT = async (token: string) => {
      if (token === 'broken') throw new Error('malformed token');
      return token === 'good' ? { id: 7 } : null;
    };
    const examples: ((req: IncomingMessage) => Promise<boolean>)[] = [
      async (req) => {
        const token = new URL(req.url || '', 'http://localhost').searchParams.get('token');
        if (!token) return false;
        try {
          const user = await verifyJWT(token);
          return !!user;
        } catch {
          return false;
        }
      },
      async (req) => {
        const url = new URL(req.url || '', 'http://localhost');
        const token = url.searchParams.get('token');
        return (token && (await verifyJWT(token).catch(() => null))) as unknown as boolean;
      },
    ];
    for (const verifyClient of examples) {
      const { port } = await serve({ verifyClient });
      expect(await upgradeStatus(port, '/ws?token=good')).toBe(101);
      expect(await upgradeStatus(port, '/ws?token=bad')).toBe(401);
      expect(await upgradeStatus(port, '/ws?token=broken')).toBe(401);
      expect(await upgradeStatus(port, '/ws?token=')).toBe(401);
      expect(await upgradeStatus(port, '/ws')).toBe(401);
    }
  });

  test('of the reference filters by address', async () => {
    const filter = (allowedIPs: string[]) => (req: IncomingMessage) => {
      const clientIP = req.socket.remoteAddress;
      return allowedIPs.some((ip) => clientIP?.startsWith(ip));
    };
    const near = await serve({ verifyClient: filter(['127.0.0.1', '10.0.0.0/8']) });
    expect(await upgradeStatus(near.port)).toBe(101);
    const far = await serve({ verifyClient: filter(['10.0.0.0/8']) });
    expect(await upgradeStatus(far.port)).toBe(401);
  });

  test('sees the request: url, headers and both ends of the connection', async () => {
    const seen = queue<Record<string, unknown>>();
    const { port, url } = await serve({
      verifyClient: (req) => {
        const { remoteAddress, remotePort, localAddress, localPort } = req.socket;
        const { authorization } = req.headers;
        const { url, method } = req;
        seen.push({
          url,
          method,
          authorization,
          remoteAddress,
          remotePort,
          localAddress,
          localPort,
        });
        return true;
      },
    });
    await connect(url('/ws?a=b'), { headers: { authorization: 'Bearer x' } });
    expect(await seen.next()).toEqual({
      url: '/ws?a=b',
      method: 'GET',
      authorization: 'Bearer x',
      remoteAddress: '127.0.0.1',
      remotePort: expect.any(Number),
      localAddress: '127.0.0.1',
      localPort: port,
    });
  });

  test('is asked once per request', async () => {
    const verifyClient = vi.fn(async () => true);
    const { url, plugin } = await serve({ verifyClient });
    await connect(url());
    await connect(url());
    expect(verifyClient).toHaveBeenCalledTimes(2);
    expect(plugin.getStats().totalConnections).toBe(2);
  });

  test('no connection exists before it has decided', async () => {
    const verdict = deferred<boolean>();
    const asked = deferred();
    const { port, plugin } = await serve({
      verifyClient: () => {
        asked.resolve();
        return verdict.promise;
      },
    });
    const client = rawUpgrade(port);
    await asked.promise;
    expect(plugin.getStats().totalConnections).toBe(0);
    verdict.resolve(true);
    await client;
    expect(plugin.getStats().totalConnections).toBe(1);
  });

  test('decides for each of many clients that wait at the same time', async () => {
    const verdicts = new Map<string, (verdict: boolean) => void>();
    const all = deferred();
    const { port } = await serve({
      verifyClient: (req) =>
        new Promise((resolve) => {
          verdicts.set(req.url as string, resolve);
          if (verdicts.size === 50) all.resolve();
        }),
    });
    const statuses = Array.from({ length: 50 }, (_, n) => upgradeStatus(port, `/ws?${n}`));
    await all.promise;
    for (const [url, resolve] of [...verdicts].reverse()) resolve(Number(url.slice(4)) % 2 === 0);
    expect(await Promise.all(statuses)).toEqual(
      Array.from({ length: 50 }, (_, n) => (n % 2 === 0 ? 101 : 401)),
    );
  });

  test('that is pending when the client resets hurts nobody, and its place is free', async () => {
    const requests = queue<IncomingMessage>();
    const verdicts = queue<(verdict: boolean) => void>();
    const connected = queue<string>();
    const errors: Error[] = [];
    const { port, plugin } = await serve({
      maxConnections: 1,
      verifyClient: (req) => {
        requests.push(req);
        return new Promise((resolve) => verdicts.push(resolve));
      },
    });
    plugin.on('connection', (socket) => connected.push(socket.url));
    plugin.on('error', (error) => errors.push(error));
    const client = await rawConnect(port);
    client.write(upgradeRequest('/ws?first'));
    const request = await requests.next();
    const gone = new Promise((resolve) => request.socket.on('close', resolve));
    client.reset();
    await gone;
    const second = rawUpgrade(port, '/ws?second');
    await requests.next();
    (await verdicts.next())(true);
    (await verdicts.next())(true);
    await second;
    expect(await connected.next()).toBe('/ws?second');
    expect(connected.waiting).toEqual([]);
    expect(plugin.getStats().totalConnections).toBe(1);
    expect(errors).toEqual([]);
  });

  test('that is pending when the client leaves hurts nobody, and its place is free', async () => {
    const verdicts = queue<(verdict: boolean) => void>();
    const ended = queue<[url: string, code: number]>();
    const errors: Error[] = [];
    const { port, plugin } = await serve({
      maxConnections: 1,
      verifyClient: () => new Promise((resolve) => verdicts.push(resolve)),
    });
    plugin.on('close', (socket, code) => ended.push([socket.url, code]));
    plugin.on('error', (error) => errors.push(error));
    const client = await rawConnect(port);
    client.write(upgradeRequest('/ws?first'));
    const answerFirst = await verdicts.next();
    client.socket.destroy();
    await once(client.socket, 'close');
    answerFirst(true);
    expect(await ended.next()).toEqual(['/ws?first', 1006]);
    const second = rawUpgradeOncePossible(port, '/ws?second');
    (await verdicts.next())(true);
    await second;
    expect(plugin.getStats().totalConnections).toBe(1);
    expect(errors).toEqual([]);
  });

  test('that never settles ends after handshakeTimeoutMs and frees its place', async () => {
    const { port, plugin } = await serve({
      maxConnections: 1,
      handshakeTimeoutMs: 50,
      verifyClient: never,
    });
    expectRejection(await answerTo(port, upgradeRequest('/ws')), 503, 'Service Unavailable');
    expectRejection(await answerTo(port, upgradeRequest('/ws')), 503, 'Service Unavailable');
    expect(plugin.getStats().rejected).toMatchObject({ timeout: 2, limit: 0 });
  });

  test('that says yes after handshakeTimeoutMs changes nothing any more', async () => {
    const verdict = deferred<boolean>();
    const connected = vi.fn();
    const { port, plugin } = await serve({
      handshakeTimeoutMs: 50,
      verifyClient: () => verdict.promise,
    });
    plugin.on('connection', connected);
    expectRejection(await answerTo(port, upgradeRequest('/ws')), 503, 'Service Unavailable');
    verdict.resolve(true);
    await verdict.promise;
    expect(connected).not.toHaveBeenCalled();
    expect(plugin.getStats().rejected).toMatchObject({ timeout: 1, unauthorized: 0 });
  });

  test('that rejects after handshakeTimeoutMs does not end the process', async () => {
    const verdict = deferred<boolean>();
    const { port, plugin } = await serve({
      handshakeTimeoutMs: 50,
      verifyClient: (req) => (req.url === '/ws?slow' ? verdict.promise : true),
    });
    plugin.on('error', () => {});
    expect(await upgradeStatus(port, '/ws?slow')).toBe(503);
    verdict.reject(new Error('too late'));
    expect(await upgradeStatus(port, '/ws')).toBe(101);
  });
});

describe('a result of verifyClient', () => {
  class User {
    constructor(readonly id: number) {}
  }

  test.each<[string, unknown]>([
    ['a user', { id: 7, name: 'ada', role: 'admin' }],
    ['an instance of a class', new User(7)],
    ['the claims of a token', { sub: '7', iat: 1, exp: 2 }],
    ['a user with a status in words', { id: 7, status: 'active', error: null }],
    ['a user with a number as status that is none of HTTP', { id: 7, status: 1 }],
    ['a result that says yes', { ok: true, user: {} }],
    ['rows of a query', [{ id: 7 }]],
    ['a new Boolean(true)', new Boolean(true)],
  ])('that is %s lets in', async (_name, value) => {
    const { port } = await serve({ verifyClient: async () => value as boolean });
    expect(await upgradeStatus(port)).toBe(101);
  });

  test.each<[string, unknown]>([
    ['a result that says no', { ok: false }],
    ['another that does', { success: false, user: { id: 7 } }],
    ['one that is not authorized', { authorized: false }],
    ['one with an error', { user: null, error: new Error('expired') }],
    ['an Error', new Error('expired')],
    ['an Error of another realm', runInNewContext('new TypeError("expired")')],
    ['no rows', []],
    ['a function that was not called', () => true],
    ['nothing but false', [false]],
    ['a result that is not ok', { ok: null }],
    ['a result that is not valid', { valid: false }],
    ['a result with errors', { data: null, errors: ['expired'] }],
    ['a new Boolean(false)', new Boolean(false)],
    ['a BigInt of nothing', 0n],
  ])('that is %s refuses with 401 and a challenge', async (_name, value) => {
    for (const verifyClient of [() => value, async () => value]) {
      const { port, plugin } = await serve({ verifyClient: verifyClient as () => boolean });
      const answer = await answerTo(port, upgradeRequest('/ws'));
      expectRejection(answer, 401, 'Unauthorized');
      expect(answer.headers['www-authenticate']).toMatch(/^\w+/);
      expect(plugin.getStats().rejected).toMatchObject({ unauthorized: 1 });
    }
  });

  test.each<[string, unknown, number, string]>([
    ['a Response', new Response('no', { status: 403 }), 403, 'Forbidden'],
    ['a Response that is fine', new Response('yes'), 200, 'OK'],
    ['a status', { status: 429, retry: 3 }, 429, 'Too Many Requests'],
    ['a status code', { statusCode: 402 }, 402, 'Payment Required'],
    ['a status without a name', { status: 499 }, 499, 'Refused'],
    ['a challenge', { status: 401 }, 401, 'Unauthorized'],
    ['a status as a text', { status: '403' }, 403, 'Forbidden'],
    ['a redirection', { status: 302 }, 302, 'Found'],
  ])('that is %s refuses with it', async (_name, value, status, phrase) => {
    const { port, plugin } = await serve({ verifyClient: async () => value as boolean });
    expect(await answerTo(port, upgradeRequest('/ws'))).toMatchObject({
      status,
      statusText: phrase,
    });
    expect(plugin.getStats().rejected).toMatchObject({ unauthorized: 1 });
  });

  test('can never be taken for the acceptance of the connection', async () => {
    for (const status of [100, 101, 199, 600, 0, -1, 403.5, Number.NaN]) {
      const { port } = await serve({
        verifyClient: () => ({ ok: false, status }) as unknown as boolean,
      });
      expect(await upgradeStatus(port)).toBe(401);
    }
  });
});

describe('a refusal of verifyClient in words of its own', () => {
  /** The answer to a client, and the errors that were reported. */
  async function refusedBy(result: unknown) {
    const errors: Error[] = [];
    const { port, plugin } = await serve({ verifyClient: async () => result as WSRefusal });
    plugin.on('error', (error) => errors.push(error));
    const answer = await answerTo(port, upgradeRequest('/ws'));
    expect(plugin.getStats().rejected).toMatchObject({ unauthorized: 1 });
    expect(answer.headers.connection).toBe('close');
    if (answer.headers['content-length'] !== undefined) {
      expect(answer.headers['content-length']).toBe(String(Buffer.byteLength(answer.body)));
    }
    return { answer, errors };
  }

  const STANDARD = 'verifyClient refused this client';

  test('has its headers, which replace those of the status', async () => {
    const { answer, errors } = await refusedBy({
      status: 401,
      headers: { 'WWW-Authenticate': 'Basic realm="chat"', 'Set-Cookie': ['a=1', 'b=2'] },
    });
    expect(answer).toMatchObject({ status: 401, statusText: 'Unauthorized', body: STANDARD });
    expect(answer.headers['www-authenticate']).toBe('Basic realm="chat"');
    expect(answer.headers['set-cookie']).toEqual(['a=1', 'b=2']);
    expect(errors).toEqual([]);
  });

  test.each<[string, WSRefusal['headers']]>([
    ['an object', { 'Retry-After': 30, 'X-None': undefined }],
    ['a Headers', new Headers({ 'Retry-After': '30' })],
    ['a Map', new Map([['Retry-After', '30']])],
    ['names with values', [['Retry-After', 30]]],
    ['an object of another realm', runInNewContext('({ "Retry-After": 30 })')],
  ])('may have %s of headers', async (_name, headers) => {
    const { answer, errors } = await refusedBy({ status: 429, headers });
    expect(answer).toMatchObject({ status: 429, headers: { 'retry-after': '30' } });
    expect(answer.headers).not.toHaveProperty('x-none');
    expect(errors).toEqual([]);
  });

  test('may lead elsewhere', async () => {
    const { answer } = await refusedBy({ status: 302, headers: { Location: '/login' } });
    expect(answer).toMatchObject({ status: 302, headers: { location: '/login' } });
  });

  test.each<[string, WSRefusal['body'], string, string]>([
    ['a text', 'größer', 'text/plain; charset=utf-8', 'größer'],
    ['an empty text', '', 'text/plain; charset=utf-8', ''],
    ['a Buffer', Buffer.from('bytes'), 'application/octet-stream', 'bytes'],
    ['an ArrayBuffer', new Uint8Array([97, 98]).buffer, 'application/octet-stream', 'ab'],
    ['an object', { code: 7 }, 'application/json', '{"code":7}'],
    ['an array', [1, 2], 'application/json', '[1,2]'],
  ])('has %s as its body', async (_name, body, type, text) => {
    const { answer, errors } = await refusedBy({ status: 403, body });
    expect(answer).toMatchObject({ status: 403, headers: { 'content-type': type }, body: text });
    expect(errors).toEqual([]);
    const headers = { 'Content-Type': 'text/html', 'Content-Language': 'en' };
    const own = await refusedBy({ status: 403, body, headers });
    expect(own.answer.headers).toMatchObject({ 'content-type': 'text/html' });
    expect(own.answer.headers).toMatchObject({ 'content-language': 'en' });
  });

  test('says of our sentence what it is, whatever the headers say', async () => {
    const headers = { 'Content-Type': 'text/html', 'Content-Encoding': 'gzip' };
    const { answer } = await refusedBy({ status: 403, headers });
    expect(answer).toMatchObject({
      headers: { 'content-type': 'text/plain; charset=utf-8' },
      body: STANDARD,
    });
    expect(answer.headers).not.toHaveProperty('content-encoding');
  });

  test.each([204, 205, 304])('has no body with %s', async (status) => {
    const headers = { 'X-Own': 'a', 'Content-Type': 'text/html' };
    const { answer } = await refusedBy({ status, headers, body: 'nothing of this' });
    expect(answer).toMatchObject({ status, body: '' });
    expect(answer.headers).toEqual({ connection: 'close', 'x-own': 'a' });
  });

  test('leaves what describes the connection to the server', async () => {
    const { answer, errors } = await refusedBy({
      status: 429,
      headers: {
        Connection: 'keep-alive',
        'Content-Length': '5000',
        'Transfer-Encoding': 'chunked',
        'Keep-Alive': 'timeout=5',
        Upgrade: 'websocket',
        'Sec-WebSocket-Accept': 'x',
      },
      body: 'slow down',
    });
    expect(answer.body).toBe('slow down');
    expect(Object.keys(answer.headers).sort()).toEqual([
      'connection',
      'content-length',
      'content-type',
    ]);
    expect(errors).toEqual([]);
  });

  test('may be a Response, with its headers and its body', async () => {
    const init = { status: 429, headers: { 'Retry-After': '30' } };
    const { answer, errors } = await refusedBy(Response.json({ wait: 30 }, init));
    expect(answer).toMatchObject({ status: 429, statusText: 'Too Many Requests' });
    expect(answer.headers).toMatchObject({
      'retry-after': '30',
      'content-type': 'application/json',
    });
    expect(JSON.parse(answer.body)).toEqual({ wait: 30 });
    expect(errors).toEqual([]);
    const empty = await refusedBy(new Response(null, { status: 403 }));
    expect(empty.answer).toMatchObject({ status: 403, body: STANDARD });
  });

  test.each<[string, unknown]>([
    [
      'an object of a class',
      new (class {
        status = 403;
        headers = { 'X-Secret': '1' };
        body = 'secret';
      })(),
    ],
    [
      'a Response that fetch has returned',
      Object.defineProperty(
        new Response('secret', { status: 403, headers: { 'X-Secret': '1' } }),
        'url',
        {
          value: 'https://auth.example/',
        },
      ),
    ],
  ])('is no more than the status where it is %s', async (_name, result) => {
    const { answer, errors } = await refusedBy(result);
    expect(answer).toMatchObject({ status: 403, body: STANDARD });
    expect(answer.headers).not.toHaveProperty('x-secret');
    expect(errors).toEqual([]);
  });

  const endless = new ReadableStream({ pull: (stream) => stream.enqueue(new Uint8Array(5000)) });
  const read = new Response('once', { status: 403 });
  const circular: Record<string, unknown> = {};
  circular.self = circular;

  test.each<[string, object, RegExp]>([
    ['a name with a space', { headers: { 'X Y': 'a' } }, /the name of a header must be an HTTP/],
    ['a name with a line end', { headers: { 'X\r\nY': 'a' } }, /the name of a header must be an/],
    ['a value with a line end', { headers: { X: 'a\r\nY: b' } }, /header "X" must be of charac/],
    ['a value beyond Latin-1', { headers: { X: '\u010a' } }, /header "X" must be of characters/],
    ['a value that is none', { headers: { X: {} } }, /header "X" must be a string, a number/],
    ['a symbol as a value', { headers: { X: Symbol('x') } }, /header "X" must be a string/],
    ['headers that are none', { headers: 'X: a' }, /headers must be an object, a Headers/],
    ['pairs that are none', { headers: [1] }, /./],
    ['too many headers', { headers: { X: Array(65).fill('a') } }, /headers must be at most 64/],
    ['headers that are too long', { headers: { X: 'a'.repeat(9000) } }, /64 lines and 8192 bytes$/],
    ['endless headers', { headers: forever() }, /headers must be at most 64 lines/],
    ['a body that is too long', { body: 'a'.repeat(65_537) }, /body must be at most 65536 bytes$/],
    ['JSON that is too long', { body: ['a'.repeat(65_536)] }, /body must be at most 65536 bytes$/],
    ['a body of another type', { body: 7 }, /body must be a string, Buffer, .*, got 7$/],
    ['a stream as a body', { body: endless }, /body must be a string, Buffer/],
    ['a body that JSON has no text for', { body: circular }, /circular/],
  ])('stands without %s, which is reported', async (_name, part, message) => {
    const { answer, errors } = await refusedBy({ status: 403, ...part });
    expect(answer).toMatchObject({ status: 403, statusText: 'Forbidden' });
    expect(Object.keys(answer.headers)).not.toContain('y');
    if ('body' in part) expect(answer.body).toBe(STANDARD);
    expect(errors).toHaveLength(1);
    expect(errors[0]?.message).toMatch(message);
  });

  function* forever() {
    for (;;) yield ['X', 'a'] as const;
  }

  test('stands without the body of a Response that cannot be read', async () => {
    await read.text();
    const used = await refusedBy(read);
    expect(used.errors[0]?.message).toMatch(/has been read already$/);
    const long = await refusedBy(new Response(endless, { status: 403 }));
    expect(long.errors[0]?.message).toMatch(/body must be at most 65536 bytes$/);
    const broken = new ReadableStream({ start: (stream) => stream.error(new Error('broken')) });
    const failed = await refusedBy(new Response(broken, { status: 403 }));
    expect(failed.errors[0]?.message).toBe('broken');
    for (const { answer } of [used, long, failed]) {
      expect(answer).toMatchObject({ status: 403, body: STANDARD });
    }
  });

  test('stands without a body of nothing but empty chunks, which lets others run', async () => {
    const empty = new ReadableStream({ pull: (stream) => stream.enqueue(new Uint8Array(0)) });
    const { answer, errors } = await refusedBy(new Response(empty, { status: 403 }));
    expect(answer).toMatchObject({ status: 403, body: STANDARD });
    expect(errors[0]?.message).toMatch(/body must be at most 65536 bytes$/);
  });

  test('reports no more headers that cannot be sent than may be sent', async () => {
    const { answer, errors } = await refusedBy({
      status: 403,
      headers: { X: Array(999).fill({}) },
    });
    expect(answer).toMatchObject({ status: 403, body: STANDARD });
    expect(errors).toHaveLength(65);
    expect(errors[64]?.message).toMatch(/headers must be at most 64 lines/);
  });

  test('does not wait for a body longer than the handshake may take, and cancels it', async () => {
    const cancelled = deferred<void>();
    const endless = new ReadableStream({ cancel: () => cancelled.resolve() });
    const { port, plugin } = await serve({
      handshakeTimeoutMs: 30,
      verifyClient: () => new Response(endless, { status: 403 }),
    });
    expect(await answerTo(port, upgradeRequest('/ws'))).toMatchObject({ status: 503 });
    expect(plugin.getStats().rejected).toMatchObject({ timeout: 1, unauthorized: 0 });
    await cancelled.promise;
  });

  test('is answered with 500 where reading it throws', async () => {
    const mine = new Error('getter');
    const { port, plugin } = await serve({
      verifyClient: () => ({
        status: 403,
        get headers(): never {
          throw mine;
        },
      }),
    });
    const errors: Error[] = [];
    plugin.on('error', (error) => errors.push(error));
    const answer = await answerTo(port, upgradeRequest('/ws'));
    expectRejection(answer, 500, 'Internal Server Error');
    expect(errors).toEqual([mine]);
  });
});

describe('a timeout of the handshake', () => {
  test.each<[string, Parameters<typeof serve>[0], RegExp]>([
    ['verifyClient', { verifyClient: never }, /verifyClient has not settled/],
    [
      'HTTP middleware',
      { before: (app) => app.use(() => new Promise(() => {})) },
      /HTTP middleware has neither answered nor gone on/,
    ],
  ])('says that it was %s', async (_name, options, text) => {
    const { port } = await serve({ ...options, handshakeTimeoutMs: 30 });
    expect(await answerTo(port, upgradeRequest('/ws'))).toMatchObject({
      status: 503,
      body: expect.stringMatching(text),
    });
  });
});

describe('with debug: true', () => {
  /** The lines that are logged, one call of console.log each. */
  function logged() {
    const lines = queue<string>();
    vi.spyOn(console, 'log').mockImplementation((...args) => lines.push(args.join(' ')));
    return lines;
  }

  test('an accepted connection and its end are one line each', async () => {
    const lines = logged();
    const { url } = await serve({ debug: true }, ({ wsApp }) => {
      wsApp.ws('/chat', (socket) => socket.send(socket.id));
    });
    const client = await connect(url('/chat?a=1'));
    const id = await client.next();
    expect(await lines.next()).toBe(
      `[WebSocketPlugin] /chat?a=1 accepted as ${id}${adopts ? '' : ' over a bridge'}`,
    );
    client.close(4001, 'bye');
    expect(await lines.next()).toMatch(/^\[WebSocketPlugin\] \/chat\?a=1 closed with 4001: bye$/);
    expect(lines.waiting).toEqual([]);
  });

  test.each<[string, string, Record<string, string | undefined>]>([
    ['path', '/nowhere', {}],
    ['badRequest', '/ws', { 'Sec-WebSocket-Key': undefined }],
    ['version', '/ws', { 'Sec-WebSocket-Version': '8' }],
    ['origin', '/ws', { Origin: 'https://evil.example' }],
    ['unauthorized', '/ws', { Origin: 'https://good.example' }],
  ])('a rejection because of %s is one line that says so', async (reason, path, headers) => {
    const lines = logged();
    const { port } = await serve({
      debug: true,
      allowOrigins: ['https://good.example'],
      verifyClient: () => false,
    });
    const answer = await answerTo(port, upgradeRequest(path, headers));
    expect(await lines.next()).toBe(
      `[WebSocketPlugin] ${path} rejected (${reason}): ${answer.body}`,
    );
    expect(lines.waiting).toEqual([]);
  });

  test('a client cannot add lines of its own', async () => {
    const lines = logged();
    const { url } = await serve({ debug: true });
    const client = await connect(url());
    await lines.next();
    client.close(4000, 'bye\n[WebSocketPlugin] /admin accepted as root\r\x1b[2K');
    const line = await lines.next();
    expect(line).toContain('closed with 4000');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there
    expect(line).not.toMatch(/[\x00-\x1f\x7f]/);
  });

  test('the name of a room cannot add lines either', async () => {
    const lines = logged();
    const { port } = await serve({ debug: true }, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => socket.join('a\nb'));
    });
    const client = await rawUpgrade(port);
    client.write(frame(CLOSE, closePayload(1000)));
    await client.frame();
    for (let count = 0; count < 4; count++) expect(await lines.next()).not.toContain('\n');
  });
});
