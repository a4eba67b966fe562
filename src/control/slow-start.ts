// When servers came back, and how far each has come since: a share of its weight that grows in steps.

import type { Clock } from '../base/clock.ts';
import { SLOW_START_STEPS } from './decide.ts';

export interface SlowStart {
  /** The server begins to grow now. */
  begin(server: string): void;
  /** It is out again, or gone. */
  forget(server: string): void;
  /** 0 to 1. */
  shareOf(server: string, durationMs: number): number;
  /** Milliseconds until the next step of any; null when none grows. */
  nextStepMs(): number | null;
}

export function makeSlowStart(clock: Clock): SlowStart {
  const begun = new Map<string, { sinceMs: number; durationMs: number | null }>();
  const stepOf = (sinceMs: number, durationMs: number): number =>
    Math.floor(((clock.nowMs() - sinceMs) / durationMs) * SLOW_START_STEPS + 1e-6);
  return {
    begin: (server) => void begun.set(server, { sinceMs: clock.nowMs(), durationMs: null }),
    forget: (server) => void begun.delete(server),
    shareOf: (server, durationMs) => {
      const start = begun.get(server);
      if (start === undefined) return 1;
      start.durationMs = durationMs;
      const step = durationMs === 0 ? SLOW_START_STEPS : stepOf(start.sinceMs, durationMs);
      if (step >= SLOW_START_STEPS) {
        begun.delete(server);
        return 1;
      }
      // From the first step on: a server with no share at all would never show that it can.
      return Math.max(1, step) / SLOW_START_STEPS;
    },
    nextStepMs: () => {
      const waits = [...begun.values()].flatMap(({ sinceMs, durationMs }) => {
        if (durationMs === null || durationMs === 0) return [];
        const next = sinceMs + ((stepOf(sinceMs, durationMs) + 1) * durationMs) / SLOW_START_STEPS;
        return [Math.max(1, next - clock.nowMs())];
      });
      return waits.length === 0 ? null : Math.min(...waits);
    },
  };
}
