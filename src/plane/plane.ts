// What TypeScript sees of an engine: a region whose sections it reads as plain memory, one way to change it (commit), and
// a trickle of events. Implementations: native-plane.ts over the addon, memory-plane.ts over ArrayBuffers.
//
// A plane is open from its making to close(); close detaches every section, so that a reader which outlives it gets a
// TypeError and never somebody else's memory.

import { constants, type sections } from '../native/layout.ts';

export type SectionName = keyof typeof sections;

/** Elements of each section, one half. */
export type SectionCounts = Readonly<Record<SectionName, number>>;

/** What became of the region: a new one, the one a predecessor left, or a new one beside a foreign one. */
export type OpenOutcome = 'created' | 'adopted' | 'set-aside';

export interface PlaneEvents {
  readonly neighbour: boolean;
  readonly link: boolean;
  readonly tableFull: boolean;
  readonly workerDied: boolean;
}

export interface Plane {
  readonly kind: 'packet' | 'replay' | 'memory';
  readonly outcome: OpenOutcome;
  readonly counts: SectionCounts;
  readonly workers: number;
  /** The whole section, both halves, live: what it holds changes under the reader's eyes. */
  section(name: SectionName): ArrayBuffer;
  /** Swaps an image in, whole, and returns the new generation. Throws in words, and then nothing has changed. */
  commit(image: ArrayBuffer): number;
  /**
   * Starts forwarding on these interfaces; the position of a name is the interface's id. Returns a warning for the
   * operator, or an empty string; throws in words.
   */
  start(interfaces: readonly string[]): string;
  /** Ends forwarding. With `keepGuard` the host goes on ignoring the VIPs' frames, for a successor. */
  stop(keepGuard: boolean): void;
  /** One listener; events of the same kind are coalesced. */
  watch(listener: (events: PlaneEvents) => void): void;
  close(): void;
}

export type Replayed = {
  readonly verdict: number;
  readonly reason: number;
  readonly outInterface: number;
  readonly frame: Uint8Array;
};

/** A plane without sockets: frames in, verdict and frames out. */
export interface ReplayPlane extends Plane {
  replay(frame: Uint8Array, options: ReplayOptions): Replayed;
  /** One sweep of the ageing; returns flows freed. */
  age(nowNs: number): number;
}

export interface ReplayOptions {
  readonly interfaceId: number;
  readonly nowNs: number;
  /** Offset of an L4 header whose checksum is only the pseudo-header's sum; 0: full checksums. */
  readonly csumStart?: number;
  readonly gsoSize?: number;
}

export function eventsOf(bits: number): PlaneEvents {
  return {
    neighbour: (bits & constants.eventNeighbour) !== 0,
    link: (bits & constants.eventLink) !== 0,
    tableFull: (bits & constants.eventTableFull) !== 0,
    workerDied: (bits & constants.eventWorkerDied) !== 0,
  };
}
