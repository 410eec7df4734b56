/** A real Prometheus reads what `metrics()` prints, and the dashboard asks for what is there. */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocketPlugin } from '../index.js';
import { root } from './docs/markdown.js';
import { connect, expectEchoOn, refused } from './support/client.js';
import { memoryBus } from './support/memory-bus.js';
import { namesOf } from './support/metrics.js';
import { echo } from './support/pair.js';
import { hasPrometheus, problemsOf, startPrometheus } from './support/prometheus.js';

interface Panel {
  title: string;
  targets: { expr: string }[];
}

const dashboard = JSON.parse(readFileSync(join(root, 'docs/grafana-dashboard.json'), 'utf8'));
const queries: string[] = dashboard.panels.flatMap(({ targets }: Panel) =>
  targets.map(({ expr }) => expr),
);

/** The queries as Grafana sends them. */
const sent = (query: string) =>
  query
    .replaceAll('$__rate_interval', '10s')
    .replaceAll('$job', '.*')
    .replaceAll('$instance', '.*');

/** A server with a plugin that knows of others, and its metrics at `/metrics`. */
async function scraped() {
  const plugin = new WebSocketPlugin({ cluster: memoryBus().adapter('') });
  const server = createServer((_req, res) => {
    res.setHeader('Content-Type', 'application/openmetrics-text; version=1.0.0; charset=utf-8');
    res.end(plugin.metrics());
  });
  plugin.attach(server).ws('/ws', (socket) => {
    socket.join('room');
    echo(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    await plugin.cleanup();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { plugin, port };
}

test.skipIf(!hasPrometheus('promtool', 'a check of metrics'))(
  'promtool finds nothing wrong with the metrics',
  async () => {
    const { plugin, port } = await scraped();
    await expectEchoOn(await connect(`ws://127.0.0.1:${port}/ws`), 'hello');
    expect(problemsOf(plugin.metrics())).toBe('');
    expect(problemsOf(`${plugin.metrics()}# TYPE wrong counter\nwrong_total 1\n`)).toContain(
      'wrong',
    );
  },
);

test('the dashboard asks for metrics that there are, and for all that are worth a look', async () => {
  const { plugin, port } = await scraped();
  const client = await connect(`ws://127.0.0.1:${port}/ws`);
  const over = once(plugin, 'close');
  client.close();
  await over;
  const printed = namesOf(plugin.metrics());
  const asked = new Set(queries.flatMap((query) => query.match(/nextrush_websocket_\w+/g) ?? []));
  expect([...asked].filter((name) => !printed.has(name))).toEqual([]);
  expect(asked.size).toBeGreaterThan(20);
});

test.skipIf(!hasPrometheus('prometheus', 'a scrape of metrics'))(
  'Prometheus scrapes them, and answers each query of the dashboard',
  { timeout: 120_000 },
  async () => {
    const { port } = await scraped();
    const prometheus = await startPrometheus(port);
    const client = await connect(`ws://127.0.0.1:${port}/ws`);
    await expectEchoOn(client, 'hello');
    const [sample] = await prometheus.found('nextrush_websocket_messages_received_total == 1');
    expect(sample?.metric).toMatchObject({ job: 'chat', instance: `127.0.0.1:${port}` });
    expect(await prometheus.target()).toMatchObject({ health: 'up', lastError: '' });
    const [type] = await prometheus.found('nextrush_websocket_plugin_info');
    expect(type?.metric.version).toBe(new WebSocketPlugin().version);
    // Rates need something that changes.
    (await connect(`ws://127.0.0.1:${port}/ws`)).close(4000);
    await prometheus.found('nextrush_websocket_connections_closed_total');
    for (const query of queries) {
      if (query.includes('rejected')) await refused(`ws://127.0.0.1:${port}/elsewhere`);
      expect((await prometheus.found(sent(query))).length, query).toBeGreaterThan(0);
    }
  },
);
