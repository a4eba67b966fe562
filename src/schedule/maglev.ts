// The Maglev table (Eisenbud et al., NSDI 2016, §3.4), weighted: every server walks its own pseudo-random permutation of
// the slots and in its turn takes the first one still free. Shares follow the weights to the slot, and when a server
// comes or goes, nearly all slots of the others stay where they are.
//
// Turns. In the paper everyone takes one slot a round. Here server s takes its k-th turn (k = 0, 1, 2…) at the time
// (k + ½) / weight, only the first one at 0, so that any weight above 0 gets a slot. Counting turns up to a moment T then
// rounds T × weight to the nearest slot (Sainte-Laguë's way of sharing out seats): removing a server makes T grow and
// takes nothing from anyone else. Equal weights give the paper's rounds.
//
// Speed. Nearly all the time goes into stepping over taken slots, the more the fuller the table. So the walk looks at
// three slots at once, without a branch between them, and the last slots are given out the other way round: the few free
// ones are listed, and the one with the fewest strides from where the server stands, which takes the inverse of the
// stride modulo the size, is the very slot that walking on would have found.

import { hash32 } from './hash.ts';

export interface WeightedServer {
  /** What the server is placed by: the same on every balancer and after every reload, e.g. "10.0.1.11:8080". */
  readonly id: string;
  /** 0 keeps the server out of the table. */
  readonly weight: number;
}

/** Prime, and some 65 slots for each of 1,000 servers, so that rounding to a slot stays within 1 % of the share. */
export const MAGLEV_SIZE = 65_537;

/** Seeds of the two hashes that place a server: its rank and first slot, and its stride. */
export const START_SEED = 0x2545f491;
export const STRIDE_SEED = 0x5bd1e995;
/** Walking takes size / free steps, searching takes `free`: measured best between 128 and 256 for 65,537 slots. */
const SEARCHED = 192;
/** Turns are sorted by time into 8,192 to 16,384 buckets: one bucket holds fewer turns than the rounding shows. */
const BUCKETS = 8192;
/** The index's share of a sort key; beside a hash of 32 bits it makes 53, all that a double holds exactly. */
const INDEX_RANGE = 2 ** 21;

/**
 * Builds the table: for each slot an index into `servers`; empty when no server has weight. `size` must be prime.
 * The order of `servers` does not matter. Of more weighted servers than slots, only `size` get one.
 */
export function buildMaglev(servers: readonly WeightedServer[], size: number = MAGLEV_SIZE): Uint32Array {
  if (!isPrime(size)) throw new RangeError(`a Maglev table needs a prime size, not ${size}`);
  const placed = placementOrder(servers);
  if (placed.length === 0) return new Uint32Array(0);
  const weights = new Float64Array(placed.length);
  const starts = new Int32Array(placed.length);
  const strides = new Int32Array(placed.length);
  for (let s = 0; s < placed.length; s++) {
    const { id, weight } = servers[placed[s]!]!;
    weights[s] = weight;
    starts[s] = hash32(id, START_SEED) % size;
    strides[s] = 1 + (hash32(id, STRIDE_SEED) % (size - 1));
  }
  return fill(size, turnOrder(weights, size), placed, starts, strides);
}

/** Indexes of the servers with weight, ordered by hash: the same whatever order they came in. */
function placementOrder(servers: readonly WeightedServer[]): Int32Array {
  const keys = new Float64Array(servers.length);
  let count = 0;
  for (let i = 0; i < servers.length; i++) {
    const { id, weight } = servers[i]!;
    if (weight > 0) keys[count++] = hash32(id, START_SEED) * INDEX_RANGE + i;
  }
  const sorted = keys.subarray(0, count).toSorted();
  const order = new Int32Array(count);
  for (let i = 0; i < count; i++) order[i] = sorted[i]! % INDEX_RANGE;
  for (let i = 1; i < count; i++) {
    // Equal hashes, seen once in 8,600 sets of 1,000 servers, are ordered by id.
    for (let j = i; j > 0 && Math.floor(sorted[j]! / INDEX_RANGE) === Math.floor(sorted[j - 1]! / INDEX_RANGE); j--) {
      const [left, right] = [order[j - 1]!, order[j]!];
      if (servers[left]!.id <= servers[right]!.id) break;
      order[j - 1] = right;
      order[j] = left;
    }
  }
  return order;
}

/**
 * Who takes the first, second, … turn: a counting sort of all turns by time; inside a bucket by position. A bucket's
 * width is a power of two, so that it does not slide with the sum of weights, which would swap neighbouring turns.
 */
