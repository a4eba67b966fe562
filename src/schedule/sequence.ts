// A cycle of picks in which each server appears in proportion to its weight, spread as evenly as slots allow. Walking it
// is weighted round robin.
//
// The k-th pick of a server with w picks in a cycle of L belongs between the slots k·L/w and (k+1)·L/w. Each slot goes to
// the server whose window has opened and closes first, a job for one processor by earliest deadline, for which Pfair
// scheduling (Baruah et al., 1996) proves that no window is missed: after any number of picks no server is a whole pick
// ahead of or behind its share. Nginx's smooth round robin, which compares all servers for each pick, keeps no such
// bound and takes n × L steps; this takes L × log n.

import { apportion } from './apportion.ts';

/** Longest cycle: 64 KiB of table a service. Weights whose cycle is longer are scaled down to it. */
export const SEQUENCE_LIMIT = 16_384;

/**
 * The cycle as indexes into `weights` (integers): sum / gcd long and exact, or SEQUENCE_LIMIT long with the weights
 * rounded, each above 0 keeping at least one pick. Empty when no weight is above 0.
 */
export function buildSequence(weights: readonly number[]): Uint32Array {
  const picks = picksPerCycle(weights);
  const length = picks.reduce((total, pick) => total + pick, 0);
  const sequence = new Uint32Array(length);

  // Servers by the slot in which their next window opens; each server waits in one list at a time.
  const opening = new Int32Array(length).fill(-1);
  const following = new Int32Array(picks.length).fill(-1);
  const taken = new Uint32Array(picks.length);
  const wait = (server: number): void => {
    const slot = Math.floor((taken[server]! * length) / picks[server]!);
    following[server] = opening[slot]!;
    opening[slot] = server;
  };
  for (let server = 0; server < picks.length; server++) if (picks[server]! > 0) wait(server);

  const ready = new Heap();
  for (let slot = 0; slot < length; slot++) {
    for (let server = opening[slot]!; server >= 0; server = following[server]!) {
      const closes = Math.ceil(((taken[server]! + 1) * length) / picks[server]!);
      ready.push(urgency(closes, slot, server));
    }
    const server = serverOf(ready.pop());
    sequence[slot] = server;
    taken[server]! += 1;
    if (taken[server]! < picks[server]!) wait(server);
  }
  return sequence;
}

function picksPerCycle(weights: readonly number[]): number[] {
  const reduced = divideByCommon(weights);
  const sum = reduced.reduce((total, weight) => total + weight, 0);
  const limit = Math.max(SEQUENCE_LIMIT, reduced.filter((weight) => weight > 0).length);
  return sum <= limit ? reduced : divideByCommon(apportion(reduced, limit));
}

function divideByCommon(weights: readonly number[]): number[] {
  const divisor = weights.reduce(commonDivisor, 0);
  return divisor > 1 ? weights.map((weight) => weight / divisor) : [...weights];
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}

// One number orders the ready servers: first to close, then first opened, then first in the list. 17 + 17 + 19 bits.
const SLOT_RANGE = 2 ** 17;
const SERVER_RANGE = 2 ** 19;

function urgency(closes: number, opened: number, server: number): number {
  return (closes * SLOT_RANGE + opened) * SERVER_RANGE + server;
}

function serverOf(key: number): number {
  return key % SERVER_RANGE;
}

/** A binary heap of numbers, smallest first. */
class Heap {
  readonly #keys: number[] = [];

  push(key: number): void {
    const keys = this.#keys;
    let at = keys.push(key) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (keys[parent]! <= key) break;
      keys[at] = keys[parent]!;
      at = parent;
    }
    keys[at] = key;
  }

  /** Removes the smallest; the heap must not be empty. */
  pop(): number {
    const keys = this.#keys;
    const smallest = keys[0]!;
    const last = keys.pop()!;
    if (keys.length === 0) return smallest;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= keys.length) break;
      if (child + 1 < keys.length && keys[child + 1]! < keys[child]!) child++;
      if (keys[child]! >= last) break;
      keys[at] = keys[child]!;
      at = child;
    }
    keys[at] = last;
    return smallest;
  }
}
