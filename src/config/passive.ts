// `passive`: what is made of the handshakes that a server's flows show by themselves. As written, a word or a map; what a
// service leaves out comes from `defaults`.

import { z } from 'zod';
import { formatDuration } from './duration.ts';
import { choice, dispatch, duration, must, wholeNumber } from './leaves.ts';
import { LIMITS } from './limits.ts';
import type { Finding, Path } from './positions.ts';

export interface PassivePlan {
  /** `observe` only says what `eject` would do. */
  readonly mode: 'observe' | 'eject';
  /** Fewer failures than this are no evidence. */
  readonly failures: number;
  /** Over which time connections are counted. */
  readonly withinMs: number;
  /** A SYN without an answer for so long has failed. */
  readonly answerWithinMs: number;
  /** So many times slower than the median of the others is too slow; null: however slow. */
  readonly slow: number | null;
  /** Percent of a service's servers that may be out at a time. */
  readonly most: number;
  /** For how long the first time; each time after another it is twice as long, to the longest. */
  readonly forMs: number;
  readonly longestMs: number;
}

const mode = choice('mode', ['off', 'observe', 'eject']);

export const passiveMapShape = z.strictObject(
  {
    mode: mode.optional(),
    failures: wholeNumber(1, 10_000).optional(),
    within: duration(1000, 600_000).optional(),
    'answer-within': duration(100, 60_000).optional(),
    slow: z.union([z.literal('off'), wholeNumber(2, 1000)], must('off, or a whole number from 2 to 1000')).optional(),
    most: wholeNumber(1, 100).optional(),
    for: duration(100, LIMITS.durationMs).optional(),
    longest: duration(100, LIMITS.durationMs).optional(),
  },
  must('off, observe, eject or a map'),
);

export type PassiveDraft = z.output<typeof passiveMapShape>;

const words = mode.transform((word): PassiveDraft => ({ mode: word }));

export const passiveShape = dispatch<PassiveDraft>((value) => (typeof value === 'string' ? words : passiveMapShape));

/** Null: off, as it is unless somebody asks. */
export function buildPassive(own: PassiveDraft | undefined, general: PassiveDraft | undefined): PassivePlan | null {
  const draft: PassiveDraft = { ...general, ...own };
  // Whoever writes options means them.
  const wanted = draft.mode ?? (own === undefined && general === undefined ? 'off' : 'eject');
  if (wanted === 'off') return null;
  const forMs = draft.for ?? 10_000;
  return {
    mode: wanted,
    failures: draft.failures ?? 5,
    withinMs: draft.within ?? 10_000,
    answerWithinMs: draft['answer-within'] ?? 1000,
    slow: draft.slow === 'off' ? null : (draft.slow ?? 10),
    most: draft.most ?? 50,
    forMs,
    longestMs: draft.longest ?? Math.max(forMs, 300_000),
  };
}

/** What is odd in a service's own `passive`. */
export function checkPassive(
  own: PassiveDraft | undefined,
  plan: PassivePlan | null,
  isTcp: boolean,
  path: Path,
): Finding[] {
  if (own === undefined || plan === null) return [];
  if (!isTcp) {
    return [{ path, on: 'key', message: '"passive" watches handshakes of TCP, and this service has no TCP' }];
  }
  if (plan.longestMs >= plan.forMs) return [];
  const message = `the longest ejection, ${formatDuration(plan.longestMs)}, is shorter than the first, ${formatDuration(plan.forMs)}`;
  return [{ path: [...path, 'longest'], elsewhere: [[...path, 'for']], message }];
}

/** All of it, so that two plans with the same text are the same plan. */
export function formatPassive(plan: PassivePlan | null): string {
  if (plan === null) return 'off';
  const { mode: how, failures, withinMs, answerWithinMs, slow, most, forMs, longestMs } = plan;
  const slowness = slow === null ? 'however slow' : `${slow} times slower`;
  return `${how} after ${failures} failures within ${formatDuration(withinMs)}, no answer within ${formatDuration(answerWithinMs)}, ${slowness}; at most ${most} %, for ${formatDuration(forMs)} to ${formatDuration(longestMs)}`;
}
