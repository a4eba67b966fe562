// What a server's handshakes say of it, compared with its own past and with its peers. Pure: readings of counters in, a
// reason in words out.
//
//     no answer    so many SYNs wait for longer than they may, and none has been answered meanwhile
//     in a row     so many failed since the last one that was answered
//     too many     of those within a time half failed
//     slow         answers take many times as long as those of the others

import type { PassivePlan } from '../config/passive.ts';
import { formatDuration } from '../config/duration.ts';
import type { Handshakes } from '../plane/counters.ts';

export interface Reading extends Omit<Handshakes, 'smoothUs'> {
  readonly atMs: number;
}

/** Fine for as long as an answer may take, coarse before that; oldest first. */
export interface History {
  readonly older: Reading[];
  readonly recent: Reading[];
}

export function makeHistory(): History {
  return { older: [], recent: [] };
}

/** So many coarse readings to the time over which is counted. */
const COARSE = 10;

export function noteReading({ older, recent }: History, reading: Reading, plan: PassivePlan): void {
  recent.push(reading);
  while (recent.length > 1 && recent[1]!.atMs <= reading.atMs - plan.answerWithinMs) {
    const left = recent.shift()!;
    if (left.atMs - (older.at(-1)?.atMs ?? -Infinity) >= plan.withinMs / COARSE) older.push(left);
  }
  while (older.length > 0 && (older[1] ?? recent[0]!).atMs <= reading.atMs - plan.withinMs) older.shift();
}

/** Less than this is fast, whatever the others do. */
const FAST_US = 20_000;

/** Null: nothing against it. `allUs` is what responseUs says of it and of each of its peers, sorted. */
export function judge(history: History, plan: PassivePlan, allUs: readonly number[]): string | null {
  const now = history.recent.at(-1);
  const then = history.recent[0];
  if (now === undefined || then === undefined) return null;
  return silence(now, then, plan) ?? failing(now, history, plan) ?? slowness(history, plan, allUs);
}

/** 32-bit counters go round. */
function since(
  now: Reading,
  then: Reading,
  name: 'answered' | 'refused' | 'abandoned' | 'unanswered' | 'timed',
): number {
  return (now[name] - then[name]) >>> 0;
}

/**
 * Of those that waited then, as many as have ended since may be those that have; the rest waits still, whatever the order.
 */
function silence(now: Reading, then: Reading, { answerWithinMs, failures }: PassivePlan): string | null {
  if (then.atMs > now.atMs - answerWithinMs || since(now, then, 'answered') > 0) return null;
  const ended = since(now, then, 'refused') + since(now, then, 'abandoned');
  const waiting = then.waiting - ended;
  return waiting < failures ? null : `no answer to ${waiting} connections for ${formatDuration(answerWithinMs)}`;
}

function failing(now: Reading, { older, recent }: History, { failures, withinMs }: PassivePlan): string | null {
  const all = [...older, ...recent];
  const lastAnswer = all.find(({ answered }) => answered === now.answered) ?? now;
  const inRow = failuresSince(now, lastAnswer);
  if (inRow.count >= failures) return `${inRow.words} in a row`;
  const first = all[0]!;
  const { count } = failuresSince(now, first);
  const good = since(now, first, 'answered');
  if (count < failures || count < good) return null;
  return `${count} of ${count + good} connections failed within ${formatDuration(withinMs)}`;
}

function failuresSince(now: Reading, then: Reading): { count: number; words: string } {
  const refused = since(now, then, 'refused');
  const unanswered = since(now, then, 'unanswered');
  const count = refused + unanswered;
  const words =
    unanswered === 0
      ? `refused ${refused} connections`
      : refused === 0
        ? `no answer to ${unanswered} connections`
        : `${count} connections failed, ${refused} of them refused,`;
  return { count, words };
}

/** Microseconds that answers take: lately, if there were enough of them, else over the whole time; null: too few. */
export function responseUs({ older, recent }: History, { failures }: PassivePlan): number | null {
  const now = recent.at(-1);
  if (now === undefined) return null;
  for (const then of [recent[0]!, older[0] ?? recent[0]!]) {
    const timed = since(now, then, 'timed');
    if (timed >= failures) return (now.totalUs - then.totalUs) / timed;
  }
  return null;
}

function slowness(history: History, plan: PassivePlan, allUs: readonly number[]): string | null {
  const own = responseUs(history, plan);
  if (plan.slow === null || own === null || own < FAST_US || allUs.length < 2) return null;
  const usual = medianOfOthers(allUs);
  if (own < plan.slow * usual) return null;
  return `takes ${formatUs(own)} to answer, others ${formatUs(usual)}`;
}

/**
 * Of all but a slow one, which has its place in the upper half: without it those of the lower half stand where they stood.
 * Who is no slow one, by twice the median of the others at least, is none by this either, even if it is in the middle.
 */
function medianOfOthers(sorted: readonly number[]): number {
  const others = sorted.length - 1;
  return (sorted[Math.floor((others - 1) / 2)]! + sorted[Math.floor(others / 2)]!) / 2;
}

function formatUs(us: number): string {
  return `${(us / 1000).toFixed(us < 10_000 ? 1 : 0)} ms`;
}
