// The planes that the contract suite runs over.

import { makeMemoryPlane, smallCounts } from '../../src/plane/memory-plane.ts';
import { makeReplayPlane } from '../../src/plane/native-plane.ts';
import type { Plane } from '../../src/plane/plane.ts';

export interface PlaneMaker {
  readonly name: string;
  make(): Plane;
}

export const counts = smallCounts(4096, 2);
export const workers = 2;

export const planeMakers: readonly PlaneMaker[] = [
  { name: 'memory', make: () => makeMemoryPlane(counts, workers) },
  { name: 'native replay', make: () => makeReplayPlane(counts, workers) },
];
