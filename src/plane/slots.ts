// Stable slots: who has a place keeps it over every commit and over restarts, so that flows, which name their server by
// slot, stay right. A slot that is given up gets the next generation at once: flows that still carry the old one are
// void from that commit on, whoever gets the slot next, even if it is the same server come back.

import { FairleadError } from '../base/errors.ts';
import { constants } from '../native/layout.ts';

export interface Slot {
  /** 0: free. */
  readonly id: bigint;
  /** 32 bits, the epoch's among them; starts at 1, so that the zeroes of fresh memory match no slot. */
  readonly generation: number;
  /** The flows that its holder had were ended, and it gets none. */
  readonly hasEnded?: boolean;
}

/** The slots used so far; never shrinks, so that a commit always overwrites what an earlier one left behind. */
export type SlotTable = readonly Slot[];

export interface SlotPlan {
  readonly table: SlotTable;
  /** Of those that are wanted. */
  readonly slotOf: ReadonlyMap<bigint, number>;
}

export interface SlotOptions {
  /** What the slots are for, in an error: "servers". */
  readonly what: string;
  readonly capacity: number;
  /** Slots whose holders keep them, whoever is wanted. */
  readonly staying?: readonly number[];
}

/** By table, where each holder is: most commits change no slot, and tables that are the same are one. */
const slotsByTable = new WeakMap<SlotTable, ReadonlyMap<bigint, number>>();

export function slotsOf(table: SlotTable): ReadonlyMap<bigint, number> {
  const known = slotsByTable.get(table);
  if (known !== undefined) return known;
  const made = new Map<bigint, number>();
  for (const [index, { id }] of table.entries()) if (id !== 0n && !made.has(id)) made.set(id, index);
  slotsByTable.set(table, made);
  return made;
}

/**
 * Who is wanted keeps its slot or gets a free one; who is not wanted loses its own, but for the `staying`, which are known
 * by their slots. The same table when nothing changes. Throws when there are too few.
 */
export function assignSlots(before: SlotTable, wanted: readonly bigint[], options: SlotOptions): SlotPlan {
  const { what, capacity, staying = [] } = options;
  const isStaying = new Uint8Array(before.length);
  for (const slot of staying) isStaying[slot] = 1;
  const isWanted = new Set(wanted);
  const slotOf = new Map<bigint, number>();
  const table = before.map((slot, index) => {
    if (slot.id === 0n || isStaying[index] === 1) return slot;
    // Twice the same id cannot come from here; if a region says so, the first one has it.
    if (!isWanted.has(slot.id) || slotOf.has(slot.id)) return { id: 0n, generation: nextGeneration(slot.generation) };
    slotOf.set(slot.id, index);
    return slot;
  });
  const free = freePlaces(before, table, capacity);
  for (const id of wanted) {
    if (slotOf.has(id)) continue;
    const { value: index } = free.next();
    if (index === undefined) throw tooMany(what, isWanted.size + staying.length, capacity);
    table[index] = { id, generation: table[index]?.generation ?? 1 };
    slotOf.set(id, index);
  }
  const isSame = table.length === before.length && table.every((slot, index) => slot === before[index]);
  return { table: isSame ? before : table, slotOf };
}

/**
 * Ends the flows of those in `ending`, by slot, that have not had theirs ended already: the epoch in the generation goes on
 * by one, and flows that carry the former one are void. The same table when nothing changes.
 */
export function endFlows(table: SlotTable, ending: ReadonlySet<number>): SlotTable {
  if (ending.size === 0 && !table.some(({ hasEnded }) => hasEnded === true)) return table;
  const ended = table.map((slot, index) => {
    if (!ending.has(index)) return slot.hasEnded === true ? { id: slot.id, generation: slot.generation } : slot;
    return slot.hasEnded === true ? slot : { ...slot, generation: nextEpoch(slot.generation), hasEnded: true };
  });
  if (ended.every((slot, index) => slot === table[index])) return table;
  slotsByTable.set(ended, slotsOf(table));
  return ended;
}

/**
 * Slots given up by this very change come last: workers may still count for the former holder until the next commit has
 * waited for them.
 */
function* freePlaces(before: SlotTable, after: readonly Slot[], capacity: number): Generator<number, undefined> {
  const free = [...after.keys()].filter((index) => after[index]?.id === 0n);
  yield* free.filter((index) => before[index]?.id === 0n);
  for (let index = before.length; index < capacity; index++) yield index;
  yield* free.filter((index) => before[index]?.id !== 0n);
}

/** Another holder: the part beside the epoch goes on by one, and is never 0. */
function nextGeneration(generation: number): number {
  const holder = (generation & ~constants.generationEpoch) + 1;
  return (holder & constants.generationEpoch) === 0 ? holder : 1;
}

function nextEpoch(generation: number): number {
  return (generation + constants.generationEpochOne) % 2 ** 32;
}

/** The region's sections are made for a number of things when it is made; a change that outgrows them is refused. */
export function tooMany(what: string, wanted: number, capacity: number): FairleadError {
  return new FairleadError('refused', `${wanted} ${what} do not fit this region, which holds ${capacity}`, {
    mend: 'end fairlead with "fairlead down" and start it anew: it then makes a larger region',
  });
}
