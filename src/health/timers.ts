// All timers of the checks in one heap over one timer of the clock: ten thousand checks cost ten thousand entries and one
// handle. Since every timer passes here, here is also known when this process was deaf: how late timers ran.
//
// A process that was busy for 800 ms must not call a server slow that answered after 300. Whoever waits for an answer
// keeps an ear on (`listen`), which makes a timer run every 50 ms; what those and all others ran late adds up in
// `lostMs`, and a wait that lost time is given as much again (attempt.ts).

import type { Clock, Timer } from '../base/clock.ts';

export interface Timers extends Clock {
  /** Keeps an ear on until the returned function is called. */
  listen(): () => void;
  /** Time for which timers were kept waiting, in all. */
  lostMs(): number;
  /** Timers that ran later than LATE_MS. */
  lateCount(): number;
  pending(): number;
}

/** Later than this is late; a busy loop of thousands of probes stays below it. */
export const LATE_MS = 100;
const EAR_MS = 50;
/** The clock's timers are whole milliseconds: sooner than this an earlier entry does not disturb the running one. */
const GRAIN_MS = 1;

interface Entry {
  readonly atMs: number;
  /** Order among equals: first set, first run. */
  readonly order: number;
  run: (() => void) | null;
}

export function makeTimers(clock: Clock): Timers {
  let heap: Entry[] = [];
  let orders = 0;
  let live = 0;
  let cancelled = 0;
  let lostMs = 0;
  let late = 0;
  let ears = 0;
  let ear: Timer | null = null;
  let wake: { atMs: number; timer: Timer } | null = null;

  const arm = (): void => {
    // Cancelled ones are dropped when they come up, or all at once when they are most of the heap.
    if (cancelled > 1000 && cancelled > live) {
      heap = heapOf(heap.filter(({ run }) => run !== null));
      cancelled = 0;
    }
    while (heap[0]?.run === null) {
      pop(heap);
      cancelled--;
    }
    const [first] = heap;
    if (first === undefined) {
      wake?.timer.cancel();
      wake = null;
    } else if (wake === null || first.atMs < wake.atMs - GRAIN_MS) {
      wake?.timer.cancel();
      wake = { atMs: first.atMs, timer: clock.setTimer(Math.max(0, first.atMs - clock.nowMs()), runDue) };
    }
  };

  const runDue = (): void => {
    const expectedMs = wake?.atMs ?? clock.nowMs();
    wake = null;
    const nowMs = clock.nowMs();
    const behindMs = nowMs - expectedMs;
    if (behindMs > LATE_MS) {
      late++;
      lostMs += behindMs;
    }
    // Those that are set meanwhile for now wait for the next turn, so that this one ends.
    const limit = orders;
    while (heap[0] !== undefined && heap[0].atMs <= nowMs + GRAIN_MS && heap[0].order < limit) {
      const entry = pop(heap);
      const { run } = entry;
      if (run === null) {
        cancelled--;
        continue;
      }
      entry.run = null;
      live--;
      run();
    }
    arm();
  };

  const setTimer = (delayMs: number, run: () => void): Timer => {
    const entry: Entry = { atMs: clock.nowMs() + delayMs, order: orders++, run };
    live++;
    push(heap, entry);
    arm();
    return {
      cancel: () => {
        if (entry.run === null) return;
        entry.run = null;
        live--;
        cancelled++;
        arm();
      },
    };
  };

  const hear = (): void => {
    ear = ears > 0 ? setTimer(EAR_MS, hear) : null;
  };

  return {
    nowMs: () => clock.nowMs(),
    setTimer,
    listen: () => {
      ears++;
      ear ??= setTimer(EAR_MS, hear);
      return () => {
        ears--;
        if (ears > 0) return;
        ear?.cancel();
        ear = null;
      };
    },
    lostMs: () => lostMs,
    lateCount: () => late,
    pending: () => live,
  };
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function heapOf(entries: readonly Entry[]): Entry[] {
  // A sorted list is a heap.
  return entries.toSorted((a, b) => a.atMs - b.atMs || a.order - b.order);
}

function push(heap: Entry[], entry: Entry): void {
  let at = heap.push(entry) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!isBefore(entry, heap[parent]!)) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = entry;
}

/** Takes the first; the heap must not be empty. */
function pop(heap: Entry[]): Entry {
  const first = heap[0]!;
  const last = heap.pop()!;
  if (heap.length === 0) return first;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
    if (!isBefore(heap[child]!, last)) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
  return first;
}
