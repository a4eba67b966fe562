// Long lists in turns: a thread that decides about health must not be deaf for as long as fifty thousand servers take.

import { setImmediate } from 'node:timers/promises';

/** Maps so many at once, then timers and sockets have their turn; what is no more than that is mapped without a wait. */
export async function mapInTurns<T, U>(items: readonly T[], atOnce: number, map: (item: T) => U): Promise<U[]> {
  const mapped: U[] = [];
  for (const [index, item] of items.entries()) {
    if (index > 0 && index % atOnce === 0) await setImmediate();
    mapped.push(map(item));
  }
  return mapped;
}
