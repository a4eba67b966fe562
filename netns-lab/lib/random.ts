// Random walks that can be walked again, of labs and tests: their seed says which.

export interface Random {
  /** From 0 on. */
  readonly below: (bound: number) => number;
  /** From 0 on, below 1. */
  readonly fraction: () => number;
  readonly pick: <T>(all: readonly T[]) => T;
}

/** xorshift32 */
export function randomOf(seed: number): Random {
  let state = seed >>> 0 || 1;
  const below = (bound: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
  return {
    below,
    fraction: () => below(2 ** 32) / 2 ** 32,
    pick: <T>(all: readonly T[]): T => all[below(all.length)]!,
  };
}
