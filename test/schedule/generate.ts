// Repeatable inputs for the property tests: a seeded generator (mulberry32) and sets of servers made from it.

import type { WeightedServer } from '../../src/schedule/maglev.ts';

/** Numbers in [0, 1), the same for the same seed. */
export function makeRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

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
