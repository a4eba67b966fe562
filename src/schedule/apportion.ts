// Shares out a number of seats by weight: the largest-remainder method, with at least one seat for any weight above 0.

/**
 * Seats for each weight: every one its exact share rounded down or up, adding up to `seats`; ties go to the earlier one.
 * A share below one counts as one, and the others divide what is left. `seats` must suffice for one each.
 */
export function apportion(weights: readonly number[], seats: number): number[] {
  const shares = weights.map(() => 0);
  const open = new Set<number>();
  weights.forEach((weight, index) => {
    if (weight > 0) open.add(index);
  });
  if (seats < open.size) throw new RangeError(`${open.size} weights cannot share ${seats} seats`);

  let left = seats;
  for (;;) {
    // Handing out single seats shrinks what the others share, which can push the next one below one seat.
    const sum = [...open].reduce((total, index) => total + weights[index]!, 0);
    const single = [...open].filter((index) => weights[index]! * left < sum);
    if (single.length === 0) {
      const exact = [...open].map((index) => ({ index, share: (weights[index]! * left) / sum }));
      for (const { index, share } of exact) shares[index] = Math.floor(share);
      left -= exact.reduce((total, { index }) => total + shares[index]!, 0);
      exact.sort((a, b) => (b.share % 1) - (a.share % 1) || a.index - b.index);
      for (const { index } of exact.slice(0, left)) shares[index]! += 1;
      return shares;
    }
    for (const index of single) {
      shares[index] = 1;
      open.delete(index);
    }
    left -= single.length;
  }
}
