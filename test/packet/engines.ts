// The engines that the packet cases run over: whatever takes a frame from memory and says what became of it. Another
// engine is one more entry.

import { makeKernelReplayPlane, makeReplayPlane } from '../../src/plane/native-plane.ts';
import { smallCounts } from '../../src/plane/memory-plane.ts';
import type { ReplayOptions, ReplayPlane, SectionCounts } from '../../src/plane/plane.ts';
import { makePlanePool } from './plane-pool.ts';

export interface Engine {
  readonly name: string;
  /** Runs in the kernel, and counts by processor instead of by worker. */
  readonly isKernel: boolean;
  /** Can it be given such a frame? What a test run in the kernel cannot carry, the labs' real traffic does. */
  takes(options: Pick<ReplayOptions, 'csumStart' | 'gsoSize'>, octets?: Uint8Array): boolean;
  open(counts: SectionCounts, workers: number): ReplayPlane;
}

function kernelEngine(name: 'tc' | 'xdp'): Engine {
  const pool = makePlanePool((counts) => makeKernelReplayPlane(counts, name));
  return {
    name,
    isKernel: true,
    takes: ({ csumStart = 0, gsoSize = 0 }, octets) =>
      csumStart === 0 && (gsoSize === 0 || name === 'tc') && (octets === undefined || isRun(name, octets)),
    open: (counts) => pool.take(counts),
  };
}

/** The kernel runs nothing shorter than an Ethernet header, and as a socket buffer no packet without its IP header. */
function isRun(name: 'tc' | 'xdp', octets: Uint8Array): boolean {
  if (octets.length < 14 || name === 'xdp') return octets.length >= 14;
  const type = (octets[12]! << 8) | octets[13]!;
  return octets.length >= (type === 0x0800 ? 34 : type === 0x86dd ? 54 : 14);
}

const all: readonly Engine[] = [
  {
    name: 'replay',
    isKernel: false,
    takes: () => true,
    open: (counts, workers) => makeReplayPlane(counts, workers),
  },
  kernelEngine('tc'),
  kernelEngine('xdp'),
];

/** Why an engine cannot be tried here, or null. */
function whyNot(engine: Engine): string | null {
  try {
    engine.open(smallCounts(4096, 1), 1).close();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

export const engines: readonly Engine[] = all.filter((engine) => {
  const why = whyNot(engine);
  if (why !== null) console.log(`SKIPPED: packet cases over ${engine.name}: ${why}`);
  return why === null;
});
