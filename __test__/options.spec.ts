import { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createApp } from '../examples/host/index.js';
import { WebSocketPlugin, type WebSocketPluginOptions } from '../index.js';
import { connect, refused } from './support/client.js';
import { deferred, queue } from './support/events.js';
import { portOf, serve } from './support/server.js';
import { hostOptions, wsUrl } from './support/transport.js';

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Constructs with what TypeScript would not let pass. */
function construct(options?: unknown): WebSocketPlugin {
  return new WebSocketPlugin(options as WebSocketPluginOptions);
}

function errorOf(options: unknown): Error {
  try {
    construct(options);
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}

/** Each option as `undefined`, which has to mean its default. */
const allUndefined: WebSocketPluginOptions = {
  path: undefined,
  heartbeatMs: undefined,
  pongTimeoutMs: undefined,
  maxConnections: undefined,
  maxConnectionsPerIp: undefined,
  trustProxy: undefined,
  maxMessageSize: undefined,
  messageRate: undefined,
  allowOrigins: undefined,
  verifyClient: undefined,
  debug: undefined,
  logger: undefined,
  handshakeTimeoutMs: undefined,
  closeTimeoutMs: undefined,
  maxBackpressure: undefined,
  backpressurePolicy: undefined,
  maxBufferedBytes: undefined,
  ioThreads: undefined,
  maxRoomsPerConnection: undefined,
  maxRoomNameLength: undefined,
  perMessageDeflate: undefined,
  protocols: undefined,
  tls: undefined,
  proxyProtocol: undefined,
  cluster: undefined,
};

/** An upgrade request that no client has sent, because thousands of real ones take long. */
function upgradeOf(path: string): [IncomingMessage, Socket, Buffer] {
  const socket = new PassThrough() as unknown as Socket;
  const req = new IncomingMessage(socket);
  req.url = path;
  req.method = 'GET';
  req.httpVersion = '1.1';
  Object.assign(req.headers, {
    host: '127.0.0.1',
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-websocket-version': '13',
  });
  return [req, socket, Buffer.alloc(0)];
}

describe.each([
  ['no options', undefined],
  ['an empty object', {}],
  ['options that are all undefined', allUndefined],
])('the defaults, from %s', (_name, options) => {
  test('the path is /ws and nothing else', async () => {
    const { url, plugin } = await serve(options);
    await connect(url('/ws'));
    expect(plugin.getStats().totalConnections).toBe(1);
    for (const path of ['/', '/w', '/wss', '/ws/a']) {
      expect(await refused(url(path))).toMatchObject({ status: 404 });
    }
  });

  test('messages have up to 1048576 bytes', async () => {
    const sizes = queue<number>();
    const { url } = await serve(options, ({ wsApp }) => {
      wsApp.ws('/ws', (socket) => socket.onMessage((data) => sizes.push(data.length)));
    });
    const client = await connect(url());
    client.send(Buffer.alloc(1_048_576));
    expect(await sizes.next()).toBe(1_048_576);
    client.send(Buffer.alloc(1_048_577));
    expect(await client.closed).toMatchObject({ code: 1009 });
    expect(sizes.waiting).toEqual([]);
  });

  test('every origin is allowed, and a request without one', async () => {
    const { url } = await serve(options);
    await connect(url(), { origin: 'https://anyone.example' });
    await connect(url(), { origin: 'null' });
    await connect(url());
  });

  test('10000 connections are the limit, those being verified included', async () => {
    const { server, url, plugin } = await serve({
      ...options,
      verifyClient: () => new Promise(() => {}),
    });
    for (let count = 0; count < 10_000; count++) server.emit('upgrade', ...upgradeOf('/ws'));
    expect(plugin.getStats().rejected).toMatchObject({ limit: 0 });
    expect(await refused(url())).toMatchObject({ status: 503 });
    expect(plugin.getStats().rejected).toMatchObject({ limit: 1 });
  });

  test('a handshake may take 10000 milliseconds', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const verifying = deferred();
    const { url, plugin } = await serve({
      ...options,
      verifyClient: () => {
        verifying.resolve();
        return new Promise(() => {});
      },
    });
    const refusal = refused(url());
    await verifying.promise;
    await vi.advanceTimersByTimeAsync(9_999);
    expect(plugin.getStats().rejected).toMatchObject({ timeout: 0 });
    await vi.advanceTimersByTimeAsync(1);
    expect(plugin.getStats().rejected).toMatchObject({ timeout: 1 });
    expect(await refusal).toMatchObject({ status: 503 });
  });

  test('nothing is logged', async () => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => {});
    const error = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { url, plugin } = await serve(options);
    const closed = new Promise((resolve) => plugin.on('close', resolve));
    const client = await connect(url());
    client.close();
    await closed;
    await refused(url('/elsewhere'));
    expect(log).not.toHaveBeenCalled();
    expect(error).not.toHaveBeenCalled();
  });
});

