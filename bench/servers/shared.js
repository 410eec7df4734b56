/**
 * What every bench server has in common, whatever serves its WebSockets: its settings, the text
 * commands of `/room-command`, the HTTP answers, and how it tells the runner that it listens. Runs
 * on Node and on Bun.
 */
import { Session } from 'node:inspector/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import process from 'node:process';

/**
 * What the runner wants of this server: options for the WebSocket server itself, by the names that
 * it gives them; a certificate with its key where it is to speak TLS, as PEM and as paths of files,
 * and whether Node's `https.Server` is to do that where the server has a way of its own; whether
 * HTTP requests are answered without a framework; and the Redis by which it finds other servers.
 * @type {{
 *   options: Record<string, unknown>,
 *   tls?: { cert: string, key: string },
 *   tlsFiles?: { cert: string, key: string },
 *   behindHttps?: boolean,
 *   bareHttp?: boolean,
 *   broker?: { url: string, adapter?: string },
 * }}
 */
export const settings = JSON.parse(process.env.BENCH_SERVER ?? '{"options":{}}');

/**
 * Milliseconds that an HTTP connection may be idle. More than Node's 5 seconds: an event loop that
 * is blocked for so long would otherwise close connections whose requests it has not read yet.
 */
export const KEEP_ALIVE = 60_000;

/** The room that every connection to `/room` joins. */
export const ROOM = 'room';

/**
 * Milliseconds between two samples of the event-loop delay, which are taken off what it reports.
 * Fewer samples would miss short stalls, many more would drown long ones: p99 counts samples.
 */
const LOOP_RESOLUTION = 10;

/** @type {Map<number, string>} */
const texts = new Map();

/**
 * The text of a broadcast, the same string each time. It resembles JSON with changing values, so
 * that compression has as much to do as with real messages.
 * @param {number} size bytes
 */
function text(size) {
  const known = texts.get(size);
  if (known !== undefined) return known;
  let made = '';
  for (let random = 1; made.length < size; ) {
    // The generator of Numerical Recipes: the same text in every run.
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
    const side = random & 0x8000 ? 'sell' : 'buy';
    made += `{"id":${random >>> 8},"price":${(random % 1_000_000) / 100},"side":"${side}"},`;
  }
  // By way of bytes, for the string to be flat.
  made = Buffer.from(made).toString('latin1', 0, size);
  texts.set(size, made);
  return made;
}

/**
 * Understands the commands that arrive on `/room-command`:
 * `COUNT SIZE` broadcasts so many messages of so many bytes at once, `timer RATE SIZE` one of them
 * RATE times a second, `timer 0` ends that.
 * @param {(message: string) => void} broadcast sends to everybody in {@link ROOM}
 * @returns {(command: string | Buffer) => void}
 */
export function createCommander(broadcast) {
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let timer;
  return (command) => {
    const words = command.toString().split(' ');
    if (words[0] === 'timer') {
      clearInterval(timer);
      const [rate, size] = [Number(words[1]), Number(words[2])];
      if (rate > 0) timer = setInterval(() => broadcast(text(size)), 1000 / rate);
      return;
    }
    const [count, message] = [Number(words[0]), text(Number(words[1]))];
    for (let sent = 0; sent < count; sent++) broadcast(message);
  };
}

/** @type {ReturnType<typeof monitorEventLoopDelay> | undefined} */
let loopDelay;

/** Starts to measure the event-loop delay, or starts again. */
function resetLoopDelay() {
  loopDelay ??= monitorEventLoopDelay({ resolution: LOOP_RESOLUTION });
  loopDelay.reset();
  loopDelay.enable();
  return 'ok';
}

/** Ends that measurement. Milliseconds, without the sampling interval. */
function readLoopDelay() {
  loopDelay?.disable();
  const ms = (/** @type {number} */ ns) =>
    Math.max(0, Math.round(ns / 1e4 - LOOP_RESOLUTION * 100) / 100);
  return {
    p50_ms: ms(loopDelay?.percentile(50) ?? 0),
    p99_ms: ms(loopDelay?.percentile(99) ?? 0),
    max_ms: ms(loopDelay?.max ?? 0),
  };
}

/**
 * What the process holds after a garbage collection as anybody can ask for one: `gc()`, for which
 * Node runs with `--expose-gc`.
 */
function collectGarbage() {
  if (typeof globalThis.Bun !== 'undefined') globalThis.Bun.gc(true);
  else globalThis.gc?.();
  return process.memoryUsage();
}

/**
 * The same after a collection as V8 makes one under memory pressure. `gc()` leaves the young
 * generation as large as traffic has made it (some 30 MB); by itself V8 shrinks it after seconds of
 * quiet.
 */
async function shrinkHeap() {
  if (typeof globalThis.Bun !== 'undefined') return collectGarbage();
  const session = new Session();
  session.connect();
  await session.post('HeapProfiler.collectGarbage');
  session.disconnect();
  return process.memoryUsage();
}

/**
 * What plain HTTP requests get, by path.
 * @type {Record<string, () => string | object | Promise<object>>}
 */
export const httpAnswers = {
  '/ping': () => 'ok',
  '/loop-delay/reset': resetLoopDelay,
  '/loop-delay': readLoopDelay,
  '/memory': () => process.memoryUsage(),
  '/gc': collectGarbage,
  '/shrink': shrinkHeap,
};

/**
 * Answers a request on `node:http`.
 * @type {import('node:http').RequestListener}
 */
export async function onRequest(request, response) {
  const answer = await httpAnswers[request.url ?? '']?.();
  if (answer === undefined) {
    response.writeHead(404, { 'content-length': 0 }).end();
    return;
  }
  const json = typeof answer !== 'string';
  const body = json ? JSON.stringify(answer) : answer;
  response
    .writeHead(200, {
      'content-type': json ? 'application/json' : 'text/plain',
      'content-length': Buffer.byteLength(body),
    })
    .end(body);
}

/**
 * Tells the runner where this server listens, and ends the process on SIGTERM.
 * @param {number} port
 */
export function announce(port) {
  process.on('SIGTERM', () => process.exit(0));
  process.stdout.write(`${JSON.stringify({ listening: port, pid: process.pid })}\n`);
}
