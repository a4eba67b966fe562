// Random walks that can be walked again: their seed says which.

export interface Random {
  /** From 0 on. */
  readonly below: (bound: number) => number;
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
  return { below, pick: <T>(all: readonly T[]): T => all[below(all.length)]! };
}
