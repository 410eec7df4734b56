/**
 * A dashboard: a hundred and twenty sensors that tell thousands of values a second, each in a message of
 * its own, and what that costs the server.
 *
 *   npm run demo:dashboard, then http://localhost:3000
 */

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { launch, startIfMain } from '../../examples/launch.js';
import { WebSocketPlugin, withWebSocket } from '../../index.mjs';
import { appWithPages } from '../serve.js';

const SENSORS = 120;
/** Values per second that a page may ask for. */
const RATES = [1200, 4800, 19200];
const TICK_MS = 25;
const NUMBERS_MS = 250;

const require = createRequire(import.meta.url);

/** @param {import('../../examples/launch.js').StartOptions} [options] */
export async function start(options) {
  const app = await appWithPages(new URL('./page/', import.meta.url));
  await servePlots(app);
  const wsPlugin = new WebSocketPlugin({
    path: '/live',
    // Who cannot keep up misses values instead of being closed: newer ones are on their way.
    maxBackpressure: 1024 * 1024,
    backpressurePolicy: 'drop',
    maxMessageSize: 1024,
  });
  wsPlugin.install(app);
  const { rooms } = wsPlugin;
  let perSecond = RATES[1];

  withWebSocket(app).ws('/live', (socket) => {
    socket.json({ type: 'welcome', sensors: SENSORS, rates: RATES, perSecond });
    socket.join('sensors');
    socket.onMessage((data) => {
      const wanted = Number(data);
      if (!RATES.includes(wanted)) return;
      perSecond = wanted;
      rooms.broadcast('sensors', JSON.stringify({ type: 'rate', perSecond }));
    });
  });

  // A sensor number and a value, in six bytes.
  let next = 0;
  let owed = 0;
  const ticking = setInterval(() => {
    if (rooms.count('sensors') === 0) return;
    const now = performance.now() / 1000;
    owed = Math.min(owed + (perSecond * TICK_MS) / 1000, perSecond);
    for (; owed >= 1; owed -= 1) {
      const message = Buffer.allocUnsafe(6);
      message.writeUInt16LE(next, 0);
      message.writeFloatLE(measured(next, now), 2);
      rooms.broadcast('sensors', message);
      next = (next + 1) % SENSORS;
    }
  }, TICK_MS);

  // What the server has to do for it.
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  let before = { ...wsPlugin.getStats(), at: performance.now(), cpu: process.cpuUsage() };
  const telling = setInterval(() => {
    const stats = wsPlugin.getStats();
    const at = performance.now();
    const seconds = (at - before.at) / 1000;
    const { user, system } = process.cpuUsage(before.cpu);
    rooms.broadcast(
      'sensors',
      JSON.stringify({
        type: 'server',
        connections: stats.totalConnections,
        messagesPerSecond: (stats.messagesSent - before.messagesSent) / seconds,
        bytesPerSecond: (stats.bytesSent - before.bytesSent) / seconds,
        dropped: stats.droppedMessages,
        loopDelayMs: Math.max(0, delay.percentile(99) / 1e6 - 5),
        cpuPercent: (user + system) / 1e4 / seconds,
        memoryMiB: process.memoryUsage.rss() / 2 ** 20,
      }),
    );
    delay.reset();
    before = { ...stats, at, cpu: process.cpuUsage() };
  }, NUMBERS_MS);

  app.once('shutdown', () => {
    clearInterval(ticking);
    clearInterval(telling);
    delay.disable();
  });
  return launch(app, wsPlugin, options);
}

/** What a sensor measures: slow waves, quick ones, and a little noise. */
function measured(sensor, seconds) {
  const slow = Math.sin(seconds * 0.4 + sensor * 0.7);
  const quick = Math.sin(seconds * (1.1 + (sensor % 7) * 0.13) + sensor);
  return 50 + 28 * slow + 14 * quick + 3 * (Math.random() - 0.5);
}

/** The plotting library, uPlot, as its package has it. */
async function servePlots(app) {
  const files = { '/uplot.js': 'uPlot.esm.js', '/uplot.css': 'uPlot.min.css' };
  for (const [path, file] of Object.entries(files)) {
    const content = await readFile(require.resolve(`uplot/dist/${file}`), 'utf8');
    const type = path.endsWith('.js') ? 'text/javascript' : 'text/css';
    app.get(path, (ctx) => ctx.res.set('content-type', `${type}; charset=utf-8`).send(content));
  }
}

await startIfMain(import.meta, start);
