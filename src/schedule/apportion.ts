// Shares out a number of seats by weight: the largest-remainder method, with at least one seat for any weight above 0.

/**
 * Seats for each weight: its exact share rounded down or up, adding up to `seats`; on equal remainders the earlier one
 * is rounded up. A share below one counts as one, and the others divide what is left. There must be a seat for each.
 */
export function apportion(weights: readonly number[], seats: number): number[] {
  const shares = weights.map(() => 0);
  let open = [...weights.keys()].filter((index) => weights[index]! > 0);
  if (seats < open.length) throw new RangeError(`${open.length} weights cannot share ${seats} seats`);

  let left = seats;
  for (;;) {
    const exact = exactShares(weights, open, left);
    open = open.filter((index) => exact[index]! >= 1);
    const raised = exact.flatMap((share, index) => (share > 0 && share < 1 ? [index] : []));
    if (raised.length === 0) {
      giveByRemainder(shares, exact, open, left);
      return shares;
    }
    // Rounding these up takes from the others, which can bring the next one below a seat: look again.
    for (const index of raised) shares[index] = 1;
    left -= raised.length;
  }
}

/** The unrounded shares of those in `open`, 0 for the others. */
function exactShares(weights: readonly number[], open: readonly number[], seats: number): number[] {
  const exact = weights.map(() => 0);
  let sum = 0;
  for (const index of open) sum += weights[index]!;
  for (const index of open) exact[index] = (weights[index]! * seats) / sum;
  return exact;
}

function giveByRemainder(shares: number[], exact: readonly number[], open: readonly number[], seats: number): void {
  let left = seats;
  for (const index of open) {
    shares[index] = Math.floor(exact[index]!);
    left -= shares[index];
  }
  const byRemainder = open.toSorted((a, b) => (exact[b]! % 1) - (exact[a]! % 1) || a - b);
  for (const index of byRemainder.slice(0, left)) shares[index]! += 1;
}
