/** The load generator, as its own process. */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { loadBinary } from './paths.mjs';
import { startProcess } from './processes.mjs';

/** How long a run may take beyond its own seconds, in milliseconds: opening, and servers that
 * take many seconds to end what they were asked for. */
const PATIENCE = 90_000;

/** @typedef {import('node:stream').Readable} Readable */
/** @typedef {import('node:stream').Writable} Writable */

/**
 * Options by name, as the generator's command line has them: `inFlight: 16` is `--in-flight 16`,
 * `burst: true` is `--burst`, `undefined` and `false` are left out.
 * @typedef {Record<string, string | number | boolean | undefined>} LoadOptions
 */

/**
 * How the generator reaches a server.
 * @param {import('./server.mjs').Server} server
 * @param {string} [path]
 */
export const clientOptions = ({ url, ca, dialect }, path = '') => ({
  url: url + path,
  ca,
  dialect,
});

/**
 * The same, and whose CPU time it looks at.
 * @param {import('./server.mjs').Server} server
 * @param {string} [path]
 */
export const access = (server, path) => ({ ...clientOptions(server, path), pid: server.pid });

/**
 * Runs a scenario and returns its report.
 * @param {string} scenario
 * @param {LoadOptions} options
 * @returns {Promise<any>}
 */
export async function runLoad(scenario, options) {
  const child = start(scenario, options);
  child.stdin.end();
  const limit = setTimeout(() => child.kill(), PATIENCE + 4000 * Number(options.seconds ?? 0));
  /** @type {string[]} */
  const lines = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  const [code] = await once(child, 'close');
  clearTimeout(limit);
  if (code !== 0) throw new Error(`load ${scenario} ended with status ${code}`);
  return JSON.parse(lines[0]);
}

/**
 * Opens idle connections; resolves when all are open, with what the generator said of that and a
 * function that closes them.
 * @param {LoadOptions} options
 */
export async function openIdle(options) {
  const child = start('idle', options);
  const events = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const opened = await nextEvent(events, 'open');
  const close = async () => {
    child.stdin.end('close\n');
    const report = await nextEvent(events, 'closed');
    if (child.exitCode === null) await once(child, 'exit');
    return report;
  };
  return { opened, close };
}

/**
 * @param {string} scenario
 * @param {LoadOptions} options
 */
function start(scenario, options) {
  const child = startProcess(loadBinary, [scenario, ...toArguments(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  return /** @type {import('node:child_process').ChildProcessByStdio<Writable, Readable, null>} */ (
    child
  );
}

/** @param {LoadOptions} options */
function toArguments(options) {
  return Object.entries(options).flatMap(([name, value]) => {
    if (value === undefined || value === false) return [];
    const option = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    return value === true ? [option] : [option, String(value)];
  });
}

/**
 * @param {AsyncIterator<string>} events
 * @param {string} expected
 */
async function nextEvent(events, expected) {
  const { value, done } = await events.next();
  if (done) throw new Error(`load idle ended before it said "${expected}"`);
  const event = JSON.parse(value);
  if (event.event !== expected) throw new Error(`load idle said ${value}, not "${expected}"`);
  return event;
}
