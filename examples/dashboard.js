/**
 * The reference's live dashboard: metrics every second, and news of each order that comes in by
 * HTTP.
 *
 *   node examples/dashboard.js
 *   npx wscat -c ws://localhost:3000/dashboard
 *   curl -H 'content-type: application/json' -d '{"item":"tea"}' http://localhost:3000/api/orders
 */

import { randomUUID } from 'node:crypto';
import { WebSocketPlugin, withWebSocket } from '../index.mjs';
import { createApp } from './host/index.js';
import { launch, startIfMain } from './launch.js';

/** @param {import('./launch.js').StartOptions} [options] */
export async function start(options) {
  const app = createApp();
  app.use(app.json()); // Without it ctx.body is undefined

  const wsPlugin = new WebSocketPlugin({
    path: '/dashboard',
    heartbeatMs: 10000, // More frequent for real-time data
  });

  wsPlugin.install(app);
  const wsApp = withWebSocket(app);

  // Dashboard WebSocket handler
  wsApp.ws('/dashboard', (socket) => {
    // Join dashboard room
    socket.join('dashboard');

    // Send initial metrics
    sendMetrics(socket);

    socket.onMessage((data) => {
      const message = JSON.parse(data.toString());

      if (message.type === 'subscribe') {
        // Subscribe to specific metric updates
        socket.join(`metrics:${message.metric}`);
      } else if (message.type === 'unsubscribe') {
        socket.leave(`metrics:${message.metric}`);
      }
    });
  });

  // Send metrics to all dashboard clients
  const timer = setInterval(() => {
    const metrics = collectSystemMetrics();

    wsApp.wsBroadcast(
      JSON.stringify({
        type: 'metrics_update',
        data: metrics,
        timestamp: Date.now(),
      }),
      'dashboard',
    );

    // Each metric on its own, for those who subscribed to it
    for (const [metric, value] of Object.entries(metrics)) {
      wsApp.wsBroadcast(
        JSON.stringify({
          type: 'metric_update',
          metric,
          value,
          timestamp: Date.now(),
        }),
        `metrics:${metric}`,
      );
    }
  }, 1000);
  timer.unref();
  app.once('shutdown', () => clearInterval(timer));

  // HTTP endpoints that trigger WebSocket updates
  app.post('/api/orders', async (ctx) => {
    const order = await createOrder(ctx.body);

    // Notify dashboard of new order
    wsApp.wsBroadcast(
      JSON.stringify({
        type: 'new_order',
        order: order,
        timestamp: Date.now(),
      }),
      'dashboard',
    );

    ctx.res.json(order);
  });

  function collectSystemMetrics() {
    return {
      cpu: process.cpuUsage(),
      memory: process.memoryUsage(),
      connections: wsPlugin.getStats().totalConnections,
      uptime: process.uptime(),
    };
  }

  function sendMetrics(socket) {
    socket.send(
      JSON.stringify({
        type: 'initial_metrics',
        data: collectSystemMetrics(),
        timestamp: Date.now(),
      }),
    );
  }

  return launch(app, wsPlugin, options);
}

/** Stands for a database. */
async function createOrder(body) {
  return { ...body, id: randomUUID(), createdAt: new Date().toISOString() };
}

await startIfMain(import.meta, start);
