// Waiting for a condition instead of sleeping: asks again and again until the answer is accepted or the deadline is over,
// and then says what was seen last.

export interface Deadline {
  withinMs?: number;
  everyMs?: number;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Starts something that is awaited only later. If the scenario fails before that, the lab goes down under it, and its own
 * failure is no news any more.
 */
export function meanwhile<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {});
  return work;
}

function show(value: unknown): string {
  if (value instanceof Error) {
    return `error: ${value.message}`;
  }
  return (typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value))).slice(-2000);
}

/** Asks `probe` until `accept` likes the answer, and gives that answer. A probe that throws counts as a "not yet". */
export async function waitFor<T>(
  what: string,
  probe: () => T | Promise<T>,
  accept: (value: T) => boolean = Boolean,
  { withinMs = 20_000, everyMs = 50 }: Deadline = {},
): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    let seen: unknown;
    try {
      const value = await probe();
      if (accept(value)) {
        return value;
      }
      seen = value;
    } catch (error) {
      seen = error;
    }
    if (performance.now() >= end) {
      throw new Error(`waited ${withinMs} ms for ${what}; last seen: ${show(seen)}`);
    }
    await pause(everyMs);
  }
}
