/** Who may speak with Redis: options, passwords, certificates, users; and that nobody reads a password. */
import { format, inspect } from 'node:util';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocketPlugin, type WSClusterOptions } from '../index.js';
import { makeCertificate } from './support/certificate.js';
import { queue } from './support/events.js';
import {
  type ClusterNode,
  channelOf,
  channelOfAll,
  clusterNode,
  subscribed,
  twoNodes,
  upNode,
} from './support/nodes.js';
import { hasRedis, type RedisOptions, startRedis } from './support/redis.js';
import { serve } from './support/server.js';
import { until } from './support/until.js';

const URL = 'redis://127.0.0.1:1';

/** A password that is found wherever it is shown, in whatever form. */
const SECRET = 'Xyzzy-s3cret';

function errorOf(cluster: unknown): Error {
  try {
    new WebSocketPlugin({ cluster } as object);
  } catch (error) {
    return error as Error;
  }
  throw new Error(`nothing was thrown for ${inspect(cluster)}`);
}

/** Everything that an error says, to whoever looks. */
const everything = (error: unknown) =>
  [String(error), inspect(error, { depth: null, showHidden: true }), format('%O', error)].join(
    '\n',
  );

describe('an option of cluster', () => {
  const wrong: [string, unknown, RegExp, ErrorConstructor][] = [
    ['cluster', 5, /'?cluster'?.*5/, TypeError],
    ['cluster', 'redis://x', /'?cluster'?/, TypeError],
    ['cluster', true, /'?cluster'?.*true/, TypeError],
    ['cluster', null, /'?cluster'?.*null/, TypeError],
    ['cluster', [], /'?cluster'?/, TypeError],
    ['cluster', () => {}, /'?cluster'?/, TypeError],
    ['cluster.url', {}, /cluster\.url/, TypeError],
    ['cluster.url', { url: undefined }, /cluster\.url/, TypeError],
    ['cluster.url', { url: 5 }, /cluster\.url.*5/, TypeError],
    ['cluster.url', { url: '' }, /cluster\.url/, TypeError],
    ['cluster.url', { url: [] }, /cluster\.url/, TypeError],
    ['cluster.url', { url: [5] }, /cluster\.url/, TypeError],
    ['cluster.url', { url: [URL, 'nonsense'] }, /cluster\.url/, TypeError],
    ['cluster.url', { url: 'http://127.0.0.1' }, /cluster\.url.*http/, TypeError],
    ['cluster.url', { url: '127.0.0.1:6379' }, /cluster\.url/, TypeError],
    ['cluster.url', { url: 'redis://' }, /cluster\.url/, TypeError],
    ['cluster.url', { url: 'redis://host:0' }, /cluster\.url/, TypeError],
    ['cluster.url', { url: 'redis://host:99999' }, /cluster\.url/, TypeError],
    ['cluster.url', { url: 'redis://host:port' }, /cluster\.url/, TypeError],
    ['cluster.url', { url: 'redis://host name' }, /cluster\.url/, TypeError],
    ['cluster.url', { url: 'redis+unix://' }, /cluster\.url/, TypeError],
    ['cluster.url', { url: ['redis://a', 'rediss://b'] }, /cluster\.url/, TypeError],
    ['cluster.prefix', { url: URL, prefix: '' }, /cluster\.prefix/, TypeError],
    ['cluster.prefix', { url: URL, prefix: 'a b' }, /cluster\.prefix.*a b/, TypeError],
    ['cluster.prefix', { url: URL, prefix: 'a:b' }, /cluster\.prefix.*a:b/, TypeError],
    ['cluster.prefix', { url: URL, prefix: 'ä' }, /cluster\.prefix.*ä/, TypeError],
    ['cluster.prefix', { url: URL, prefix: 'x'.repeat(65) }, /cluster\.prefix/, Error],
    ['cluster.prefix', { url: URL, prefix: 5 }, /cluster\.prefix.*5/, TypeError],
    [
      'cluster.username',
      { url: URL, username: 5, password: 'x' },
      /cluster\.username.*5/,
      TypeError,
    ],
    ['cluster.username', { url: URL, username: 'me' }, /cluster\.(username|password)/, TypeError],
    ['cluster.password', { url: URL, password: 5 }, /cluster\.password/, TypeError],
    ['cluster.password', { url: URL, password: null }, /cluster\.password/, TypeError],
    ['cluster.tls', { url: 'rediss://h', tls: 5 }, /cluster\.tls.*5/, TypeError],
    ['cluster.tls.ca', { url: 'rediss://h', tls: { ca: 5 } }, /cluster\.tls.*\bca\b/, TypeError],
    ['cluster.tls.ca', { url: 'rediss://h', tls: { ca: 'x' } }, /cluster\.tls.*\bca\b/, TypeError],
    ['cluster.tls.ca', { url: 'rediss://h', tls: { ca: [] } }, /cluster\.tls.*\bca\b/, TypeError],
    [
      'cluster.tls.cert',
      { url: 'rediss://h', tls: { cert: 'x', key: 'x' } },
      /cluster\.tls.*\b(cert|key)\b/,
      TypeError,
    ],
    [
      'cluster.tls.key',
      { url: 'rediss://h', tls: { cert: makeCertificate().cert } },
      /cluster\.tls.*\b(cert|key)\b/,
      TypeError,
    ],
    [
      'cluster.tls.serverName',
      { url: 'rediss://h', tls: { serverName: 5 } },
      /cluster\.tls.*serverName/,
      TypeError,
    ],
    [
      'cluster.tls.serverName',
      { url: 'rediss://h', tls: { serverName: 'a b' } },
      /cluster\.tls.*serverName/,
      TypeError,
    ],
    ['cluster.tls.ciphers', { url: 'rediss://h', tls: { ciphers: 'x' } }, /ciphers/, TypeError],
    ['cluster.subscribe', { url: URL, subscribe: 'all' }, /cluster\.subscribe.*all/, TypeError],
    ['cluster.subscribe', { url: URL, subscribe: 5 }, /cluster\.subscribe.*5/, TypeError],
    [
      'cluster.publishBuffer',
      { url: URL, publishBuffer: '1' },
      /cluster\.publishBuffer.*1/,
      TypeError,
    ],
    [
      'cluster.publishBuffer',
      { url: URL, publishBuffer: -1 },
      /cluster\.publishBuffer.*-1/,
      RangeError,
    ],
    [
      'cluster.publishBuffer',
      { url: URL, publishBuffer: 1.5 },
      /cluster\.publishBuffer.*1\.5/,
      RangeError,
    ],
    [
      'cluster.publishBuffer',
      { url: URL, publishBuffer: Number.NaN },
      /cluster\.publishBuffer.*NaN/,
      RangeError,
    ],
    [
      'cluster.pingTimeoutMs',
      { url: URL, pingTimeoutMs: -1 },
      /cluster\.pingTimeoutMs.*-1/,
      RangeError,
    ],
    [
      'cluster.pingTimeoutMs',
      { url: URL, pingTimeoutMs: 0 },
      /cluster\.pingTimeoutMs.*0/,
      RangeError,
    ],
    [
      'cluster.pingTimeoutMs',
      { url: URL, pingTimeoutMs: 2 ** 31 },
      /cluster\.pingTimeoutMs/,
      RangeError,
    ],
    [
      'cluster.pingTimeoutMs',
      { url: URL, pingTimeoutMs: true },
      /cluster\.pingTimeoutMs.*true/,
      TypeError,
    ],
    ['an unknown one', { url: URL, prefixx: 'x' }, /prefixx.*prefix/s, TypeError],
    ['an unknown one', { url: URL, channel: 'x' }, /channel/, TypeError],
  ];

  test.each([...new Set(wrong.map(([name]) => name))])(
    'is refused, with its name and what it is: %s',
    (name) => {
      for (const [, cluster, text, Kind] of wrong.filter(([option]) => option === name)) {
        const error = errorOf(cluster);
        expect(error, inspect(cluster)).toBeInstanceOf(Kind);
        expect(error.message).toMatch(text);
        expect(error.message.length).toBeLessThan(600);
      }
    },
  );

  const right: Partial<WSClusterOptions>[] = [
    { url: URL },
    { url: 'redis://host' },
    { url: 'rediss://host' },
    { url: 'redis://[::1]:6379' },
    { url: 'redis://user:password@host:6379' },
    { url: 'redis://:password@host' },
    { url: 'redis+unix:///run/redis.sock' },
    { url: [URL] },
    { url: ['redis://a', 'redis://b', 'redis://c'] },
    { url: URL, username: 'me', password: 'x' },
    { url: URL, password: 'x' },
    { url: URL, prefix: 'x'.repeat(64) },
    { url: URL, prefix: 'A.b_c-9' },
    { url: URL, publishBuffer: 1, pingTimeoutMs: 100 },
    { url: 'rediss://host', tls: { ca: makeCertificate().cert, serverName: 'other' } },
    { url: 'rediss://host', tls: { ca: [Buffer.from(makeCertificate().cert)] } },
    { url: 'rediss://host', tls: makeCertificate() },
    {
      ...{ url: URL, prefix: undefined, username: undefined, password: undefined, tls: undefined },
      ...{ subscribe: undefined, publishBuffer: undefined, pingTimeoutMs: undefined },
    },
  ];

  test('is accepted where it is right', () => {
    for (const cluster of right) new WebSocketPlugin({ cluster: cluster as WSClusterOptions });
  });

  test('may be read only once, and may throw', () => {
    const cluster = {
      get url(): string {
        throw new Error('of a getter');
      },
    };
    expect(errorOf(cluster).message).toContain('of a getter');
  });

  test('is not needed: there are no statistics without', async () => {
    const { plugin } = await serve();
    expect('cluster' in plugin.getStats()).toBe(false);
  });

  test('can be taken from an object without a prototype', () => {
    new WebSocketPlugin({ cluster: Object.assign(Object.create(null), { url: URL }) });
  });
});

