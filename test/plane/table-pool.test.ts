import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Extent, makeTablePool, planExtents, type TablePool } from '../../src/plane/table-pool.ts';

test('a freed extent rests until a later commit has gone through and a second has passed', () => {
  const full = plan(makeTablePool(10), [], [10], 0, 0);
  const freed = plan(full.pool, [], [], 1, 0);
  // Commit 2 freed it. The next commit is planned when 2 have gone through, the one after it when 3 have.
  assert.equal(planExtents(freed.pool, [], [10], { generation: 2, nowMs: 5000 }), null);
  assert.equal(planExtents(freed.pool, [], [10], { generation: 3, nowMs: 999 }), null);
  assert.deepEqual(plan(freed.pool, [], [10], 3, 1000).extents, [{ first: 0, count: 10 }]);
});

test('live extents are never given out again, whatever comes and goes around them', () => {
  const capacity = 1000;
  let pool = makeTablePool(capacity);
  let live: Extent[] = [];
  let seed = 7;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return seed % below;
  };
  for (let commit = 0; commit < 500; commit++) {
    const kept = live.filter(() => random(3) > 0);
    const sizes = Array.from({ length: random(4) }, () => random(60));
    const planned = planExtents(pool, kept, sizes, { generation: commit, nowMs: commit * 700 });
    if (planned === null) {
      live = [];
      pool = plan(pool, [], [], commit, commit * 700).pool;
      continue;
    }
    live = [...planned.pool.inUse];
    pool = planned.pool;
    assertApart(live, capacity);
    // What rests must not be under anything new either.
    assertApart([...live, ...pool.resting.filter((resting) => resting.generation === commit + 1)], capacity);
  }
});

test('an empty table takes no room', () => {
  const { extents, pool } = plan(makeTablePool(4), [], [0, 4, 0], 0, 0);
  assert.deepEqual(extents, [
    { first: 0, count: 0 },
    { first: 0, count: 4 },
    { first: 0, count: 0 },
  ]);
  assert.deepEqual(pool.inUse, [{ first: 0, count: 4 }]);
});

function plan(pool: TablePool, kept: Extent[], sizes: number[], generation: number, nowMs: number) {
  const planned = planExtents(pool, kept, sizes, { generation, nowMs });
  assert.ok(planned !== null, 'the extents fit');
  return planned;
}

function assertApart(extents: readonly Extent[], capacity: number): void {
  let end = 0;
  for (const { first, count } of extents.toSorted((a, b) => a.first - b.first)) {
    assert.ok(first >= end, `extent at ${first} begins before ${end}`);
    end = first + count;
  }
  assert.ok(end <= capacity);
}
