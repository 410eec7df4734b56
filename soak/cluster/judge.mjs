/** What the figures of a cluster's soak mean, and how they are printed. */
import { line, list, table, told, zero } from '../judge.mjs';
import { EVERYBODY } from './message.mjs';

/** Close codes of connections whose node has left, or was killed. */
const ENDED_BY = { left: '1001', killed: '1006' };

/**
 * Holds the figures against their limits.
 * @returns {import('../judge.mjs').Line[]}
 */
export function judge({ sum, crowds, journals, stats, exits, http, memberships }) {
  const faults = (name) => list(crowds.flatMap((crowd) => crowd.faults[name]));
  const received = total(crowds.map((crowd) => crowd.received));
  const said = total(journals.flatMap((it) => [...it.said.values()].map((all) => all.length)));
  const toAll = total(journals.map((it) => it.said.get(EVERYBODY)?.length ?? 0));
  const gaps = journals.flatMap((it) => it.gaps);
  const numbered = gaps.filter(({ missed }) => missed !== null);
  return [
    told('messages said, to rooms and to everybody', said),
    told('  of them to everybody', toAll),
    told('  by HTTP requests', http.said),
    zero('  requests not answered by a node that runs', http.failed),
    told('memberships, with those after restarts', memberships),
    told('deliveries', received),
    told('  due to settled members', sum.due),
    told('  of them from another node', sum.dueAcross),
    zero('  twice', ...faults('twice')),
    zero('  out of order', ...faults('out of order')),
    zero('  damaged', ...faults('damaged')),
    zero('  after the room was left', ...faults('stray')),
    zero('  missed of the own node', ...list(sum.missedLocallyExamples)),
    told('  missed of another node', sum.byNumber + sum.byMaybe + sum.untold + sum.unaccounted),
    told('    in a gap with a number', sum.byNumber),
    told('    in a gap that may be one', sum.byMaybe),
    told('    the node ended before it could tell', sum.untold),
    zero('    not in any gap', ...list(sum.examples.unaccounted)),
    zero('    with nothing done that could lose it', ...list(sum.examples.causeless)),
    told('gaps told of', gaps.length),
    told(
      '  with a number, and messages in them',
      `${numbered.length}, ${total(numbered.map(({ missed }) => missed)).toLocaleString('en-US')}`,
    ),
    told('times that nodes were apart', total(journals.map((it) => it.apart.length))),
    ...['reconnects', 'missed', 'dropped', 'ignored', 'refused'].map((name) =>
      told(`${name}, at the end`, stats.map((it) => it[name]).join(', ')),
    ),
    everyone('nodes that each hears at the end', stats, (it) => it.nodes, stats.length - 1),
    everyone('state of each at the end', stats, (it) => it.state, 'up'),
    zero('connections that ended otherwise', ...list(unexpectedEnds(crowds, journals))),
    zero('errors of nodes', ...list(journals.flatMap((it) => it.errors))),
    zero(
      'nodes that did not end by themselves',
      ...list(
        exits.filter(([, exit]) => exit !== 'status 0').map(([node, exit]) => `${node}: ${exit}`),
      ),
    ),
  ];
}

/** A figure that has to be the same for every node. */
function everyone(figure, stats, value, limit) {
  const values = stats.map(value);
  return line(
    figure,
    values.join(', '),
    String(limit),
    values.every((it) => it === limit),
  );
}

/** Connections that neither their member has ended nor the end of their node. */
function unexpectedEnds(crowds, journals) {
  return crowds
    .flatMap(({ endings }) => Object.entries(endings))
    .filter(([ending]) => {
      const [node, code] = ending.split(' ');
      const { ended, killed } = journals[node];
      return ended === Infinity || code !== (killed ? ENDED_BY.killed : ENDED_BY.left);
    })
    .map(([ending, count]) => `${count} × node and code ${ending}`);
}

/** The report: the table of figures, and what each fault has cost. */
export function formatReport({ settings, faults, sum, journals }, verdict) {
  const figures = verdict.map(({ figure, value, limit, ok }) => [
    ok ? (limit === '' ? ' ' : '✓') : '✗',
    figure,
    value,
    limit,
  ]);
  const start = Math.min(...journals.map(({ started }) => started));
  const cost = faults.map((fault) => [
    `${((fault.from - start) / 1000).toFixed(1)} s`,
    fault.what,
    `${Math.round(fault.until - fault.from)} ms`,
    sum.becauseOf.get(fault).toLocaleString('en-US'),
  ]);
  return [
    table([['', 'figure', 'value', 'limit'], ...figures]),
    table([['when', 'what was done', 'took', 'deliveries missed'], ...cost]),
    `Settings: ${JSON.stringify(settings)}`,
    verdict.every(({ ok }) => ok) ? '✓ passed' : '✗ failed',
    '',
  ].join('\n\n');
}

const total = (values) => values.reduce((sum, value) => sum + value, 0);