describe('setClusterCredentials()', () => {
  test('needs a broker', () => {
    const plain = new WebSocketPlugin();
    expect(() => plain.setClusterCredentials({ password: 'x' })).toThrow(/cluster/);
    const adapted = new WebSocketPlugin({
      cluster: { open() {}, publish() {}, subscribe() {}, unsubscribe() {}, close() {} },
    });
    expect(() => adapted.setClusterCredentials({ password: 'x' })).toThrow(Error);
  });

  test('refuses what are none, and shows no password', () => {
    const plugin = new WebSocketPlugin({ cluster: { url: URL } });
    const wrong = [
      ...[undefined, null, 5, 'password', {}, { username: 'me' }, { password: 5 }],
      { username: 5, password: SECRET },
    ];
    for (const credentials of wrong) {
      let thrown: unknown;
      try {
        plugin.setClusterCredentials(credentials as { password: string });
      } catch (error) {
        thrown = error;
      }
      expect(thrown, inspect(credentials)).toBeInstanceOf(TypeError);
      expect(everything(thrown)).not.toContain(SECRET);
    }
  });

  test('may come before the plugin is installed, and after its end', async () => {
    const { plugin } = await clusterNode({ url: URL });
    plugin.setClusterCredentials({ password: 'x' });
    await plugin.cleanup();
    plugin.setClusterCredentials({ password: 'x' });
  });
});

