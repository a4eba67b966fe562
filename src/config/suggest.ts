// "Did you mean": the nearest of the known words, when it is near enough to be a slip of the hand.

/** The hint for a word that is not among `known`, or undefined when nothing comes near. */
export function didYouMean(word: string, known: readonly string[]): string | undefined {
  const best = nearest(word, known);
  return best === undefined ? undefined : `did you mean "${best}"?`;
}

/** The known word with the fewest edits from `word`: at most a third of its length, and one is always allowed. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let fewest = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const edits = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (edits < fewest && edits <= Math.max(1, Math.floor(candidate.length / 3))) {
      best = candidate;
      fewest = edits;
    }
  }
  return best;
}

/**
 * Levenshtein's distance with swapped neighbours as one edit (optimal string alignment), since that is the commonest
 * slip: "shceduler" is one edit away, not two.
 */
export function editDistance(a: string, b: string): number {
  const width = b.length + 1;
  const cost = (i: number, j: number): number => table[i * width + j] ?? 0;
  const table = new Uint32Array((a.length + 1) * width);
  for (let i = 0; i <= a.length; i++) {
    for (let j = 0; j <= b.length; j++) {
      table[i * width + j] = i === 0 || j === 0 ? i + j : cheapest(i, j);
    }
  }
  return cost(a.length, b.length);

  function cheapest(i: number, j: number): number {
    const differ = a[i - 1] === b[j - 1] ? 0 : 1;
    const edits = Math.min(cost(i - 1, j) + 1, cost(i, j - 1) + 1, cost(i - 1, j - 1) + differ);
    const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
    return isSwap ? Math.min(edits, cost(i - 2, j - 2) + 1) : edits;
  }
}