function turnOrder(weights: Float64Array, turns: number): Uint32Array {
  let sum = 0;
  for (const weight of weights) sum += weight;
  const bucketsPerTime = 2 ** Math.ceil(Math.log2((BUCKETS * sum) / turns));
  const buckets = Math.ceil(timeOfTurns(weights, sum, turns) * bucketsPerTime) + 1;

  const ends = new Uint32Array(buckets + 1);
  let total = 0;
  for (const weight of weights) {
    const period = bucketsPerTime / weight;
    ends[1]! += 1;
    total++;
    for (let due = 1.5 * period; due < buckets; due += period) {
      ends[(due | 0) + 1]! += 1;
      total++;
    }
  }
  for (let b = 1; b <= buckets; b++) ends[b]! += ends[b - 1]!;

  const order = new Uint32Array(total);
  for (let s = 0; s < weights.length; s++) {
    const period = bucketsPerTime / weights[s]!;
    order[ends[0]!++] = s;
    for (let due = 1.5 * period; due < buckets; due += period) order[ends[due | 0]!++] = s;
  }
  return order;
}

/** A time up to which at least `turns` turns are due, and not many more. */
function timeOfTurns(weights: Float64Array, sum: number, turns: number): number {
  for (let time = turns / sum; ; ) {
    let due = 0;
    for (const weight of weights) due += Math.max(1, Math.floor(time * weight + 0.5));
    if (due >= turns) return time;
    time += Math.max(turns - due, turns / 256) / sum;
  }
}

/** Gives out the slots by turn. `order` names positions in `placed`, `at` (where each one stands) and `strides`. */
function fill(size: number, order: Uint32Array, placed: Int32Array, at: Int32Array, strides: Int32Array): Uint32Array {
  const table = new Uint32Array(size);
  const taken = new Uint8Array(size);
  const walked = Math.max(0, size - SEARCHED);
  for (let turn = 0; turn < walked; turn++) {
    const s = order[turn]!;
    const slot = nextFree(taken, at[s]!, strides[s]!, size);
    taken[slot] = 1;
    table[slot] = placed[s]!;
    at[s] = slot;
  }
  const free = new Int32Array(size - walked);
  for (let slot = 0, n = 0; n < free.length; slot++) if (taken[slot] === 0) free[n++] = slot;
  for (let turn = walked; turn < size; turn++) {
    const s = order[turn]!;
    const slot = takeNearest(free, size - turn, at[s]!, strides[s]!, size);
    table[slot] = placed[s]!;
    at[s] = slot;
  }
  return table;
}

/**
 * The first free slot on the walk from `start` on. Adding (x >> 31) & size brings what fell below 0 back into the
 * table; adding (b - a) & -taken chooses b where `taken` is 1.
 */
function nextFree(taken: Uint8Array, start: number, stride: number, size: number): number {
  const step = stride - size;
  let first = start;
  for (;;) {
    let second = first + step;
    second += (second >> 31) & size;
    let third = second + step;
    third += (third >> 31) & size;
    const firstTaken = taken[first]!;
    const secondTaken = taken[second]!;
    if ((firstTaken & secondTaken & taken[third]!) === 0) {
      const later = second + ((third - second) & -secondTaken);
      return first + ((later - first) & -firstTaken);
    }
    first = third + step;
    first += (first >> 31) & size;
  }
}

/** Takes, of the first `count` free slots, the one fewest strides away from `from`, and closes the gap in the list. */
function takeNearest(free: Int32Array, count: number, from: number, stride: number, size: number): number {
  const inverse = inverseModulo(stride, size);
  let nearest = 0;
  let fewest = size;
  for (let i = 0; i < count; i++) {
    const gap = free[i]! - from;
    const product = (gap < 0 ? gap + size : gap) * inverse;
    const strides = product - Math.floor(product / size) * size;
    if (strides < fewest) {
      fewest = strides;
      nearest = i;
    }
  }
  const slot = free[nearest]!;
  free[nearest] = free[count - 1]!;
  return slot;
}

/** The x below `size` with value × x ≡ 1 (mod size), by Euclid's algorithm; `size` is prime, 0 < value < size. */
function inverseModulo(value: number, size: number): number {
  let [previous, rest, previousFactor, factor] = [size, value, 0, 1];
  while (rest !== 1) {
    const quotient = (previous / rest) | 0;
    [previous, rest] = [rest, previous - quotient * rest];
    [previousFactor, factor] = [factor, previousFactor - quotient * factor];
  }
  return factor < 0 ? factor + size : factor;
}

function isPrime(value: number): boolean {
  if (!Number.isInteger(value) || value < 2) return false;
  for (let d = 2; d * d <= value; d++) if (value % d === 0) return false;
  return true;
}
