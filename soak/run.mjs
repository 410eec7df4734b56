#!/usr/bin/env node
/**
 * The soak test: `node soak/run.mjs --help`.
 *
 * The map: `server` is what is tested, `clients` runs `pairs` (well-behaved peers), `churn` (the
 * crowd) and `attacks` (with `raw`) in two other processes, `wire` is how they get there, and `judge`
 * says what the figures mean.
 */
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import process from 'node:process';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import WebSocket from 'ws';
import { makeCertificate } from '../scripts/certificate.mjs';
import { formatReport, judge, memoryGrew, PART } from './judge.mjs';
import { ANSWER_LIMIT, startProcess } from './processes.mjs';

const HELP = `node soak/run.mjs [options]

  --minutes N       how long (default 3, at least 0.5)
  --connections N   connections of the crowd at a time (default 500)
  --tls             over TLS, which the engine speaks
  --help
`;

/** Small limits, so that all of them are reached often. */
const SERVER = {
  maxMessageSize: 64 * 1024,
  maxBackpressure: 1024 * 1024,
  heartbeatMs: 2000,
  pongTimeoutMs: 6000,
  handshakeTimeoutMs: 3000,
  closeTimeoutMs: 1000,
  perMessageDeflate: true,
};

/** So that what is said in a room reaches as many in a large crowd as in a small one. */
const CONNECTIONS_PER_ROOM = 5;

/** How many times the server's figures are taken in a run. */
const SAMPLES = 3 * PART;

/** Milliseconds between two HTTP requests that see whether the server answers. */
const HTTP_PAUSE = 1000;

/** How long the server may take to see that everybody has gone, in milliseconds. */
const EMPTY_LIMIT = 20_000;

/** @param {string} line progress; stdout has only the report */
const say = (line) => process.stderr.write(`${line}\n`);

const options = parseOptions();
if (options.tls) process.env.SOAK_CERTIFICATE = JSON.stringify(makeCertificate());
const wire = await import('./wire.mjs');
try {
  const findings = await soak();
  const verdict = judge(findings);
  process.stdout.write(formatReport(findings, verdict));
  process.exitCode = verdict.every(({ ok }) => ok) ? 0 : 1;
} catch (error) {
  say(`✗ ${/** @type {Error} */ (error).message}`);
  // Takes the other processes along.
  process.exit(1);
}

