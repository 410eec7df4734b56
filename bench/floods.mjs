/**
 * What a flood costs the threads of the server, by `messageRate`:
 *
 *     node bench/floods.mjs [seconds]
 *
 * One client in a process of its own writes messages of 20 bytes as fast as it can, beside a handler that
 * parses each of them as JSON. Linux only, as it reads the CPU time of threads from /proc.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { argv, pid } from 'node:process';
import { setTimeout as wait } from 'node:timers/promises';
import { WebSocketPlugin } from '../index.js';

const PER_SECOND = 100;
const MESSAGE = JSON.stringify({ type: 'move', x: 1 }).padEnd(20);

const RATES = {
  'no `messageRate`': undefined,
  "`policy: 'close'`": { perSecond: PER_SECOND, policy: 'close' },
  "`policy: 'drop'`": { perSecond: PER_SECOND, policy: 'drop' },
  "`policy: 'pause'`": { perSecond: PER_SECOND, policy: 'pause' },
};

/** CPU time of this process's threads in seconds: of JavaScript's, and of the I/O threads. */
function cpu() {
  const times = { javascript: 0, io: 0 };
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${tid}/stat`, 'latin1');
    const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
    const [user, system] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13);
    // In hundredths of a second.
    const seconds = (Number(user) + Number(system)) / 100;
    if (Number(tid) === pid) times.javascript = seconds;
    else if (name.startsWith('nextrush-ws')) times.io += seconds;
  }
  return times;
}

async function measure(messageRate, seconds) {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const plugin = new WebSocketPlugin({ messageRate });
  let handled = 0;
  plugin.attach(server).ws('/ws', (socket) => {
    socket.onMessage((data) => {
      handled += JSON.parse(data).x;
    });
  });
  const client = fork(new URL(import.meta.url), ['client', server.address().port]);
  // Until it is up to speed.
  await wait(1000);
  const [before, from, start] = [cpu(), plugin.getStats().messagesReceived, performance.now()];
  await wait(seconds * 1000);
  const [after, to] = [cpu(), plugin.getStats().messagesReceived];
  const elapsed = (performance.now() - start) / 1000;
  client.kill();
  const { rateLimited } = plugin.getStats();
  await plugin.cleanup();
  server.closeAllConnections();
  server.close();
  const share = (key) => `${(((after[key] - before[key]) / elapsed) * 100).toFixed(1)} %`;
  return {
    messages: Math.round((to - from) / elapsed),
    javascript: share('javascript'),
    io: share('io'),
    rateLimited,
    handled,
  };
}

/** The client: one write is some thousand messages. Where it is closed, it comes again. */
function flood(port) {
  const payload = Buffer.from(MESSAGE);
  const frame = Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
  const chunk = Buffer.concat(Array.from({ length: 4096 }, () => frame));
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.on('close', () => setTimeout(flood, 100, port));
  socket.write(
    'GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  const write = () => {
    if (socket.destroyed) return;
    if (socket.write(chunk)) setImmediate(write);
    else socket.once('drain', write);
  };
  socket.once('data', () => {
    socket.resume();
    write();
  });
}

if (argv[2] === 'client') {
  flood(Number(argv[3]));
} else {
  const seconds = Number(argv[2] ?? 5);
  console.log('| | messages a second | JavaScript thread | I/O thread |');
  console.log('| --- | ---: | ---: | ---: |');
  for (const [name, messageRate] of Object.entries(RATES)) {
    const { messages, javascript, io } = await measure(messageRate, seconds);
    console.log(`| ${name} | ${messages.toLocaleString('en')} | ${javascript} | ${io} |`);
  }
}