interface NumberOption {
  name: keyof WebSocketPluginOptions;
  unit: string;
  least: number;
  most: number;
  infinity: boolean;
}

const numberOptions: NumberOption[] = [
  { name: 'heartbeatMs', unit: 'milliseconds', least: 0, most: 2147483647, infinity: false },
  { name: 'pongTimeoutMs', unit: 'milliseconds', least: 0, most: 2147483647, infinity: false },
  { name: 'handshakeTimeoutMs', unit: 'milliseconds', least: 1, most: 2147483647, infinity: false },
  { name: 'closeTimeoutMs', unit: 'milliseconds', least: 1, most: 2147483647, infinity: false },
  { name: 'maxMessageSize', unit: 'bytes', least: 1, most: 536870888, infinity: false },
  { name: 'maxConnections', unit: 'connections', least: 0, most: 4294967295, infinity: true },
  { name: 'maxRoomsPerConnection', unit: 'rooms', least: 1, most: 4294967295, infinity: true },
  { name: 'maxRoomNameLength', unit: 'UTF-16 units', least: 1, most: 4294967295, infinity: true },
  {
    name: 'maxBackpressure',
    unit: 'bytes',
    least: 1,
    most: Number.MAX_SAFE_INTEGER,
    infinity: true,
  },
  {
    name: 'maxBufferedBytes',
    unit: 'bytes',
    least: 1,
    most: Number.MAX_SAFE_INTEGER,
    infinity: true,
  },
  { name: 'ioThreads', unit: 'threads', least: 1, most: 64, infinity: false },
];

describe.each(numberOptions)('option $name', ({ name, unit, least, most, infinity }) => {
  const accepted = `a whole number of ${unit} from ${least} to ${most}${
    infinity ? ' or Infinity' : ''
  }`;
  const outside = new Set([-1, least - 1, most + 1, -0.5, 0.1, 1.5, Number.NaN]);
  outside.add(Number.NEGATIVE_INFINITY);
  if (!infinity) outside.add(Number.POSITIVE_INFINITY);

  test.each([...outside])(
    'refuses %s with a RangeError that names option, value and what is accepted',
    (value) => {
      const error = errorOf({ [name]: value });
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toContain(`"${name}"`);
      expect(error.message).toContain(accepted);
      expect(error.message).toMatch(new RegExp(`got ${value}$`));
    },
  );

  test.each<[unknown, string]>([
    [null, 'null'],
    ['1000', '"1000"'],
    ['', '""'],
    [true, 'true'],
    [1000n, 'a bigint'],
    [Symbol('1000'), 'a symbol'],
    [[], 'an empty array'],
    [[1000], 'an array'],
    [{ valueOf: () => 1000 }, 'an object'],
    [() => 1000, 'a function'],
  ])(
    'refuses %o with a TypeError that names option, value and what is accepted',
    (value, shown) => {
      const error = errorOf({ [name]: value });
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toContain(`"${name}"`);
      expect(error.message).toContain(accepted);
      expect(error.message).toMatch(new RegExp(`got .*${shown}`));
    },
  );

  const inside = new Set([least, 1, Math.min(1000, most), most, undefined]);
  if (infinity) inside.add(Number.POSITIVE_INFINITY);

  test.each([...inside])('takes %s', (value) => {
    expect(construct({ [name]: value }).validateConfig()).toBe(true);
  });
});