describe('a password', () => {
  const bad = [
    `redis://user:${SECRET}@`,
    `redis://user:${SECRET}@host:99999`,
    `redis://user:${SECRET}@host:port`,
    `redis://user:${SECRET}@host name`,
    `redis://user:${SECRET}@host/not-a-db`,
    `redis://user:${SECRET}@host?x=${SECRET}`,
    `redis://user:${SECRET}@host#${SECRET}`,
    `redis://user:${SECRET}%zz@host`,
    `redis://user:${SECRET}%ff@host`,
    `redis://user:${SECRET}/more@host`,
    `redis://user:${SECRET}#more@host`,
    `redis://user:${SECRET}@more@host`,
    `redis://user:${SECRET}?more@host`,
    `redis://user:${SECRET}:more@host:x`,
    `redis://${SECRET}@host:x`,
    `redis://:${SECRET}@:6379`,
    `http://user:${SECRET}@host`,
    `rediss:user:${SECRET}@host`,
    `redis:/user:${SECRET}@host`,
    `user:${SECRET}@host`,
    `//user:${SECRET}@host`,
    ` redis://user:${SECRET}@host`,
    `redis://user:${SECRET}@ho\nst`,
    `redis://user:${SECRET}@[::1`,
    `redis+unix://user:${SECRET}@`,
    `redis+unix://user:${SECRET}@host/path`,
    `REDIS//user:${SECRET}@host`,
    `${SECRET}`,
    `redis://user:${SECRET}@${'x'.repeat(300)}`,
    `redis://us\u0000er:${SECRET}@host`,
    `redis://user:${SECRET}\ud800@host`,
  ];

  test('is not shown in the error about the URL that it is in', () => {
    for (const url of bad) {
      for (const form of [url, [url], [URL, url]]) {
        let thrown: unknown;
        try {
          new WebSocketPlugin({ cluster: { url: form } });
        } catch (error) {
          thrown = error;
        }
        if (thrown !== undefined) expect(everything(thrown), url).not.toContain(SECRET);
      }
    }
  });

  const misplaced = [
    { url: URL, password: SECRET, prefix: 5 },
    { url: URL, password: SECRET, pasword: SECRET },
    { url: URL, password: { secret: SECRET } },
    { url: URL, password: [SECRET] },
    { url: URL, password: Buffer.from(SECRET) },
    { url: URL, username: { secret: SECRET }, password: SECRET },
    { url: { href: `redis://:${SECRET}@host` } },
    { url: [{ href: `redis://:${SECRET}@host` }] },
    { url: [[`redis://:${SECRET}@host`]] },
    { uri: `redis://:${SECRET}@host` },
    { url: URL, password: SECRET, tls: { key: SECRET, cert: SECRET } },
    { url: 'rediss://host', password: SECRET, tls: { ca: SECRET } },
    `redis://:${SECRET}@host`,
    [`redis://:${SECRET}@host`],
  ];

  test('is not shown in the error about another option, or about the place it is in', () => {
    for (const cluster of misplaced) {
      expect(everything(errorOf(cluster)), inspect(cluster)).not.toContain(SECRET);
    }
  });

  /** All that is printed from now on. */
  function printed() {
    const lines: string[] = [];
    for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const) {
      const spy = vi.spyOn(console, method).mockImplementation((...args) => {
        lines.push(args.map((arg) => (typeof arg === 'string' ? arg : everything(arg))).join(' '));
      });
      onTestFinished(() => spy.mockRestore());
    }
    return lines;
  }

  /** All that a plugin tells of itself. */
  async function tales(node: ClusterNode) {
    const { plugin } = node;
    return [
      inspect(plugin, { depth: null, showHidden: true }),
      inspect(plugin.getStats(), { depth: null }),
      inspect(plugin.getStatus(), { depth: null }),
      inspect(plugin.getMetadata(), { depth: null }),
      JSON.stringify([plugin.getStats(), plugin.getStatus()]),
      ...node.downs.waiting,
    ].join('\n');
  }

  test.skipIf(!hasRedis('redis-login.spec.ts')).each([
    ['in the URL', (url: string) => ({ url: url.replace('://', `://default:${SECRET}@`) })],
    ['as an option', (url: string) => ({ url, password: SECRET })],
    ['of a user, as an option', (url: string) => ({ url, username: 'nobody', password: SECRET })],
    [
      'in place of another',
      (url: string) => ({ url: url.replace('://', `://:${SECRET}2@`), password: SECRET }),
    ],
  ])('that is refused, %s, is shown nowhere', async (_name, cluster) => {
    const lines = printed();
    const redis = await startRedis({
      users: ['user default on >right ~* &* +@all'],
      auth: ['right'],
    });
    const node = await clusterNode(cluster(redis.url), { debug: true });
    const errors: unknown[] = [];
    node.plugin.on('error', (error) => errors.push(error));
    const reason = await node.downs.next();
    expect(reason).toMatch(/WRONGPASS|password|auth/i);
    await node.member('room');
    const all = [reason, ...lines, await tales(node), ...errors.map(everything)].join('\n');
    expect(all).not.toContain(SECRET);
    expect(all).not.toContain(encodeURIComponent(SECRET));
  });

  test.skipIf(!hasRedis('redis-login.spec.ts'))('that is right is shown nowhere', async () => {
    const lines = printed();
    const redis = await startRedis({
      users: [`user default on >${SECRET} ~* &* +@all`],
      auth: [SECRET],
    });
    const node = await upNode({ url: redis.url, password: SECRET }, { debug: true });
    await redis.kill();
    const reason = await node.downs.next();
    const all = [reason, ...lines, await tales(node)].join('\n');
    expect(all).not.toContain(SECRET);
  });
});

