// Who has which stretch of TABLES. A live table is never written: a changed one gets a fresh extent, and the old one
// rests before it is given out again: until a later commit than the one that freed it has gone through and a second has
// passed, so that no reader, in whatever engine, can still be walking it.

/** In entries; both even, because the region holds entries in pairs. */
export interface Extent {
  readonly first: number;
  readonly count: number;
}

interface Resting extends Extent {
  /** The commit that freed it. */
  readonly generation: number;
  readonly sinceMs: number;
}

export interface TablePool {
  readonly capacity: number;
  readonly inUse: readonly Extent[];
  readonly resting: readonly Resting[];
}

const REST_MS = 1000;

export interface PoolMoment {
  /** Commits so far; the one being planned is the next. */
  readonly generation: number;
  readonly nowMs: number;
}

export function makeTablePool(capacity: number, inUse: readonly Extent[] = []): TablePool {
  return { capacity, inUse: inUse.filter((extent) => extent.count > 0), resting: [] };
}

/**
 * Plans the next commit's extents: `kept` stay, one new extent for each of `sizes` (0 takes none). Null when they do not
 * fit. The pool that comes back is the one to go on with once the commit has gone through.
 */
export function planExtents(
  pool: TablePool,
  kept: readonly Extent[],
  sizes: readonly number[],
  moment: PoolMoment,
): { pool: TablePool; extents: Extent[] } | null {
  const isKept = new Set(kept.filter(({ count }) => count > 0).map(({ first }) => first));
  const freed = pool.inUse.filter((extent) => !isKept.has(extent.first));
  const resting = pool.resting.filter((extent) => !isRested(extent, moment));
  const gaps = gapsBetween(pool.capacity, [...pool.inUse, ...resting]);
  const extents: Extent[] = [];
  for (const size of sizes) {
    const extent = size === 0 ? { first: 0, count: 0 } : takeFirstFit(gaps, size + (size & 1));
    if (extent === null) return null;
    extents.push(extent);
  }
  const generation = moment.generation + 1;
  return {
    extents,
    pool: {
      capacity: pool.capacity,
      inUse: [...kept, ...extents].filter((extent) => extent.count > 0),
      resting: [...resting, ...freed.map((extent) => ({ ...extent, generation, sinceMs: moment.nowMs }))],
    },
  };
}

function isRested(extent: Resting, moment: PoolMoment): boolean {
  return moment.generation > extent.generation && moment.nowMs - extent.sinceMs >= REST_MS;
}

function gapsBetween(capacity: number, taken: readonly Extent[]): Extent[] {
  const gaps: Extent[] = [];
  let end = 0;
  for (const { first, count } of taken.toSorted((a, b) => a.first - b.first)) {
    if (first > end) gaps.push({ first: end, count: first - end });
    end = Math.max(end, first + count);
  }
  if (capacity > end) gaps.push({ first: end, count: capacity - end });
  return gaps;
}

function takeFirstFit(gaps: Extent[], size: number): Extent | null {
  const index = gaps.findIndex((gap) => gap.count >= size);
  const gap = gaps[index];
  if (gap === undefined) return null;
  gaps[index] = { first: gap.first + size, count: gap.count - size };
  return { first: gap.first, count: size };
}
