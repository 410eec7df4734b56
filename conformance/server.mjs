/**
 * The echo server that the Autobahn test suite talks to: text comes back as text, binary as
 * binary. Prints `{"listening": PORT}` and ends on SIGTERM.
 */
import { once } from 'node:events';
import process from 'node:process';
import { createApp } from '../examples/host/index.js';
import { WebSocketPlugin, withWebSocket } from '../index.mjs';

const MIB = 1024 * 1024;

const app = createApp();
const plugin = new WebSocketPlugin({
  path: '/',
  // The suite sends up to 16 MiB in one message, and reads slowly what comes back.
  maxMessageSize: 64 * MIB,
  maxBackpressure: 256 * MIB,
  // A ping that the suite has not asked for counts as a mistake.
  heartbeatMs: 0,
  perMessageDeflate: true,
});
plugin.install(app);
withWebSocket(app).ws('/', (socket) => socket.onMessage((data) => socket.send(data)));

const server = app.listen(0, '127.0.0.1');
if (!server.listening) await once(server, 'listening');
process.on('SIGTERM', () => process.exit(0));
process.stdout.write(`${JSON.stringify({ listening: server.address().port })}\n`);