test('with maxConnections Infinity connections are accepted', async () => {
  const { url } = await serve({ maxConnections: Number.POSITIVE_INFINITY });
  await connect(url());
  await connect(url());
});

test('with maxConnections 0 none are', async () => {
  const { url } = await serve({ maxConnections: 0 });
  expect(await refused(url())).toMatchObject({ status: 503 });
});

test('with maxMessageSize 1 a message of one byte arrives and one of two ends the connection', async () => {
  const messages = queue<string | Buffer>();
  const { url } = await serve({ maxMessageSize: 1 }, ({ wsApp }) => {
    wsApp.ws('/ws', (socket) => socket.onMessage(messages.push));
  });
  const client = await connect(url());
  client.send('a');
  expect(await messages.next()).toBe('a');
  client.send('ab');
  expect(await client.closed).toMatchObject({ code: 1009 });
});

describe('path', () => {
  test.each([
    '/',
    '/ws/',
    '/a/:b/c/:d',
    '/a/*',
    '/*',
    '*',
    '/caf%C3%A9',
    ['/ws'],
    ['/ws', '/chat/*', '/rooms/:id'],
    ['/ws', '/ws'],
  ])('takes %j', (path) => {
    expect(construct({ path }).validateConfig()).toBe(true);
  });

  test.each([
    '',
    'ws',
    ' /ws',
    '//',
    '/a//b',
    '/ws?token=x',
    '/ws#top',
    '/a*',
    '/*/a',
    '/:',
    '/:a-b',
    '/a:b',
    '/:x/:x',
    '/%',
    '/%zz',
    '/%ff',
  ])('refuses the pattern %j with a TypeError that names option and pattern', (pattern) => {
    for (const path of [pattern, ['/ws', pattern]]) {
      const error = errorOf({ path });
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toContain('"path"');
      expect(error.message).toContain(`"${pattern}"`);
      expect(error.message).toContain('Accepted are exact paths ("/ws")');
    }
  });

  test.each<[unknown, string]>([
    [[], 'an empty array'],
    [null, 'null'],
    [5, '5'],
    [Number.NaN, 'NaN'],
    [false, 'false'],
    [{}, 'an object'],
    [() => '/ws', 'a function'],
    [/^\/ws$/, 'an instance of RegExp'],
    [[5], '5 at index 0'],
    [['/ws', null], 'null at index 1'],
    [['/ws', ['/chat']], 'an array at index 1'],
    [['/ws', undefined], 'undefined at index 1'],
  ])('refuses %j with a TypeError that names option, value and what is accepted', (path, shown) => {
    const error = errorOf({ path });
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain('"path"');
    expect(error.message).toContain("a path such as '/ws' or a non-empty array of paths");
    expect(error.message).toContain(`got ${shown}`);
  });

  test('a change of the array after construction changes nothing', async () => {
    const path = ['/a'];
    const { url } = await serve({ path }, () => {
      path[0] = '/b';
      path.push('/c');
    });
    await connect(url('/a'));
    expect(await refused(url('/b'))).toMatchObject({ status: 404 });
  });
});

