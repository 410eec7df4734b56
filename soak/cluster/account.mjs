/**
 * What should have come, and what became of it: the journals of the nodes beside the accounts of the
 * members. Times are milliseconds of one clock.
 */
import { EVERYBODY } from './message.mjs';
import { has } from './runs.mjs';

/** How long a node may need to hear a room that is new to it. */
const SUBSCRIBING = 1000;

/** How long a message may be under way to another node, so that who leaves need not have got it. */
const UNDER_WAY = 2000;

/** How long after a fault of the broker nodes may need to be joined again. */
const RECOVERY = 3000;

/** How long a node may need to tell that it has missed something. */
const REPORT = 30_000;

/** The same, where it ends by itself meanwhile: heartbeats tell of it, one a second. */
const LAST_REPORT = 5000;

/** Before and after a fault: what is missed then, was missed because of it. */
const AROUND = { before: 500, after: 3000 };

/**
 * @typedef {object} Journal of one node, from its first line to its last
 * @property {string} nodeId
 * @property {number} started
 * @property {number} joined when it was joined to the others for the first time
 * @property {number} ended when it began to leave, or was killed; infinite where it did not
 * @property {boolean} killed
 * @property {[number, number][]} apart when it was not joined to the others
 * @property {Map<number, { at: number, except?: number }[]>} said by room; the first is number 1
 * @property {{ at: number, node: string, room: number | null, missed: number | null }[]} gaps
 * @property {string[]} errors
 */

/**
 * @typedef {object} Fault something that was done to the broker or a node
 * @property {string} what
 * @property {number} from
 * @property {number} until
 * @property {boolean} loses whether it may lose what is under way
 */

/**
 * Reads a journal.
 * @param {string} text
 * @param {number | undefined} killed when the node was killed, if it was
 * @returns {Journal}
 */
export function readJournal(text, killed) {
  const journal = {
    ...{ nodeId: '', started: 0, joined: Infinity, ended: killed ?? Infinity },
    ...{ killed: killed !== undefined, apart: [], said: new Map(), gaps: [], errors: [] },
  };
  const take = {
    started: ({ at, nodeId }) => Object.assign(journal, { started: at, nodeId }),
    leaving: ({ at }) => {
      journal.ended = at;
    },
    left: () => {},
    up({ at }) {
      journal.joined = Math.min(journal.joined, at);
      const [, open] = journal.apart.at(-1) ?? [];
      if (open === Infinity) journal.apart.at(-1)[1] = at;
    },
    down: ({ at }) => journal.apart.push([at, Infinity]),
    gap: ({ at, node, room, missed }) => journal.gaps.push({ at, node, room, missed }),
    error: ({ error }) => journal.errors.push(error),
    say({ at, room, except }) {
      const said = journal.said.get(room);
      if (said) said.push({ at, except });
      else journal.said.set(room, [{ at, except }]);
    },
  };
  for (const line of text.split('\n')) {
    // The last one of a node that was killed may be no whole line.
    if (!line.endsWith('}')) continue;
    const { what, ...details } = JSON.parse(line);
    take[what](details);
  }
  return journal;
}

/**
 * The sum of it all.
 * @param {Journal[]} journals by the number of the node
 * @param {any[]} memberships
 * @param {Fault[]} faults
 */
export function account(journals, memberships, faults) {
  const missed = new Missed(journals);
  const count = { due: 0, dueLocally: 0, dueAcross: 0, missedLocally: 0 };
  const examples = [];
  for (const membership of memberships) {
    for (const [node, journal] of journals.entries()) {
      const local = node === membership.node;
      const window = local
        ? windowHere(membership, journal)
        : windowAcross(membership, journals[membership.node], journal, faults);
      for (const { number, at } of expected(membership, journal, window)) {
        count.due += 1;
        count[local ? 'dueLocally' : 'dueAcross'] += 1;
        if (has(membership.runs[node] ?? [], number)) continue;
        if (!local) {
          missed.add(membership, node, number, at);
          continue;
        }
        count.missedLocally += 1;
        examples.push(
          `${number} of node ${node} in ${membership.room} at ${Math.round(at)}, member ${membership.member}`,
        );
      }
    }
  }
  return { ...count, missedLocallyExamples: examples, ...missed.explain(faults) };
}

/**
 * When a member has to get what its own node says: from the moment it is told that it has joined, until
 * it asks to leave or its node ends. What a node that is killed has said last may be lost with it.
 */
function windowHere({ from, until }, { ended, killed }) {
  return [from ?? Infinity, Math.min(until ?? Infinity, killed ? ended - UNDER_WAY : ended)];
}

