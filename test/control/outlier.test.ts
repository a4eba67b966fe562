import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { type History, judge, makeHistory, noteReading, type Reading, responseUs } from '../../src/control/outlier.ts';
import { buildPassive, type PassivePlan } from '../../src/config/passive.ts';

const plan: PassivePlan = buildPassive({ mode: 'eject' }, undefined)!;
const ZERO: Reading = {
  atMs: 0,
  waiting: 0,
  answered: 0,
  refused: 0,
  abandoned: 0,
  unanswered: 0,
  timed: 0,
  totalUs: 0,
};

function sums(now: Reading, step: Partial<Reading>): Reading {
  const names = Object.keys(ZERO) as (keyof Reading)[];
  return { ...now, ...Object.fromEntries(names.map((name) => [name, now[name] + (step[name] ?? 0)])) };
}

/** One reading each tenth of a second, from those before plus what is new. */
function tell(steps: readonly Partial<Reading>[], from: Reading = ZERO, history: History = makeHistory()): History {
  let now = from;
  for (const step of [{}, ...steps]) {
    now = {
      ...sums(now, step),
      atMs: now.atMs + 100,
      waiting: step.waiting ?? now.waiting,
    };
    noteReading(history, now, plan);
  }
  return history;
}

const times = (count: number, step: Partial<Reading>): Partial<Reading>[] => Array.from({ length: count }, () => step);

for (const { title, steps, peers = [], reason } of [
  { title: 'nothing against a server that nobody asks', steps: times(30, {}), reason: null },
  { title: 'nothing against one that answers', steps: times(30, { answered: 9, waiting: 3 }), reason: null },
  { title: 'refusals in a row', steps: [{ answered: 900 }, { refused: 5 }], reason: 'refused 5 connections in a row' },
  { title: 'four are no evidence', steps: [{ answered: 9 }, { refused: 4 }], reason: null },
  {
    title: 'an answer in between breaks the row',
    steps: [{ refused: 4 }, { answered: 9 }, { refused: 4 }],
    reason: null,
  },
  {
    title: 'half of many failed',
    steps: times(10, { answered: 1, refused: 1 }),
    reason: '10 of 20 connections failed within 10s',
  },
  { title: 'a third of many is not half', steps: times(30, { answered: 2, refused: 1 }), reason: null },
  {
    title: 'connections that wait for longer than a second while none is answered',
    steps: times(11, { waiting: 6 }),
    reason: 'no answer to 6 connections for 1s',
  },
  { title: 'not yet, before that second', steps: times(9, { waiting: 6 }), reason: null },
  { title: 'those that give up do not wait', steps: [...times(10, { waiting: 6 }), { abandoned: 3 }], reason: null },
  {
    title: 'a burst that is answered late',
    steps: [...times(9, { waiting: 6 }), { answered: 6, waiting: 0 }],
    reason: null,
  },
  {
    title: 'SYNs that were repeated',
    steps: [{ answered: 50 }, { unanswered: 3 }, { unanswered: 2 }],
    reason: 'no answer to 5 connections in a row',
  },
  {
    title: 'both, and it says how many of each',
    steps: [{ unanswered: 3, refused: 4 }],
    reason: '7 connections failed, 4 of them refused, in a row',
  },
  {
    title: 'answers ten times as late as those of the others',
    steps: times(5, { answered: 5, timed: 5, totalUs: 5 * 340_000 }),
    peers: [1000, 1400],
    reason: 'takes 340 ms to answer, others 1.2 ms',
  },
  {
    title: 'less than ten times, or with nobody beside it, is not slow',
    steps: times(5, { answered: 5, timed: 5, totalUs: 5 * 340_000 }),
    peers: [35_000],
    reason: null,
  },
  { title: 'nobody beside it', steps: times(5, { answered: 5, timed: 5, totalUs: 5 * 340_000 }), reason: null },
  {
    title: '15 ms are fast, whatever the others do',
    steps: times(5, { answered: 5, timed: 5, totalUs: 5 * 15_000 }),
    peers: [100],
    reason: null,
  },
]) {
  test(`outlier: ${title}`, () => {
    const history = tell(steps);
    const all = [...peers, responseUs(history, plan) ?? []].flat().toSorted((a, b) => a - b);
    assert.equal(judge(history, plan, all), reason);
  });
}

test('outlier: counters that go round are counted on', () => {
  const high = { ...ZERO, refused: 0xffff_fffe, answered: 0xffff_ffff };
  const history = makeHistory();
  noteReading(history, high, plan);
  noteReading(history, { ...high, atMs: 100, refused: 3 }, plan);
  assert.equal(judge(history, plan, []), 'refused 5 connections in a row');
});

test('outlier: what was long ago is forgotten, and memory stays small', () => {
  const history = tell([...times(4, { answered: 1, refused: 1 }), ...times(300, { answered: 1 })]);
  assert.equal(judge(history, plan, []), null);
  assert.ok(
    history.older.length <= 12 && history.recent.length <= 12,
    `${history.older.length} ${history.recent.length}`,
  );
});

test('outlier: how long answers take lately counts, if there are enough of them', () => {
  const fast = times(50, { answered: 2, timed: 2, totalUs: 2000 });
  const slow = times(12, { answered: 2, timed: 2, totalUs: 800_000 });
  assert.equal(responseUs(tell([...fast, ...slow]), plan), 400_000);
  assert.equal(responseUs(tell([{ timed: 1, totalUs: 900_000 }]), plan), null);
});

test('slow is who takes so many times as long as the median of the others, whoever they are', () => {
  for (let round = 0; round < 300; round++) {
    const own = 20_000 + randomInt(100_000);
    const peers = Array.from({ length: 1 + randomInt(6) }, () => 1 + randomInt(30_000));
    const sorted = peers.toSorted((a, b) => a - b);
    const usual = (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.floor(sorted.length / 2)]!) / 2;
    const history = tell(times(5, { answered: 5, timed: 5, totalUs: 5 * own }));
    const all = [...peers, own].toSorted((a, b) => a - b);
    for (const slow of [2, 3, 10]) {
      assert.equal(
        judge(history, { ...plan, slow }, all) !== null,
        own >= slow * usual,
        `${own} beside ${peers.join(' ')}`,
      );
    }
  }
});