describe('allowOrigins', () => {
  test.each([
    [[]],
    [['*']],
    [['null']],
    [['https://example.com', 'http://localhost:*', 'https://*.example.com']],
    [[/^https:\/\/.*\.example\.com$/, /(?=a)/giu]],
    [[runInNewContext('/^https:/i') as RegExp]],
  ])('takes %o', (allowOrigins) => {
    expect(construct({ allowOrigins }).validateConfig()).toBe(true);
  });

  test.each([
    '',
    '/',
    ' ',
    'https://a.com ',
    'https://a b.com',
    'https://a.com\n',
    'https://café.fr',
  ])('refuses the rule %j with a TypeError that names option and what is accepted', (rule) => {
    const error = errorOf({ allowOrigins: ['https://a.com', rule] });
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain('"allowOrigins"');
    expect(error.message).toContain('invalid origin rule');
    expect(error.message).toContain('Accepted are "https://example.com"');
  });

  test.each([
    ['example.com', 'https://example.com'],
    ['*.example.com', 'https://*.example.com'],
    ['localhost:3000', 'http://localhost:3000'],
    ['https://example.com/path', 'https://example.com'],
    ['https://example.com?x', 'https://example.com'],
    ['https://user@example.com', 'https://example.com'],
    ['http://localhost:', 'http://localhost'],
  ])('refuses the rule %j, which is no origin, and says to write %j', (rule, suggestion) => {
    const error = errorOf({ allowOrigins: [rule] });
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain('"allowOrigins"');
    expect(error.message).toContain('an origin is scheme://host or scheme://host:port');
    expect(error.message).toContain(`; write "${suggestion}"`);
    expect(construct({ allowOrigins: [suggestion] }).validateConfig()).toBe(true);
  });

  test.each([
    'https://',
    'https:///',
    'http://localhost:abc',
    'http://localhost:99999',
    'http://localhost:30*',
    'http*://example.com',
    'https://[::1',
    'https://a\\b',
  ])('refuses the rule %j, which no origin can meet', (rule) => {
    const error = errorOf({ allowOrigins: [rule] });
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain('invalid origin rule');
    expect(error.message).toContain('Accepted are "https://example.com"');
  });

  test('names a rule that is invalid', () => {
    expect(errorOf({ allowOrigins: ['https://a b.com'] }).message).toContain('"https://a b.com"');
  });

  test.each<[unknown, string]>([
    [null, 'null'],
    ['https://example.com', '"https://example.com"'],
    [/^https:/, 'an instance of RegExp'],
    [{}, 'an object'],
    [5, '5'],
    [true, 'true'],
    [[null], 'null'],
    [[undefined], 'undefined'],
    [[5], '5'],
    [[['https://example.com']], 'an array'],
    [[{}], 'an object'],
    [[{ source: 'a', flags: '' }], 'an object'],
    [[() => true], 'a function'],
    [[new URL('https://example.com')], 'an instance of URL at index 0'],
  ])(
    'refuses %o with a TypeError that names option, value and what is accepted',
    (value, shown) => {
      const error = errorOf({ allowOrigins: value });
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toContain('"allowOrigins"');
      expect(error.message).toContain('an array of strings and regular expressions');
      expect(error.message).toContain(`got ${shown}`);
    },
  );
});

describe('verifyClient', () => {
  test.each<[string, unknown]>([
    ['a function', () => true],
    ['an async function', async () => true],
    ['undefined', undefined],
  ])('takes %s', (_name, verifyClient) => {
    expect(construct({ verifyClient }).validateConfig()).toBe(true);
  });

  test.each<[unknown, string]>([
    [null, 'null'],
    [true, 'true'],
    ['yes', '"yes"'],
    [1, '1'],
    [{}, 'an object'],
    [[], 'an empty array'],
    [Promise.resolve(true), 'an instance of Promise'],
  ])(
    'refuses %o with a TypeError that names option, value and what is accepted',
    (value, shown) => {
      const error = errorOf({ verifyClient: value });
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toContain('"verifyClient" must be a function');
      expect(error.message).toContain(`got ${shown}`);
    },
  );
});

describe('debug', () => {
  test.each([true, false, undefined])('takes %s', (debug) => {
    expect(construct({ debug }).validateConfig()).toBe(true);
  });

  test.each<[unknown, string]>([
    [null, 'null'],
    [1, '1'],
    [0, '0'],
    ['true', '"true"'],
    ['', '""'],
    [{}, 'an object'],
    [() => true, 'a function'],
  ])(
    'refuses %o with a TypeError that names option, value and what is accepted',
    (value, shown) => {
      const error = errorOf({ debug: value });
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toContain('"debug" must be a boolean');
      expect(error.message).toContain(`got ${shown}`);
    },
  );
});

