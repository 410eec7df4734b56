/** The page itself, in Markdown. */
import {
  cells,
  formatNumber,
  HEADINGS,
  LEGEND,
  machineLine,
  markdownTable,
  NUMERIC,
} from '../report.mjs';
import { formatCluster } from './cluster.mjs';
import { comparison, SUBJECT } from './figures.mjs';
import { formatLosses } from './reasons.mjs';

/** @typedef {import('../statistics.mjs').Row} Row */

/** Sections of the full table, by the beginning of a scenario's name. */
const SECTIONS = {
  echo: 'Echo',
  broadcast: 'Broadcast',
  deflate: 'permessage-deflate',
  tls: 'TLS',
  linear: 'Cost of a delivery by the size of the room',
  'join-leave': 'Join and leave',
  idle: 'Memory of idle connections',
  crowd: 'Very many connections',
  connect: 'Connection rate',
  http: 'HTTP alone',
  httplag: 'HTTP beside broadcasts',
};

/**
 * What is shown first, by id.
 * @type {{ heading: string, figures: string[] }[]}
 */
const GLANCES = [
  {
    heading: 'Messages',
    figures: [
      'echo-1x1-20-p50',
      'echo-4x1-20-p50',
      'echo-64x1-20',
      'echo-64x1-1024',
      'echo-64x16-20-burst',
      'echo-64x16-1024-burst',
      'echo-64x16-16384-burst',
      'echo-64x16-16384-burst-p99',
      'echo-500x16-1024-burst-p99',
      'echo-500x16-1024-burst-p999',
      'deflate-echo-64x16-1024-burst',
      'broadcast-5000x1-64',
      'broadcast-10000x10-64',
    ],
  },
  {
    heading: 'TLS',
    figures: [
      'tls-echo-64x1-20',
      'tls-echo-64x16-20-burst',
      'tls-broadcast-1000x1-64',
      'tls-httplag-20',
      'tls-http-64',
      'tls-connect',
      'tls-idle-10000',
    ],
  },
  {
    heading: 'Everything around them',
    figures: [
      'httplag-5',
      'httplag-20',
      'httplag-commands-20',
      'http-64',
      'connect',
      'connect-application',
      'idle-10000',
      'idle-10000-uncollected',
      'crowd-100000-http',
      'crowd-100000',
      'crowd-18000-http',
      'crowd-18000',
    ],
  },
];

/** Whose CPU time by thread is shown. */
const THREADS = [
  'echo-64x1-20',
  'echo-64x16-20-burst',
  'echo-64x16-16384-burst',
  'broadcast-10000x10-64',
  'connect',
  'connect-application',
  'tls-echo-64x1-20',
  'tls-broadcast-1000x1-64',
  'tls-connect',
  'tls-http-64',
];

/**
 * @param {import('./index.mjs').Results} results
 * @param {import('./plots.mjs').Plot[]} plots
 */
