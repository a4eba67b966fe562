import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildMaglev } from '../../src/schedule/maglev.ts';
import type { Scheduler } from '../../src/schedule/table.ts';
import { buildTable } from '../../src/schedule/table.ts';
import { countPicks } from './generate.ts';

const servers = [
  { id: 'a', weight: 3 },
  { id: 'b', weight: 0 },
  { id: 'c', weight: 1 },
];
const schedulers: Scheduler[] = ['rr', 'wrr', 'lc', 'wlc', 'lrt', 'p2c', 'sh', 'maglev'];

test('rr gives every server with weight the same share', () => {
  assert.deepEqual(countPicks(buildTable('rr', servers), 3), [1, 0, 1]);
});

for (const scheduler of ['lc', 'wlc', 'lrt'] as const) {
  test(`${scheduler} compares all members and needs no table`, () => {
    assert.equal(buildTable(scheduler, servers).length, 0);
  });
}

for (const scheduler of ['wrr', 'p2c', 'sh'] as const) {
  test(`${scheduler} gives shares by weight`, () => {
    assert.deepEqual(countPicks(buildTable(scheduler, servers), 3), [3, 0, 1]);
  });
}

test('maglev gives the Maglev table', () => {
  assert.deepEqual(buildTable('maglev', servers), buildMaglev(servers));
});

for (const scheduler of schedulers) {
  test(`${scheduler} gives an empty table when every server has weight 0`, () => {
    assert.equal(buildTable(scheduler, [{ id: 'a', weight: 0 }]).length, 0);
    assert.equal(buildTable(scheduler, []).length, 0);
  });
}