describe('backpressurePolicy', () => {
  test.each(['close', 'drop', undefined])('takes %s', (backpressurePolicy) => {
    expect(construct({ backpressurePolicy }).validateConfig()).toBe(true);
  });

  test.each<[unknown, string]>([
    ['Close', '"Close"'],
    ['', '""'],
    [null, 'null'],
    [true, 'true'],
    [['close'], 'an array'],
  ])(
    'refuses %o with a TypeError that names option, value and what is accepted',
    (value, shown) => {
      const error = errorOf({ backpressurePolicy: value });
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toContain('"backpressurePolicy"');
      expect(error.message).toContain("'close' or 'drop'");
      expect(error.message).toContain(`got ${shown}`);
    },
  );
});

describe('a value in an error', () => {
  class Custom {}
  class Unprintable {}
  Object.defineProperty(Unprintable, 'name', { value: `a\n${'b'.repeat(100)}` });
  const broken = () => {
    throw new Error('not this one');
  };

  test.each<[string, unknown, string]>([
    ['a class', new Custom(), 'an instance of Custom'],
    ['a class of another realm', runInNewContext('new Map()'), 'an instance of Map'],
    ['no prototype', Object.create(null), 'an object'],
    ['a plain object of another realm', runInNewContext('({})'), 'an object'],
    ['a constructor of its own', { constructor: Map }, 'an object'],
    ['a class without a name', new (class {})(), 'an object'],
    ['a name that cannot be printed', new Unprintable(), `an instance of a?${'b'.repeat(38)}`],
    [
      'a prototype that throws',
      Object.create({
        get constructor() {
          return broken();
        },
      }),
      'an object',
    ],
    ['a proxy that throws', new Proxy({}, { getPrototypeOf: broken, get: broken }), 'an object'],
    ['a long text', 'x'.repeat(200), `"${'x'.repeat(80)}..."`],
    ['a text with line ends', 'a\n"b"\u0001', '"a\\n\\"b\\"\\u0001"'],
    ['a symbol', Symbol('secret'), 'a symbol'],
    ['a bigint', 5n, 'a bigint'],
    ['minus zero', -0.5, '-0.5'],
  ])('with %s is put into words', (_name, value, shown) => {
    expect(errorOf({ debug: value }).message).toMatch(/ must be a boolean, got /);
    expect(errorOf({ debug: value }).message.split(', got ')[1]).toBe(shown);
  });
});

