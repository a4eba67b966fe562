// The table that the data plane indexes for a new flow, for each scheduler. The dynamic ones (lc, wlc) compare live
// counts; their table is what they fall back to where they may not loop, indexed by hash like that of sh.

import type { WeightedServer } from './maglev.ts';
import { buildMaglev } from './maglev.ts';
import { buildSequence } from './sequence.ts';

export type Scheduler = 'rr' | 'wrr' | 'lc' | 'wlc' | 'sh' | 'maglev';

/**
 * Indexes into `servers`, empty when none has weight. rr and lc see a weight only as 0 or not: a server with 0 drains
 * under every scheduler.
 */
export function buildTable(scheduler: Scheduler, servers: readonly WeightedServer[]): Uint32Array {
  if (scheduler === 'maglev') return buildMaglev(servers);
  const isEqual = scheduler === 'rr' || scheduler === 'lc';
  return buildSequence(servers.map(({ weight }) => (isEqual ? Math.min(weight, 1) : weight)));
}
