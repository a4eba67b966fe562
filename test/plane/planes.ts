// The planes that the contract suite runs over.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { makeMemoryPlane, smallCounts } from '../../src/plane/memory-plane.ts';
import type { Plane } from '../../src/plane/plane.ts';

export interface PlaneMaker {
  readonly name: string;
  make(): Promise<Plane>;
}

export const counts = smallCounts(4096, 2);
export const workers = 2;

const addonFile = join(import.meta.dirname, '..', '..', 'native', 'build', 'fairlead.node');

/** The native plane is there once it was built; the memory plane always. */
export const planeMakers: readonly PlaneMaker[] = [
  { name: 'memory', make: async () => makeMemoryPlane(counts, workers) },
  ...(existsSync(addonFile) ? [{ name: 'native replay', make: makeNative }] : []),
];

async function makeNative(): Promise<Plane> {
  const { makeReplayPlane } = await import('../../src/plane/native-plane.ts');
  return makeReplayPlane(counts, workers);
}