export function formatPage(results, plots) {
  const { machine, rows, rounds, quietCheck, failures, leftOut = [], cluster } = results;
  return `# Benchmarks

<!-- Written by \`npm run bench -- --preset docs --docs\`; its words are in bench/lib/docs. -->

This package beside other WebSocket servers, in one run on one machine:

${machineLine(machine)}.

Load generator and server share these cores, over loopback. Every measurement has a fresh server, the
servers take turns, and a measurement during which others used the machine is repeated. Figures are
${rounds === 1 ? 'of one round' : `medians of ${rounds} rounds`}. Ratios travel from machine to machine, absolute figures do not: measure on yours.

${remarks(rows, quietCheck, failures, leftOut)}

- [At a glance](#at-a-glance)
- [Plots](#plots)
- [Which thread works](#which-thread-works)
${cluster ? '- [Several servers](#several-servers)\n' : ''}- [Where others are ahead](#where-others-are-ahead)
- [What the figures mean](#what-the-figures-mean)
- [All figures](#all-figures)
- [Measure it yourself](#measure-it-yourself)

## At a glance

A ratio above 1 means that this package is better, for times and bytes too.

${glances(rows)}

## Plots

${plots.map(({ name, alt }) => `![${alt}](benchmarks/${name}.svg)`).join('\n\n')}

## Which thread works

What your own code has for itself is what is left of the JavaScript thread. CPU time of the server per
message, delivery, connection or request:

${threads(rows)}

With \`ws\` the JavaScript thread does all of it. A JavaScript thread that needs little per message can
feed several I/O threads (\`ioThreads\`) where there are cores for them; on two cores, which the load
generator shares, a second one only takes turns with the first.

${cluster ? formatCluster(cluster, remarks(cluster.rows, cluster.quietCheck, cluster.failures, cluster.leftOut ?? [])) : ''}## Where others are ahead

${formatLosses(rows)}

## What the figures mean

### Messages

_Echo C×K_: C connections keep K messages in flight each. A _burst_ is a client that writes all messages
whose turn has come at once, so that a server can read many with one system call, and answer them so.
_One write each_ is a client that writes every message by itself, as most do: then a message costs at
least a read and a write, on every server. Neither stands for the other. _p99_ and _p999_ are the
latencies that 1 in 100 and 1 in 1,000 messages exceed.

_Broadcast_: a client commands one or ten broadcasts, and the next when every member of the room has
them all.

_Client-bound_ rounds, in the full tables, are those in which the load generator had no time left: the
server may have more in it than the throughput shows. The CPU time per message is not affected.

### HTTP

_HTTP p99, M members_: one client asks for a small page every 5 ms, on the same port, while a room of M
members gets broadcasts from a timer in the server, or _by commands_ of a client. A server that sends
to 10,000 sockets on the JavaScript thread answers nobody else meanwhile. With very many connections,
requests that a stall kept from being sent count as well.

_HTTP GET_: requests on connections that are kept alive, to a server that also takes WebSockets, without
a framework. With TLS, ${'`ws`'} stands for Node's own \`https\`.

### Connections

_Connect and close_, _idle_ and _very many connections_: \`plugin.attach(server)\` on a server without a
framework, as the others are. Installed on an application, each upgrade passes its middleware and its routes
first: _through an application_ is the same with the small one of \`examples/host\`.

### TLS

TLS 1.3, AES-128-GCM, a P-256 certificate; every connection is a new client. This package encrypts on its
I/O threads (the option \`tls\`). _${SUBJECT}+https_, in the full tables, is the same behind Node's
\`https.Server\`, where encryption stays on the JavaScript thread.

### Memory

Resident memory of the whole process, divided by the connections, after a plain \`gc()\`. This is what
you see when you look at your server soon after its connections have opened. _No collection forced_ is
the same without it.

Both contain something that no connection holds: the garbage of 10,000 upgrades makes V8 enlarge its
young generation, in every Node server, and \`gc()\` leaves it at that size. V8 shrinks it after some
seconds of quiet. _Once V8 has shrunk_, in the full tables, is what is left then.
\`node --max-semi-space-size\` bounds it from the start.

_After close_ is what is left above the start once all are closed again.

## All figures

${LEGEND}

${sections(rows)}

## Measure it yourself

\`\`\`sh
npm run bench                            # this package and ws, some minutes
npm run bench -- --preset docs --docs    # everything above, and writes this page
npm run bench:cluster -- --docs          # several servers, and writes that part of this page
npm run bench -- --redraw                # writes it again from docs/benchmarks.json
\`\`\`

[bench/README.md](../bench/README.md) has all options and scenarios, how it measures, and how to add
another server, µWebSockets.js among them.
`;
}

/**
 * What a reader has to know of this run before its figures.
 * @param {Row[]} rows
 * @param {boolean} quietCheck
 * @param {number} failures
 * @param {string[]} leftOut
 */
function remarks(rows, quietCheck, failures, leftOut) {
  const noisy = rows.filter((row) => row.noisy > 0).length;
  const lines = [
    quietCheck ? undefined : 'Nobody looked whether others used the machine.',
    quietCheck && noisy === 0 ? 'No round was disturbed by others.' : undefined,
    noisy > 0 ? `Rows with rounds that others disturbed, repeats included: ${noisy}.` : undefined,
    failures > 0 ? `Measurements that failed: ${failures}.` : undefined,
    ...leftOut.map((line) => `Not measured: ${line}.`),
  ];
  return lines.filter(Boolean).join(' ');
}

/** @param {Row[]} rows */
function glances(rows) {
  return GLANCES.map(({ heading, figures }) => ({
    heading,
    figures: figures.filter((id) => rows.some((row) => row.id === id && row.peer === SUBJECT)),
  }))
    .filter(({ figures }) => figures.length > 0)
    .map(
      ({ heading, figures }) =>
        `### ${heading}\n\n${comparison(
          rows,
          figures.map((id) => ({ id })),
        )}`,
    )
    .join('\n\n');
}

/** @param {Row[]} rows */
function threads(rows) {
  const lines = THREADS.flatMap((id) => {
    const of = (/** @type {string} */ peer) =>
      rows.find((row) => row.id === id && row.peer === peer);
    const row = of(SUBJECT);
    if (row?.cpu === undefined || row.javascript === undefined) return [];
    const others = Math.max(0, row.cpu - row.javascript);
    const ws = of('ws')?.javascript;
    return [[row.title, time(row.javascript), time(others), ws === undefined ? '' : time(ws)]];
  });
  if (lines.length === 0) return 'This run did not look at threads.';
  const headings = ['scenario', 'JavaScript thread', 'I/O thread and others', '`ws`, JavaScript'];
  return markdownTable(headings, lines, [false, true, true, true]);
}

/** @param {number} microseconds */
const time = (microseconds) => `${formatNumber(microseconds)} µs`;

/** @param {Row[]} rows */
function sections(rows) {
  const known = Object.entries(SECTIONS).map(([start, heading]) => ({
    heading,
    rows: rows.filter(({ scenario }) => scenario === start || scenario.startsWith(`${start}-`)),
  }));
  return known
    .filter((section) => section.rows.length > 0)
    .map(
      (section) =>
        `### ${section.heading}\n\n${markdownTable(HEADINGS, section.rows.map(cells), NUMERIC)}`,
    )
    .join('\n\n');
}
