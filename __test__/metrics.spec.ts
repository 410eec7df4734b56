/** `metrics()`: what it counts. That it can be read is in `prometheus.spec.ts`. */

import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { WebSocketPlugin, type WSStats } from '../index.js';
import { tableRowsOf } from './docs/markdown.js';
import { block } from './support/block.js';
import { connect, expectEchoOn, refused } from './support/client.js';
import { memoryBus } from './support/memory-bus.js';
import { bucketsOf, namesOf, samplesOf } from './support/metrics.js';
import { echo, pair, serveRecorded } from './support/pair.js';
import { serve } from './support/server.js';
import { until } from './support/until.js';

const read = (plugin: WebSocketPlugin) => samplesOf(plugin.metrics());

/** Keys of statistics, with those of the objects in them: `memory.used`. */
function keysOf(stats: WSStats): string[] {
  return Object.entries(stats).flatMap(([key, value]) => {
    const isGroup = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isGroup ? Object.keys(value).map((inner) => `${key}.${inner}`) : [key];
  });
}

describe('the table of metrics in docs/api.md', () => {
  const rows = tableRowsOf('docs/api.md')
    .map((cells) => cells.map((cell) => cell.replaceAll('`', '')))
    .filter(([first]) => first?.startsWith('nextrush_websocket_'));

  function clustered(): WebSocketPlugin {
    return new WebSocketPlugin({ cluster: memoryBus().adapter('') });
  }

  test('has each name that metrics() prints, and no other', () => {
    const text = clustered().metrics();
    const described = [...text.matchAll(/^# TYPE (\S+) (\w+)$/gm)].map(([, name, type]) => {
      const ending = { counter: '_total', info: '_info' }[`${type}`] ?? '';
      return [`${name}${ending}`, type];
    });
    expect(rows.map(([name, type]) => [name, type])).toEqual(described);
  });

  test('has what the guide says is worth a look', () => {
    const known = rows.map(([name]) => name);
    const watched = tableRowsOf('docs/guide/observability.md').flatMap(([first = '']) =>
      [...first.matchAll(/`(\w+)`/g)].map(([, name]) => `nextrush_websocket_${name}`),
    );
    expect(watched.length).toBeGreaterThan(5);
    expect(watched.filter((name) => !known.includes(name))).toEqual([]);
  });

  test('says for each field of getStats() which metric has it', () => {
    const told = rows.flatMap(([, , , fields = '']) => fields.split(', ').filter(Boolean));
    const groups = told.filter((field) => field.endsWith('.*')).map((field) => field.slice(0, -1));
    // A new field needs a metric, in src/binding/metrics.rs, and a row that says which one it is.
    const missing = keysOf(clustered().getStats()).filter(
      (key) => !told.includes(key) && !groups.some((group) => key.startsWith(group)),
    );
    expect(missing).toEqual([]);
  });
});

