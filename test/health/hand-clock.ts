// A clock that stands still until it is moved: timers run in the order of their time, and the promises that they settle
// run before the next one.

import type { Clock } from '../../src/base/clock.ts';

export interface HandClock extends Clock {
  /** Moves on by `ms`, running what falls due on the way. */
  advance(ms: number): Promise<void>;
  /** Timers that are set and have not run. */
  pendingTimers(): number;
}

export function makeHandClock(): HandClock {
  let now = 1000;
  const timers = new Set<{ atMs: number; run: () => void }>();
  return {
    nowMs: () => now,
    setTimer: (delayMs, run) => {
      const timer = { atMs: now + delayMs, run };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
    pendingTimers: () => timers.size,
    advance: async (ms) => {
      const end = now + ms;
      for (;;) {
        await settle();
        const due = [...timers].filter((timer) => timer.atMs <= end).toSorted((a, b) => a.atMs - b.atMs)[0];
        if (due === undefined) break;
        timers.delete(due);
        now = due.atMs;
        due.run();
      }
      now = end;
    },
  };
}

/** Lets every promise that can settle do so. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
