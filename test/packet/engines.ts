// The engines that the packet cases run over: whatever takes a frame from memory and says what became of it. Another
// engine is one more entry.

import { makeReplayPlane } from '../../src/plane/native-plane.ts';
import type { ReplayPlane, SectionCounts } from '../../src/plane/plane.ts';

export interface Engine {
  readonly name: string;
  open(counts: SectionCounts, workers: number): ReplayPlane;
}

export const engines: readonly Engine[] = [
  { name: 'replay', open: (counts, workers) => makeReplayPlane(counts, workers) },
];
