import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FairleadError } from '../../src/base/errors.ts';
import { assignSlots, endFlows, type SlotTable } from '../../src/plane/slots.ts';

const options = { what: 'servers', capacity: 4 };

test('who stays keeps its slot and generation while others come and go', () => {
  const first = assignSlots([], [10n, 20n, 30n], options);
  const second = assignSlots(first.table, [30n, 40n, 10n], options);
  assert.equal(second.slotOf.get(10n), first.slotOf.get(10n));
  assert.equal(second.slotOf.get(30n), first.slotOf.get(30n));
  assert.deepEqual(second.table[0], { id: 10n, generation: 1 });
});

test('a slot that is given to another server gets another generation', () => {
  const first = assignSlots([], [10n], options);
  const second = assignSlots(first.table, [20n], options);
  const third = assignSlots(second.table, [20n, 30n], options);
  assert.deepEqual(
    second.table,
    [
      { id: 0n, generation: 2 },
      { id: 20n, generation: 1 },
    ],
    'not by the same change',
  );
  assert.equal(third.slotOf.get(30n), first.slotOf.get(10n));
  assert.deepEqual(third.table[0], { id: 30n, generation: 2 });
});

test('a server that was removed and comes back does not revive its old flows', () => {
  const first = assignSlots([], [10n], options);
  const removed = assignSlots(first.table, [], options);
  const back = assignSlots(removed.table, [10n], options);
  assert.deepEqual(removed.table, [{ id: 0n, generation: 2 }]);
  assert.deepEqual(back.table, [{ id: 10n, generation: 2 }]);
});

test('a generation that runs over starts again at 1, never at the 0 of fresh memory', () => {
  const plan = assignSlots([{ id: 10n, generation: 0xffffffff }], [], options);
  assert.equal(plan.table[0]?.generation, 1);
});

test('more servers than slots are refused in words, and the table before stays as it was', () => {
  const before = assignSlots([], [1n, 2n, 3n], options).table;
  const copy = structuredClone(before);
  assert.throws(
    () => assignSlots(before, [1n, 2n, 3n, 4n, 5n], options),
    (error) =>
      error instanceof FairleadError && error.code === 'refused' && error.message.includes('5 servers do not fit'),
  );
  assert.deepEqual(before, copy);
});

test('the table never shrinks, so that a commit overwrites what an earlier one left', () => {
  const first = assignSlots([], [1n, 2n, 3n], options);
  assert.equal(assignSlots(first.table, [], options).table.length, 3);
});

test('flows are ended once for each time that their server ends, and its slot is still its own', () => {
  const plan = assignSlots([], [10n, 20n], options);
  const generations = (table: SlotTable): number[] => table.map(({ generation }) => generation);
  const endings: SlotTable[] = [];
  for (const ending of [[], [0], [0], [], [0]]) endings.push(endFlows(endings.at(-1) ?? plan.table, new Set(ending)));
  assert.deepEqual(endings.map(generations), [
    [1, 1],
    [0x100_0001, 1],
    [0x100_0001, 1],
    [0x100_0001, 1],
    [0x200_0001, 1],
  ]);
  const removed = assignSlots(endings.at(-1)!, [20n], options).table;
  assert.deepEqual(removed[0], { id: 0n, generation: 2 });
});

test('the epoch runs over without touching whose the slot is', () => {
  const before = [{ id: 10n, generation: 0xff00_0007 }];
  assert.equal(endFlows(before, new Set([0]))[0]?.generation, 7);
});