describe.skipIf(!hasRedis('redis-login.spec.ts'))('Redis', () => {
  /** Redis with a password for everyone. */
  const withPassword = (password: string, more: RedisOptions = {}) =>
    startRedis({ users: [`user default on >${password} ~* &* +@all`], auth: [password], ...more });

  test('lets in who says the right password, in the URL or as options', async () => {
    const password = 'p@s:w/r?d#%25+é';
    const { url } = await withPassword(password);
    const inUrl = (user: string) => `${user}:${encodeURIComponent(password)}@`;
    const ways: WSClusterOptions[] = [
      { url: url.replace('://', `://${inUrl('')}`) },
      { url: url.replace('://', `://${inUrl('default')}`) },
      { url, password },
      { url, username: 'default', password },
      // In place of what the URL says.
      { url: url.replace('://', '://a:b@'), username: 'default', password },
    ];
    const nodes = await Promise.all(ways.map((cluster) => upNode(cluster)));
    const [first, ...others] = await Promise.all(nodes.map((node) => node.member()));
    nodes[0]?.wsApp.wsBroadcast('text');
    for (const member of [first, ...others]) expect(await member?.client.next()).toBe('text');
  });

  test('lets in who had the wrong password once it is the right one', async () => {
    const redis = await withPassword('other');
    const a = await clusterNode({ url: redis.url, password: 'later' });
    expect(await a.downs.next()).toMatch(/WRONGPASS|password|auth/i);
    expect(a.stats().state).not.toBe('up');
    expect(await a.plugin.healthCheck()).toBe(true);
    await redis.command('ACL', 'SETUSER', 'default', '>later');
    await a.ups.next();
  });

  test('lets in nobody without the password that it asks for', async () => {
    const redis = await withPassword('secret');
    const a = await clusterNode({ url: redis.url });
    expect(await a.downs.next()).toMatch(/NOAUTH|password|auth/i);
    a.plugin.setClusterCredentials({ password: 'secret' });
    await a.ups.next();
  });

  test('may have its password rotated without anything being lost', async () => {
    const redis = await withPassword('old');
    const [a, b] = await twoNodes({ url: redis.url, password: 'old' });
    const { client } = await b.member('room');
    await subscribed(redis, 'room', 1);
    const admin = await redis.admin();
    await admin.command('ACL', 'SETUSER', 'default', '>new');
    for (const { plugin } of [a, b]) plugin.setClusterCredentials({ password: 'new' });
    await admin.command('ACL', 'SETUSER', 'default', '<old');
    a.wsApp.wsBroadcast('on the connections there are', 'room');
    expect(await client.next()).toBe('on the connections there are');
    expect([a.stats().state, b.stats().state]).toEqual(['up', 'up']);
    await admin.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await admin.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    for (;;) {
      const [, count] = await admin.texts('PUBSUB', 'NUMSUB', channelOf('room'));
      if (count === '1') break;
    }
    await until(() => a.stats().state === 'up' && b.stats().state === 'up');
    await until(() => a.stats().reconnects > 0);
    a.wsApp.wsBroadcast('on new ones', 'room');
    expect(await client.next()).toBe('on new ones');
  });

  test('may have had its password rotated before anybody is told', async () => {
    const redis = await withPassword('old');
    const a = await upNode({ url: redis.url, password: 'old' });
    const admin = await redis.admin();
    await admin.command('ACL', 'SETUSER', 'default', 'resetpass', '>new');
    await admin.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await admin.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    expect(await a.downs.next()).not.toContain('old');
    await until(() => a.stats().state === 'down');
    a.plugin.setClusterCredentials({ username: 'default', password: 'new' });
    await a.ups.next();
  });

  describe('with users', () => {
    const channels = `&${channelOfAll()} &${channelOf('open*')}`;
    const users = [
      'user default on >admin ~* &* +@all',
      `user app on >app resetchannels ${channels} -@all +@connection +@pubsub +client`,
    ];
    const start = () => startRedis({ users, auth: ['admin'] });
    const app = { username: 'app', password: 'app' };

    test('that may not hear some rooms: the others are not concerned', async () => {
      const redis = await start();
      const [a, b] = await twoNodes({ url: redis.url, ...app });
      const { socket, client } = await b.member();
      for (let n = 0; n < 500; n++) {
        socket.join(`open-${n}`);
        if (n % 100 === 0) socket.join(`closed-${n}`);
      }
      await until(() => b.stats().refused === 5);
      for (let n = 0; n < 500; n++) await subscribed(redis, `open-${n}`, 1);
      for (let n = 0; n < 500; n++) a.wsApp.wsBroadcast(`${n}`, `open-${n}`);
      for (let n = 0; n < 500; n++) await client.next();
      expect(b.stats()).toMatchObject({ state: 'up', refused: 5, received: 500 });
      // What may not be said is counted; the rest goes out.
      a.wsApp.wsBroadcast('refused', 'closed-0');
      a.wsApp.wsBroadcast('end', 'open-0');
      expect(await client.next()).toBe('end');
      await until(() => a.stats().dropped === 1);
      await until(() => a.everyGap.some(({ node, room }) => node === a.id && room === 'closed-0'));
      expect(a.stats().state).toBe('up');
    });

    test('whose rights grow hear what they could not', async () => {
      const redis = await start();
      const [a, b] = await twoNodes({ url: redis.url, ...app });
      const { client } = await b.member('closed', 'open');
      await until(() => b.stats().refused === 1);
      await redis.command('ACL', 'SETUSER', 'app', `&${channelOf('closed')}`);
      // More rights close no connection; a new one has them.
      await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await redis.command('CLIENT', 'KILL', 'USER', 'app');
      await subscribed(redis, 'closed', 1);
      await until(() => b.stats().refused === 0 && a.stats().state === 'up');
      a.wsApp.wsBroadcast('text', 'closed');
      expect(await client.next()).toBe('text');
    });

    test('whose rights shrink are cut off by it, and keep the rest', async () => {
      const redis = await start();
      await redis.command('ACL', 'SETUSER', 'app', `&${channelOf('closed')}`);
      const [a, b] = await twoNodes({ url: redis.url, ...app });
      const { client } = await b.member('closed', 'open');
      await subscribed(redis, 'closed', 1);
      await redis.command('ACL', 'SETUSER', 'app', 'resetchannels', ...channels.split(' '));
      await until(() => b.stats().refused === 1);
      await subscribed(redis, 'open', 1);
      await until(() => a.stats().state === 'up' && b.stats().state === 'up');
      a.wsApp.wsBroadcast('text', 'open');
      expect(await client.next()).toBe('text');
    });

    test('that may do nothing at all are told so', async () => {
      const redis = await start();
      await redis.command('ACL', 'SETUSER', 'nothing', 'on', '>x', 'resetchannels', '-@all');
      const a = await clusterNode({ url: redis.url, username: 'nothing', password: 'x' });
      expect(await a.downs.next()).toMatch(/NOPERM|permission/i);
      await redis.command('ACL', 'SETUSER', 'nothing', '+@all', '&*');
      // A connection there is asks again in half a minute; a new one has the rights at once.
      await redis.command('CLIENT', 'KILL', 'USER', 'nothing');
      await a.ups.next();
    });

    test('that may subscribe and not publish: loss is counted, and told of once in a while', async () => {
      const redis = await start();
      await redis.command(
        'ACL',
        'SETUSER',
        'deaf',
        'on',
        '>x',
        '&*',
        '+@all',
        '-publish',
        '-spublish',
      );
      const a = await clusterNode({ url: redis.url, username: 'deaf', password: 'x' });
      const errors = queue<Error>();
      a.plugin.on('error', (error) => errors.push(error));
      for (let n = 1; n <= 10; n++) {
        a.wsApp.wsBroadcast('one', 'room');
        await until(() => a.stats().dropped >= n);
      }
      const ofRoom = ({ message }: Error) => message.includes('the room "room"');
      let error: Error;
      do error = await errors.next();
      while (!ofRoom(error));
      expect(error.message).toMatch(/NOPERM/);
      // Told once, and not ten times.
      expect(errors.waiting.filter(ofRoom)).toEqual([]);
    });

    test('that are deleted are told so, and come back', async () => {
      const redis = await start();
      const a = await upNode({ url: redis.url, ...app });
      await redis.command('ACL', 'DELUSER', 'app');
      await a.downs.next();
      await redis.command('ACL', 'SETUSER', 'app', 'on', '>app', '&*', '+@all');
      await a.ups.next();
    });
  });

  describe('over TLS', () => {
    test('with a certificate that is trusted', async () => {
      const certificate = makeCertificate();
      const redis = await startRedis({ certificate });
      const [a, b] = await twoNodes({ url: redis.url, tls: { ca: certificate.cert } });
      const { client } = await b.member('room');
      await subscribed(redis, 'room', 1);
      a.wsApp.wsBroadcast('x'.repeat(1_000_000), 'room');
      expect((await client.next()).length).toBe(1_000_000);
      await redis.kill();
      await a.downs.next();
      await redis.start();
      await a.ups.next();
    });

    test('with a certificate of an authority that is trusted, among others', async () => {
      const authority = makeCertificate({ authority: true, host: 'authority' });
      const redis = await startRedis({ certificate: makeCertificate({ issuer: authority }) });
      const ca = [makeCertificate({ host: 'other' }).cert, Buffer.from(authority.cert)];
      await upNode({ url: redis.url, tls: { ca } });
    });

    test.each([
      ['that nobody has vouched for', {}, {} as { ca?: string }],
      ['of another authority', {}, { ca: makeCertificate({ host: 'another' }).cert }],
      ['that has expired', { expired: true }, 'own'],
      ['of another host', { host: 'elsewhere.example' }, 'own, by name'],
    ])('with a certificate %s, it is not spoken with', async (_name, made, trust) => {
      const certificate = makeCertificate(made);
      const redis = await startRedis({ certificate });
      const tls =
        typeof trust === 'object'
          ? trust
          : {
              ca: certificate.cert,
              ...(String(trust).includes('name') ? { serverName: 'localhost' } : {}),
            };
      const a = await clusterNode({ url: redis.url, tls, password: SECRET });
      const reason = await a.downs.next();
      expect(reason).toMatch(/certificate/i);
      expect(reason).not.toContain(SECRET);
      expect(a.stats().state).not.toBe('up');
    });

    test('with a certificate of another host whose name is told', async () => {
      const certificate = makeCertificate({ host: 'elsewhere.example' });
      const redis = await startRedis({ certificate });
      await upNode({
        url: redis.url,
        tls: { ca: certificate.cert, serverName: 'elsewhere.example' },
      });
    });

    test('with certificates of clients', async () => {
      const certificate = makeCertificate();
      const authority = makeCertificate({ authority: true, host: 'authority' });
      const own = makeCertificate({ issuer: authority, host: 'node' });
      const redis = await startRedis({
        certificate,
        clientAuthority: authority.cert,
        clientCertificate: own,
      });
      const stranger = await clusterNode({ url: redis.url, tls: { ca: certificate.cert } });
      await stranger.downs.next();
      await upNode({ url: redis.url, tls: { ca: certificate.cert, ...own } });
      expect(stranger.stats().state).not.toBe('up');
    });

    test('to a server that speaks none, and without to one that does', async () => {
      const plain = await startRedis();
      const certificate = makeCertificate();
      const secure = await startRedis({ certificate });
      const a = await clusterNode({
        url: plain.url.replace('redis:', 'rediss:'),
        tls: { ca: certificate.cert },
        pingTimeoutMs: 500,
      });
      const b = await clusterNode({
        url: secure.url.replace('rediss:', 'redis:'),
        pingTimeoutMs: 500,
      });
      expect(await a.downs.next()).toMatch(/./);
      expect(await b.downs.next()).toMatch(/./);
    });
  });

  test('takes no option tls without rediss://', () => {
    // It would look as if it were encrypted.
    expect(errorOf({ url: URL, tls: { ca: makeCertificate().cert } }).message).toMatch(/tls/);
  });
});