describe('a name that is no option', () => {
  test.each([
    ['maxConnection', 'maxConnections'],
    ['MAXCONNECTIONS', 'maxConnections'],
    ['heartbeatMS', 'heartbeatMs'],
    ['heartbeat', 'heartbeatMs'],
    ['closeTimeout', 'closeTimeoutMs'],
    ['paths', 'path'],
    ['maxPayload', 'maxMessageSize'],
    ['maxPayloadLength', 'maxMessageSize'],
    ['maxHttpBufferSize', 'maxMessageSize'],
    ['pingInterval', 'heartbeatMs'],
    ['pingTimeout', 'pongTimeoutMs'],
    ['handleProtocols', 'protocols'],
    ['origins', 'allowOrigins'],
    ['cors', 'allowOrigins'],
    ['allowedOrigins', 'allowOrigins'],
    ['allowOrigin', 'allowOrigins'],
    ['compression', 'perMessageDeflate'],
  ])('%s is refused with a TypeError that asks for %s', (name, meant) => {
    const error = errorOf({ [name]: 1 });
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toBe(
      `WebSocketPlugin: unknown option "${name}"; did you mean "${meant}"?`,
    );
  });

  test.each([
    ['zlibDeflateOptions', 'level'],
    ['treshold', 'threshold'],
    ['serverMaxWindowbits', 'serverMaxWindowBits'],
  ])('perMessageDeflate.%s is refused as well', (name, meant) => {
    const error = errorOf({ perMessageDeflate: { [name]: {} } });
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toBe(
      `WebSocketPlugin: unknown option "perMessageDeflate.${name}"; did you mean "perMessageDeflate.${meant}"?`,
    );
  });

  test('and that resembles none is refused with a list of all', () => {
    const names = Object.keys(allUndefined);
    const { message } = errorOf({ port: 3000 });
    expect(message).toMatch(
      /^WebSocketPlugin: unknown option "port"; accepted are "path", "heartbeatMs", /,
    );
    for (const name of names) expect(message).toContain(`"${name}"`);
    expect(message.split('accepted are ')[1]?.split(', ')).toHaveLength(names.length);
    expect(errorOf({ perMessageDeflate: { foo: 1 } }).message).toContain(
      'unknown option "perMessageDeflate.foo"; accepted are "perMessageDeflate.threshold", ',
    );
  });

  test('is shown quoted and shortened', () => {
    const { message } = errorOf({ [`a\n"${'x'.repeat(10_000)}`]: 1 });
    expect(message).toContain(`unknown option "a\\n\\"${'x'.repeat(77)}..."; accepted are`);
  });

  test('is no error where it is undefined, a symbol, or not enumerable', () => {
    const hidden = Object.defineProperty({}, 'port', { value: 1, enumerable: false });
    for (const options of [{ port: undefined }, { [Symbol('port')]: 1 }, hidden]) {
      expect(construct(options).validateConfig()).toBe(true);
    }
  });

  test('is one where it is inherited, unless everything inherits it', () => {
    for (const options of [
      Object.create({ port: 1 }),
      Object.create(Object.create(null, { port: { value: 1, enumerable: true } })),
      Object.assign(Object.create(null), { port: 1 }),
      runInNewContext('({ port: 1 })'),
    ]) {
      expect(errorOf(options).message).toContain('unknown option "port"');
    }
    Object.defineProperty(Object.prototype, 'polluted', {
      value: 1,
      writable: true,
      enumerable: true,
      configurable: true,
    });
    onTestFinished(() => {
      Reflect.deleteProperty(Object.prototype, 'polluted');
    });
    expect(construct({}).validateConfig()).toBe(true);
    expect(construct(Object.create(null)).validateConfig()).toBe(true);
  });

  test('has its getter run, whose error passes through', () => {
    const mine = new Error('not configured');
    const options = {
      get port(): number {
        throw mine;
      },
    };
    expect(errorOf(options)).toBe(mine);
    expect(errorOf({ perMessageDeflate: options })).toBe(mine);
  });
});

describe('the options as a whole', () => {
  test.each<[unknown, string]>([
    [null, 'null'],
    [5, '5'],
    ['/ws', '"/ws"'],
    [true, 'true'],
    [[], 'an empty array'],
    [['/ws'], 'an array'],
    [() => {}, 'a function'],
    [Symbol('options'), 'a symbol'],
    [new Map([['path', '/m']]), 'an instance of Map'],
    [new Set(['path']), 'an instance of Set'],
    [Promise.resolve({ path: '/m' }), 'an instance of Promise'],
  ])('refuses %o with a TypeError that names the value', (options, shown) => {
    const error = errorOf(options);
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain('options must be an object');
    expect(error.message).toContain(`got ${shown}`);
  });

  test('may come from a prototype or a getter', async () => {
    class Configuration {
      get path() {
        return '/configured';
      }
    }
    const plugin = construct(new Configuration());
    expect(plugin.validateConfig()).toBe(true);
    const app = createApp(hostOptions);
    new WebSocketPlugin(Object.create({ path: '/inherited' })).install(app);
    const server = app.listen(0, '127.0.0.1');
    onTestFinished(() => app.shutdown());
    await connect(wsUrl(await portOf(server), '/inherited'));
  });

  test('an error of a getter is the error that is thrown', () => {
    const mine = new Error('not configured');
    const options = {
      get path(): string {
        throw mine;
      },
    };
    expect(errorOf(options)).toBe(mine);
  });

  test('a plugin that could not be constructed does not get in the way of another', async () => {
    expect(() => construct({ path: '' })).toThrow(TypeError);
    const { url } = await serve();
    await connect(url());
  });
});
