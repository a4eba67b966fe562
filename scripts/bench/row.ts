// A figure, and what it is held against. One figure has a row for each path it is compared with.

export interface Row {
  readonly measure: string;
  readonly path: string;
  readonly flows: number;
  readonly value: number;
  readonly unit: string;
  /** The path it is compared with, and this path's figure divided by that one's; null for a figure by itself. */
  readonly against: string | null;
  readonly ratio: number | null;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
  return (lower + upper) / 2;
}
