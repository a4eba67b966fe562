// Inputs for the property tests: sets of servers, and what is counted in tables of them.

import type { WeightedServer } from '../../src/schedule/maglev.ts';

export function makeServers(count: number, weightOf: (index: number) => number = () => 1): WeightedServer[] {
  return Array.from({ length: count }, (_, i) => ({ id: `10.1.${i >> 8}.${i & 255}:80`, weight: weightOf(i) }));
}

export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

/** How often each index appears. */
export function countPicks(table: Uint32Array, indexes: number): number[] {
  const counts = Array.from({ length: indexes }, () => 0);
  for (const index of table) counts[index]! += 1;
  return counts;
}
