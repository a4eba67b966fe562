// Kernel planes for test after test: to have the verifier look at the same programs a thousand times would take minutes.
// A plane that is closed becomes as new, with other keys, and is given out again.

import { randomFillSync } from 'node:crypto';
import { layout, sections } from '../../src/native/layout.ts';
import type { ReplayPlane, SectionCounts, SectionName } from '../../src/plane/plane.ts';

export interface PlanePool {
  take(counts: SectionCounts): ReplayPlane;
}

export function makePlanePool(open: (counts: SectionCounts) => ReplayPlane): PlanePool {
  const idle = new Map<string, { plane: ReplayPlane; header: Uint8Array }[]>();
  return {
    take: (counts) => {
      const size = JSON.stringify(counts);
      const waiting = idle.get(size) ?? [];
      idle.set(size, waiting);
      const taken = waiting.pop();
      const plane = taken?.plane ?? open(counts);
      const header = taken?.header ?? new Uint8Array(plane.section('header')).slice();
      if (taken !== undefined) makeNew(plane, header);
      return { ...plane, close: () => void waiting.push({ plane, header }) };
    },
  };
}

function makeNew(plane: ReplayPlane, header: Uint8Array): void {
  for (const name of Object.keys(sections) as SectionName[]) new Uint8Array(plane.section(name)).fill(0);
  const there = new Uint8Array(plane.section('header'));
  there.set(header);
  const { seed, generation } = layout.fl_header;
  randomFillSync(there, seed, generation - seed);
  // Multipliers are odd.
  for (const key of [1, 2]) there[seed + 8 * key]! |= 1;
}
