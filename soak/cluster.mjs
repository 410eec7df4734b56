#!/usr/bin/env node
/**
 * The soak of a cluster: `node soak/cluster.mjs --help`.
 *
 * The map: `cluster/node` is what is tested, three of them (`cluster/nodes`) and a real Redis between them;
 * `cluster/members` are the clients; `cluster/faults` says what is done to nodes and broker, and when;
 * `cluster/account` holds what members have got against what nodes have said, and `cluster/judge` says
 * what the figures mean.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { RedisServer, redisVersion } from '../scripts/redis-server.mjs';
import { account, readJournal } from './cluster/account.mjs';
import { runFaults, SILENCE } from './cluster/faults.mjs';
import { formatReport, judge } from './cluster/judge.mjs';
import { now } from './cluster/message.mjs';
import { Nodes } from './cluster/nodes.mjs';
import { startProcess } from './processes.mjs';

const HELP = `node soak/cluster.mjs [options]

  --minutes N   how long, each with all faults (default 1, whole minutes)
  --clients N   members at a time (default 3000)
  --help
`;

/** Nodes at a time, and processes of members. */
const NODES = 3;
const CROWDS = 2;

/** For so many clients there is a room; each is in two. */
const CLIENTS_PER_ROOM = 50;

/** How often members talk, leave a room, and HTTP requests talk to a room or to everybody, a second. */
const RATE = { says: 100, leaves: 20, http: 20, everybody: 2 };

/** How long the members may take to arrive, in milliseconds. */
const ARRIVAL_LIMIT = 60_000;

/** How long to go on after the last message, for heartbeats to tell what was missed, in milliseconds. */
const LAST_HEARTBEATS = 5000;

/** What the whole may take beyond its minutes, in milliseconds. */
const SPARE = 240_000;

/** @param {string} line progress; stdout has only the report */
const say = (line) => process.stderr.write(`${line}\n`);

const options = parseOptions();
const folder = mkdtempSync(path.join(tmpdir(), 'soak-cluster-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
setTimeout(() => fail(new Error('it takes too long')), options.minutes * 60_000 + SPARE).unref();
if (redisVersion() === undefined) fail(new Error('redis-server is not installed'));

try {
  const findings = await soak();
  const verdict = judge(findings);
  process.stdout.write(formatReport(findings, verdict));
  process.exitCode = verdict.every(({ ok }) => ok) ? 0 : 1;
} catch (error) {
  fail(error);
}

/** Takes the other processes along. */
function fail(error) {
  say(`✗ ${/** @type {Error} */ (error).message}`);
  process.exit(1);
}

/** The command line; `--help` and mistakes end the process. */
function parseOptions() {
  try {
    const { values } = parseArgs({
      options: {
        minutes: { type: 'string', default: '1' },
        clients: { type: 'string', default: '3000' },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(HELP);
      process.exit(0);
    }
    const [minutes, clients] = [Number(values.minutes), Number(values.clients)];
    if (!(Number.isInteger(minutes) && minutes >= 1)) {
      throw new Error(`--minutes ${values.minutes}: expected 1 or more, without fractions`);
    }
    if (!(clients >= 100)) throw new Error(`--clients ${values.clients}: expected 100 or more`);
    return { minutes, clients };
  } catch (error) {
    say(`${/** @type {Error} */ (error).message}\n\n${HELP}`);
    process.exit(2);
  }
}

/** One run, from the start of the broker to the sum of what has been. */
async function soak() {
  const broker = new RedisServer();
  await broker.start();
  const nodes = new Nodes({ count: NODES, broker: broker.url, folder });
  await Promise.all(Array.from({ length: NODES }, (_, place) => nodes.start(place)));
  const crowds = startCrowds(nodes.ports);
  nodes.onChange = () => {
    for (const crowd of crowds) crowd.tell(nodes.ports);
  };
  await Promise.all(crowds.map((crowd) => crowd.answer('ready')));
  say(`${options.clients} members arrive …`);
  await everybodyHasArrived(crowds);

  const requests = talkByHttp(nodes);
  for (const crowd of crowds) crowd.tell('talk');
  const faults = await runFaults({ broker, nodes, minutes: options.minutes, say: sayFault });
  for (const crowd of crowds) crowd.tell('hush');
  const http = await requests.stop();
  // Who was killed has to be missed by then: after so long a silence while the broker can be heard.
  const lost = Math.max(...faults.filter(({ loses }) => loses).map(({ until }) => until));
  await wait(Math.max(LAST_HEARTBEATS, lost + SILENCE - now()));
  await everybodyHasArrived(crowds);

  say('The sum is made …');
  const stats = await nodes.look();
  const accounts = await Promise.all(crowds.map((crowd) => crowd.ask('finish', 'account')));
  await Promise.all(crowds.map((crowd) => crowd.stop()));
  const exits = await nodes.leave();
  await broker.close();
  const journals = nodes.all.map(({ journal, killed }) =>
    readJournal(readFileSync(journal, 'utf8'), killed),
  );
  const memberships = accounts.flatMap((it) => it.account.memberships);
  return {
    settings: { ...options, nodes: NODES, redis: redisVersion(), ...RATE },
    crowds: accounts.map((it) => it.account),
    sum: account(journals, memberships, faults),
    memberships: memberships.length,
    ...{ journals, stats, exits, faults, http },
  };

  async function sayFault(line) {
    const all = await Promise.all(crowds.map((crowd) => crowd.ask('progress', 'progress')));
    const sum = (name) => all.reduce((total, { progress }) => total + progress[name], 0);
    say(`${line}; ${sum('connected')} connected, ${sum('received')} messages received`);
  }
}

function startCrowds(ports) {
  const count = Math.ceil(options.clients / CROWDS);
  return Array.from({ length: CROWDS }, (_, crowd) =>
    startProcess('cluster/members', [
      JSON.stringify({
        first: crowd * count,
        count: Math.min(count, options.clients - crowd * count),
        rooms: Math.ceil(options.clients / CLIENTS_PER_ROOM),
        says: RATE.says / CROWDS,
        leaves: RATE.leaves / CROWDS,
        ports,
      }),
    ]),
  );
}

async function everybodyHasArrived(crowds) {
  const limit = now() + ARRIVAL_LIMIT;
  for (;;) {
    const answers = await Promise.all(crowds.map((crowd) => crowd.ask('settled', 'settled')));
    if (answers.every(({ settled }) => settled)) return;
    if (now() > limit) throw new Error('the members do not arrive');
    await wait(100);
  }
}

/** Has nodes talk to rooms and to everybody by HTTP requests, one after the other. */
function talkByHttp(nodes) {
  const figures = { said: 0, failed: 0 };
  const rooms = Math.ceil(options.clients / CLIENTS_PER_ROOM);
  let over = false;
  async function ask(where) {
    const { ports } = nodes;
    if (ports.length === 0) return;
    const port = ports[Math.floor(Math.random() * ports.length)];
    try {
      const response = await fetch(`http://127.0.0.1:${port}${where()}`);
      figures[(await response.text()) === 'said' ? 'said' : 'failed'] += 1;
    } catch {
      // Its node has ended meanwhile, or else it is a finding.
      if (nodes.ports.includes(port)) figures.failed += 1;
    }
  }
  async function talk(rate, where) {
    while (!over) await Promise.all([ask(where), wait(1000 / rate)]);
  }
  const room = () => `/say/${Math.floor(Math.random() * rooms)}`;
  const talks = [talk(RATE.http, room), talk(RATE.everybody, () => '/say-to-everybody')];
  return {
    async stop() {
      over = true;
      await Promise.all(talks);
      return figures;
    },
  };
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