test('a plugin that nothing has happened to has counted nothing', () => {
  const text = new WebSocketPlugin().metrics();
  const counted = [...samplesOf(text)].filter(([, value]) => value !== 0);
  expect(counted.map(([name]) => name)).toEqual([
    `plugin_info{version="${new WebSocketPlugin().version}"}`,
    'healthy',
    'memory_limit_bytes',
  ]);
  expect(text).toMatch(/\n# EOF\n$/);
});

describe('messages', () => {
  test('are counted in both directions by the size of their payload', async () => {
    const { client, plugin } = await pair({}, echo);
    for (const length of [0, 1, 64, 65, 256, 257, 5000, 70_000]) {
      await expectEchoOn(client, 'x'.repeat(length));
    }
    const text = plugin.metrics();
    const expected = { '64.0': 3, '256.0': 2, '1024.0': 1, '16384.0': 1, '262144.0': 1 };
    for (const direction of ['received', 'sent']) {
      const samples = samplesOf(text);
      expect(bucketsOf(text, `${direction}_message_size_bytes`)).toEqual(expected);
      expect(samples.get(`${direction}_message_size_bytes_sum`)).toBe(75_643);
      expect(samples.get(`${direction}_message_size_bytes_count`)).toBe(8);
      expect(samples.get(`messages_${direction}_total`)).toBe(8);
    }
  });

  test('of a broadcast are counted once for each recipient, also where several are joined', async () => {
    const { plugin, wsApp, url } = await serveRecorded();
    const clients = [await connect(url()), await connect(url()), await connect(url())];
    await until(() => plugin.getStats().totalConnections === 3);
    for (let count = 0; count < 10; count += 1) wsApp.wsBroadcast(`${count}`);
    wsApp.wsBroadcast('x'.repeat(100));
    for (const client of clients) {
      for (let count = 0; count < 11; count += 1) await client.next();
    }
    const text = plugin.metrics();
    expect(bucketsOf(text, 'sent_message_size_bytes')).toEqual({ '64.0': 30, '256.0': 3 });
    expect(samplesOf(text).get('sent_message_size_bytes_sum')).toBe(330);
  });

  test('of a broadcast that does not fit everywhere are counted where they do', async () => {
    const { plugin, wsApp, client } = await pair({
      maxBackpressure: 1000,
      backpressurePolicy: 'drop',
    });
    for (const length of [600, 900, 100]) wsApp.wsBroadcast('x'.repeat(length));
    await client.next();
    await until(() => {
      const { messagesSent, droppedMessages } = plugin.getStats();
      return messagesSent + droppedMessages === 3;
    });
    const samples = read(plugin);
    expect(samples.get('sent_message_size_bytes_count')).toBe(samples.get('messages_sent_total'));
    const buckets = bucketsOf(plugin.metrics(), 'sent_message_size_bytes');
    expect(buckets).toMatchObject({ '256.0': 1 });
  });

  test('are counted as they were before they were compressed', async () => {
    const { plugin, url, sockets } = await serveRecorded({ perMessageDeflate: true }, echo);
    const client = await connect(url(), { perMessageDeflate: true });
    await sockets.next();
    await expectEchoOn(client, 'x'.repeat(10_000));
    const samples = read(plugin);
    expect(samples.get('sent_message_size_bytes_sum')).toBe(10_000);
    expect(samples.get('received_message_size_bytes_sum')).toBe(10_000);
    expect(samples.get('sent_bytes_total')).toBeLessThan(1000);
  });
});

describe('connections', () => {
  test('are counted when they come, and by code when they go', async () => {
    const { plugin, url, sockets } = await serveRecorded();
    const codes = [1000, 1000, 3000, 3999, 4000, 4001, 1005];
    for (const code of codes) {
      const over = once(plugin, 'close');
      const client = await connect(url());
      await sockets.next();
      client.close(code === 1005 ? undefined : code);
      await over;
    }
    const over = once(plugin, 'close');
    (await connect(url())).ws.terminate();
    await over;
    const samples = read(plugin);
    expect(samples.get('connections_accepted_total')).toBe(8);
    expect(samples.get('upgrade_duration_seconds_count')).toBe(8);
    const closed = [...samples].filter(([key]) => key.startsWith('connections_closed_total'));
    expect(Object.fromEntries(closed)).toEqual({
      'connections_closed_total{code="1000"}': 2,
      'connections_closed_total{code="1005"}': 1,
      'connections_closed_total{code="1006"}': 1,
      'connections_closed_total{code="3000-3999"}': 2,
      'connections_closed_total{code="4000-4999"}': 2,
    });
  });

  test('that are refused are counted by reason', async () => {
    const { plugin, url } = await serve({ allowOrigins: ['https://example.com'] });
    await refused(url('/elsewhere'));
    await refused(url());
    await refused(url());
    const samples = read(plugin);
    expect(samples.get('upgrades_rejected_total{reason="path"}')).toBe(1);
    expect(samples.get('upgrades_rejected_total{reason="origin"}')).toBe(2);
    expect(samples.get('connections_accepted_total')).toBe(0);
  });

  test('that take long to be verified can be seen to', async () => {
    const { plugin, url } = await serve({
      verifyClient: () => new Promise((resolve) => setTimeout(() => resolve(true), 110)),
    });
    await connect(url());
    const buckets = bucketsOf(plugin.metrics(), 'upgrade_duration_seconds');
    expect(Object.keys(buckets).every((end) => Number(end) > 0.1)).toBe(true);
    expect(read(plugin).get('upgrade_duration_seconds_sum')).toBeGreaterThan(0.1);
  });
});

test('what waits for a blocked JavaScript thread can be seen to', async () => {
  const { client, plugin, messages } = await pair({}, echo);
  await expectEchoOn(client, 'before');
  await messages.next();
  const late = () => {
    const buckets = Object.entries(bucketsOf(plugin.metrics(), 'event_wait_seconds'));
    return buckets.filter(([end]) => !(Number(end) <= 0.1)).length;
  };
  // Its bytes have left when the thread is blocked, and the engine reads them meanwhile.
  while (late() === 0) {
    client.send('x');
    await new Promise((resolve) => setImmediate(resolve));
    block(300);
    await messages.next();
  }
});

test('everything is counted on from one run of the engine to the next', async () => {
  const { plugin, app, url } = await serveRecorded({}, echo);
  for (let run = 1; run <= 2; run += 1) {
    const client = await connect(url());
    await expectEchoOn(client, 'hello');
    await plugin.cleanup();
    const samples = read(plugin);
    expect(samples.get('received_message_size_bytes_sum')).toBe(5 * run);
    expect(samples.get('sent_message_size_bytes_count')).toBe(run);
    expect(samples.get('connections_closed_total{code="1001"}')).toBe(run);
    expect(samples.get('event_wait_seconds_count')).toBeGreaterThanOrEqual(run);
    plugin.install(app);
  }
});

test('a plugin that is cleaning up is not healthy', async () => {
  const { plugin, client } = await pair();
  expect(read(plugin).get('healthy')).toBe(1);
  const over = plugin.cleanup({ overMs: 600_000 });
  expect(read(plugin).get('healthy')).toBe(0);
  client.close();
  await over;
});

test('the numbers of a cluster are there with option cluster only', async () => {
  const bus = memoryBus();
  const { plugin, url } = await serveRecorded({ cluster: bus.adapter('') });
  await connect(url());
  await until(() => plugin.getStats().cluster?.state === 'up');
  const samples = read(plugin);
  expect(samples.get('cluster_state{state="up"}')).toBe(1);
  expect(samples.get('cluster_state{state="down"}')).toBe(0);
  expect(samples.get(`cluster_info{node_id="${plugin.getStats().cluster?.nodeId}"}`)).toBe(1);
  const alone = [...namesOf(new WebSocketPlugin().metrics())];
  expect(alone.filter((name) => name.includes('cluster'))).toEqual([]);
});
