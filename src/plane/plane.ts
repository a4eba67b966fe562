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

/** How an interface is worked on. `xdp` is in the driver; it becomes `xdp-generic` where the driver has none. */
export type Attachment = 'packet' | 'tc' | 'xdp' | 'xdp-generic';

export interface Attach {
  readonly name: string;
  readonly by: Attachment;
}

export interface Started {
  /** For the operator; empty when all is well. */
  readonly warning: string;
  /** How the interfaces are worked on now. */
  readonly attached: readonly Attachment[];
}

export interface PlaneEvents {
  readonly neighbour: boolean;
  readonly link: boolean;
  readonly tableFull: boolean;
  readonly workerDied: boolean;
}

export interface Plane {
  readonly kind: 'packet' | 'kernel' | 'replay' | 'memory';
  readonly outcome: OpenOutcome;
  readonly counts: SectionCounts;
  readonly workers: number;
  /** The whole section, both halves, live: what it holds changes under the reader's eyes. */
  section(name: SectionName): ArrayBuffer;
  /** Swaps an image in, whole, and returns the new generation. Throws in words, and then nothing has changed. */
  commit(image: ArrayBuffer): number;
  /**
   * Starts forwarding on these interfaces; the position of one is its id. `inherit` is where a predecessor has left its
   * packet sockets (Platform.inherit). Throws in words.
   */
  start(interfaces: readonly Attach[], inherit?: number): Started;
  /**
   * Ends forwarding by this process. With `keep` what is on the interfaces stays for a successor: the guard, by which the
   * host goes on ignoring the VIPs' frames, or the programs, which go on forwarding. A successor that waits at `heir` gets
   * the packet sockets, with all that is in their rings.
   */
  stop(keep: boolean, heir?: string): void;
  /** Another plane's configuration, flows and counts come into this fresh one; that one drops all frames from now on. */
  takeFrom(former: Plane): void;
  /** What was taken from goes on after all. */
  resume(): void;
  /** Takes off these interfaces what a process that is no more left there for this region. */
  detach(interfaces: readonly string[]): void;
  /** Whoever forwards reports what it decides, or no longer does. */
  sample(isOn: boolean): void;
  /** struct fl_record, those that came since last asked. */
  samples(): ArrayBuffer;
  /** Probes through the path (probe-path.ts) go by this region from now on, until it is closed. */
  carry(path: unknown): void;
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