/** When a member has to get what another node says, which has to be subscribed to, and be under way. */
function windowAcross({ room, from, until }, here, there, faults) {
  const troubles = [
    ...faults.filter(({ what }) => what.startsWith('broker')).map((it) => [it.from, it.until]),
    ...here.apart,
    ...there.apart,
  ].map(([from, until]) => [from, until + RECOVERY]);
  const begin = Math.max(from ?? Infinity, here.joined) + (room === EVERYBODY ? 0 : SUBSCRIBING);
  const end = Math.min(until ?? Infinity, here.ended);
  return [after(begin, troubles), end === Infinity ? end : before(end - UNDER_WAY, troubles)];
}

/** A time, or the end of the troubles that it is in. */
function after(time, troubles) {
  const within = troubles.find(([from, until]) => from - UNDER_WAY < time && time < until);
  return within ? after(within[1], troubles) : time;
}

/** A time, or the beginning of the troubles that it is in. */
function before(time, troubles) {
  const within = troubles.find(([from, until]) => from - UNDER_WAY < time && time < until);
  return within ? before(within[0] - UNDER_WAY, troubles) : time;
}

/** What a member should have got of a node in a window of time. */
function* expected({ room, member }, { said }, [from, until]) {
  const all = said.get(room) ?? [];
  let [low, high] = [0, all.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (all[middle].at <= from) low = middle + 1;
    else high = middle;
  }
  for (let at = low; at < all.length && all[at].at < until; at++) {
    if (all[at].except !== member) yield { number: at + 1, at: all[at].at };
  }
}

/** The fault that may have lost what was said then: the nearest one, if one is near. */
function causeOf(at, faults) {
  const distance = ({ from, until }) => Math.max(0, from - at, at - until);
  const near = faults.filter(
    (it) => it.loses && it.from - AROUND.before < at && at < it.until + AROUND.after,
  );
  return near.sort((one, other) => distance(one) - distance(other))[0];
}

/** What nodes have missed of each other: the members of one node miss the same. */
class Missed {
  /** By who has missed it, of whom, in which room: when it was said and to how many, by number. */
  #cases = new Map();
  #journals;

  constructor(journals) {
    this.#journals = journals;
  }

  add({ node: here, room }, there, number, at) {
    const key = `${here} ${there} ${room}`;
    let missed = this.#cases.get(key);
    if (missed === undefined) {
      missed = { here, there, room, messages: new Map() };
      this.#cases.set(key, missed);
    }
    const message = missed.messages.get(number);
    if (message) message.deliveries += 1;
    else missed.messages.set(number, { at, deliveries: 1 });
  }

  /** Finds what has told of each: a gap with a number stands for so many messages. */
  explain(faults) {
    const sums = { byNumber: 0, byMaybe: 0, untold: 0, unaccounted: 0, causeless: 0, messages: 0 };
    const examples = { unaccounted: [], causeless: [] };
    /** Deliveries that were missed because of each fault. */
    const becauseOf = new Map(faults.map((fault) => [fault, 0]));
    for (const { here, there, room, messages } of this.#cases.values()) {
      const { gaps, ended } = this.#journals[here];
      const { nodeId } = this.#journals[there];
      const told = gaps
        .filter((gap) => gap.node === nodeId && (gap.room ?? room) === room)
        .map((gap) => ({ ...gap, left: gap.missed ?? Infinity }));
      // Where it is everybody's, a number without a room is one of theirs only.
      const fitting = told.filter(
        (gap) => gap.room === room || gap.missed === null || room === EVERYBODY,
      );
      for (const [number, { at, deliveries }] of [...messages].sort(([a], [b]) => a - b)) {
        sums.messages += 1;
        const near = fitting.filter((gap) => gap.at >= at && gap.at <= at + REPORT && gap.left > 0);
        const gap = near.find((it) => it.missed !== null) ?? near[0];
        const where = `${number} of node ${there} in ${room} at ${Math.round(at)}, on node ${here}`;
        if (gap) {
          gap.left -= 1;
          sums[gap.missed === null ? 'byMaybe' : 'byNumber'] += deliveries;
        } else if (ended - at < LAST_REPORT) {
          sums.untold += deliveries;
        } else {
          sums.unaccounted += deliveries;
          examples.unaccounted.push(where);
        }
        const fault = causeOf(at, faults);
        if (fault) {
          becauseOf.set(fault, becauseOf.get(fault) + deliveries);
        } else {
          sums.causeless += deliveries;
          examples.causeless.push(where);
        }
      }
    }
    return { ...sums, examples, becauseOf };
  }
}