/** The command line; `--help` and mistakes end the process. */
function parseOptions() {
  try {
    const { values } = parseArgs({
      options: {
        minutes: { type: 'string', default: '3' },
        connections: { type: 'string', default: '500' },
        tls: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(HELP);
      process.exit(0);
    }
    const [minutes, connections] = [Number(values.minutes), Number(values.connections)];
    if (!(minutes >= 0.5)) throw new Error(`--minutes ${values.minutes}: expected at least 0.5`);
    if (!(connections >= 1))
      throw new Error(`--connections ${values.connections}: expected 1 or more`);
    return { minutes, connections, tls: values.tls };
  } catch (error) {
    say(`${/** @type {Error} */ (error).message}\n\n${HELP}`);
    process.exit(2);
  }
}

/** One run, from the start of the server to its end. */
async function soak() {
  const server = startProcess('server', [JSON.stringify(SERVER)]);
  const { listening: port } = await server.answer('listening');
  // The engine starts with the first connection: what it needs for itself is not a leak.
  await echoOnce(port);
  const before = await server.ask('look', 'rss');

  const rooms = Math.ceil(options.connections / CONNECTIONS_PER_ROOM);
  const settings = JSON.stringify({ port, connections: options.connections, rooms, ...SERVER });
  const pairs = startProcess('clients', ['pairs', settings]);
  await pairs.answer('ready');
  const crowd = startProcess('clients', ['crowd', settings]);
  await crowd.answer('ready');

  const requests = watchHttp(port);
  const samples = await sample(server, [pairs, crowd]);
  say('Everybody leaves …');
  const { figures: ofCrowd } = await crowd.ask('finish', 'figures');
  const { figures: ofPairs } = await pairs.ask('finish', 'figures');
  const after = await whenEmpty(server);
  const answersAtTheEnd = await echoOnce(port);
  const answered = await requests.stop();
  const exit = await server.stop();
  return {
    ...{ before, samples, after, answersAtTheEnd, http: answered, exit },
    ...{ ...ofCrowd, ...ofPairs, settings: { ...options, ...SERVER } },
  };
}

/**
 * Takes the server's figures again and again, for as long as the soak is to last. Where memory has
 * grown in the last third, one more follows: a leak goes on then, a late end of warming up does not.
 */
async function sample(server, clients) {
  const pause = (options.minutes * 60_000) / SAMPLES;
  const start = performance.now();
  const samples = [];
  let planned = SAMPLES;
  while (samples.length < planned) {
    await wait(Math.max(0, start + (samples.length + 1) * pause - performance.now()));
    const figures = await server.ask('look', 'rss');
    samples.push({ seconds: (performance.now() - start) / 1000, ...figures });
    if (samples.length % 10 === 0) await sayProgress(samples.at(-1), clients);
    if (samples.length === SAMPLES && memoryGrew(samples)) {
      say('Memory grew in the last third: one more, to see whether that goes on');
      planned += PART;
    }
  }
  return samples;
}

async function sayProgress({ seconds, connections, rss, descriptors }, clients) {
  const lines = await Promise.all(clients.map((it) => it.ask('progress', 'progress')));
  const done = lines.map(({ progress }) => progress).join(', ');
  const memory = Math.round(rss / 1024 / 1024);
  say(
    `${Math.round(seconds)} s: ${connections} open, ${memory} MiB, ${descriptors} descriptors; ${done}`,
  );
}

/** The server's figures once all connections and rooms are gone, or after the time for that. */
async function whenEmpty(server) {
  const start = performance.now();
  for (;;) {
    const figures = await server.ask('look', 'rss');
    const seconds = (performance.now() - start) / 1000;
    const empty = figures.connections === 0 && figures.rooms === 0;
    if (empty || seconds * 1000 > EMPTY_LIMIT) {
      // Node closes the descriptors of refused requests a moment later.
      await wait(2000);
      return { ...(await server.ask('look', 'rss')), seconds };
    }
    await wait(200);
  }
}

/** Connects, has a message echoed, and leaves. Returns whether that worked. */
async function echoOnce(port) {
  const socket = new WebSocket(wire.wsUrl(port, '/crowd'), wire.clientOptions);
  socket.on('error', () => {});
  socket.on('open', () => socket.send('echo hello'));
  const answer = new Promise((resolve) => socket.on('message', (data) => resolve(String(data))));
  const ended = new Promise((resolve) => socket.on('close', resolve));
  const first = await Promise.race([answer, ended, wait(ANSWER_LIMIT, undefined, { ref: false })]);
  socket.close();
  await ended;
  return first === 'hello';
}

/** Sees whether HTTP is answered on the same port, and how fast. */
function watchHttp(port) {
  const figures = { answered: 0, failed: 0, slowest: 0 };
  let over = false;
  async function watch() {
    while (!over) {
      const start = performance.now();
      const ok = await isAnswered(wire.httpUrl(port, '/ping'));
      figures.slowest = Math.max(figures.slowest, performance.now() - start);
      figures[ok ? 'answered' : 'failed'] += 1;
      await wait(HTTP_PAUSE);
    }
    return figures;
  }
  const watching = watch();
  return {
    stop() {
      over = true;
      return watching;
    },
  };
}

/** On a connection of its own: each passes the server's front door. */
async function isAnswered(url) {
  const { get } = options.tls ? https : http;
  try {
    const request = get(url, { ...wire.clientOptions, agent: false });
    const [response] = await once(request, 'response');
    let body = '';
    for await (const chunk of response) body += chunk;
    return body === 'pong';
  } catch {
    return false;
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
