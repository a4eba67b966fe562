// Counters belong to slots, servers come and go. The ledger remembers what a slot had counted when its server got it, so
// that a server's figures start at zero. A server found in an adopted region has had its slot for longer than anyone
// knows: its figures are the slot's.

import {
  addTraffic,
  type FlowCounts,
  NO_TRAFFIC,
  readFlowCounts,
  readTraffic,
  type Traffic,
} from '../plane/counters.ts';
import type { Plane } from '../plane/plane.ts';
import type { SlotTable } from '../plane/slots.ts';

interface Opening {
  readonly id: bigint;
  readonly generation: number;
  readonly traffic: Traffic;
  readonly flowsTotal: number;
}

export class Ledger {
  readonly #plane: Plane;
  readonly #openings = new Map<number, Opening>();

  constructor(plane: Plane, adopted: SlotTable) {
    this.#plane = plane;
    for (const [slot, { id, generation }] of adopted.entries()) {
      this.#openings.set(slot, { id, generation, traffic: NO_TRAFFIC, flowsTotal: 0 });
    }
  }

  /** To be told of every commit. */
  update(servers: SlotTable): void {
    for (const [slot, { id, generation }] of servers.entries()) {
      const there = this.#openings.get(slot);
      if (there?.id === id && there.generation === generation) continue;
      const traffic = readTraffic(this.#plane, slot);
      this.#openings.set(slot, { id, generation, traffic, flowsTotal: readFlowCounts(this.#plane, slot).total });
    }
  }

  traffic(slot: number): Traffic {
    return addTraffic(readTraffic(this.#plane, slot), this.#openings.get(slot)?.traffic ?? NO_TRAFFIC, -1);
  }

  flows(slot: number): FlowCounts {
    const counts = readFlowCounts(this.#plane, slot);
    return { ...counts, total: counts.total - (this.#openings.get(slot)?.flowsTotal ?? 0) };
  }
}
