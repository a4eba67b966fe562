// The table that the data plane indexes for a new flow, for each scheduler. lc, wlc and lrt compare all members and need
// none; p2c takes two entries at random, so that chance follows the weights.

import type { WeightedServer } from './maglev.ts';
import { buildMaglev } from './maglev.ts';
import { buildSequence } from './sequence.ts';

export type Scheduler = 'rr' | 'wrr' | 'lc' | 'wlc' | 'lrt' | 'p2c' | 'sh' | 'maglev';

/**
 * Indexes into `servers`, empty when none has weight. rr sees a weight only as 0 or not: a server with 0 drains under every
 * scheduler.
 */
export function buildTable(scheduler: Scheduler, servers: readonly WeightedServer[]): Uint32Array {
  if (scheduler === 'maglev') return buildMaglev(servers);
  if (scheduler === 'lc' || scheduler === 'wlc' || scheduler === 'lrt') return new Uint32Array();
  return buildSequence(servers.map(({ weight }) => (scheduler === 'rr' ? Math.min(weight, 1) : weight)));
}
