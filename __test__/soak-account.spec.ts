/** The sum that the soak of a cluster makes: what was missed is found, and so is what tells of it. */
import { describe, expect, test } from 'vitest';
// @ts-expect-error The soak has no types.
import { account, readJournal } from '../soak/cluster/account.mjs';
// @ts-expect-error
import { Runs } from '../soak/cluster/runs.mjs';

const ROOM = 3;
const BROKER_ENDS = { what: 'broker ends', from: 20_000, until: 20_100, loses: true };

/** A node that says a message a second in the room, and hears what else its journal has. */
function node(nodeId: string, lines: object[] = [], killed?: number) {
  const said = Array.from({ length: 60 }, (_, second) => ({
    what: 'say',
    at: 1000 * second + 500,
    room: ROOM,
    number: second + 1,
  }));
  const journal = [{ what: 'started', at: 0, nodeId }, { what: 'up', at: 1 }, ...said, ...lines];
  return readJournal(
    `${journal.map((line) => JSON.stringify(line)).join('\n')}\n{"what":"s`,
    killed,
  );
}

/** Whoever is on node 0 from second 5 to the end, and gets this of each node. */
function member(own: [number, number][], others: [number, number][]) {
  const runs = { 0: own, 1: others };
  return { member: 7, node: 0, room: ROOM, from: 5000, until: null, how: null, runs };
}

const gap = (details: object) => ({ what: 'gap', at: 22_000, node: 'b', room: ROOM, ...details });

function sumOf(lines: object[], others: [number, number][], own: [number, number][] = [[6, 60]]) {
  return account([node('a', lines), node('b')], [member(own, others)], [BROKER_ENDS]);
}

describe('what a member should have got', () => {
  test('is what was said from the time on that it was told it had joined', () => {
    expect(sumOf([], [[7, 60]])).toMatchObject({
      dueLocally: 55,
      dueAcross: 54,
      missedLocally: 0,
      messages: 0,
    });
  });

  test('of its own node has to have come, whatever happens', () => {
    expect(
      sumOf(
        [gap({ missed: 1 })],
        [[7, 60]],
        [
          [6, 20],
          [22, 60],
        ],
      ),
    ).toMatchObject({
      missedLocally: 1,
    });
  });

  test('ends a little before it leaves', () => {
    const left = { ...member([[6, 40]], [[7, 38]]), until: 40_000, how: 'left' };
    expect(account([node('a'), node('b')], [left], [])).toMatchObject({
      missedLocally: 0,
      messages: 0,
    });
  });
});

describe('what it has not got of another node', () => {
  const lost: [number, number][] = [
    [7, 20],
    [23, 60],
  ];

  test('is in a gap that tells how many', () => {
    expect(sumOf([gap({ missed: 2 })], lost)).toMatchObject({ byNumber: 2, unaccounted: 0 });
  });

  test('is not in a gap of fewer, of another room, of another node, or of an earlier time', () => {
    const gaps = [
      gap({ missed: 1 }),
      gap({ missed: 9, room: 4 }),
      gap({ missed: 9, node: 'c' }),
      gap({ missed: 9, at: 19_000 }),
    ];
    expect(sumOf(gaps, lost)).toMatchObject({ byNumber: 1, unaccounted: 1 });
  });

  test('is in a gap that may be one', () => {
    expect(sumOf([gap({ room: null, missed: null })], lost)).toMatchObject({ byMaybe: 2 });
  });

  test('has a cause only where something was done that loses messages', () => {
    expect(sumOf([gap({ missed: 2 })], lost)).toMatchObject({ causeless: 0 });
    expect(
      sumOf(
        [gap({ missed: 1, at: 41_000 })],
        [
          [7, 40],
          [42, 60],
        ],
      ),
    ).toMatchObject({
      causeless: 1,
      unaccounted: 0,
    });
  });
});

test('numbers that come again or too late are told apart', () => {
  const runs = new Runs();
  expect([1, 2, 5, 4, 2, 6].map((number) => runs.add(number))).toEqual([
    ...[undefined, undefined, undefined],
    ...['out of order', 'twice', undefined],
  ]);
  expect(runs.pairs).toEqual([
    [1, 2],
    [5, 6],
  ]);
});
