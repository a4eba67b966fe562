// One try at a server: it settles once, by an answer, by its time-out or by an abort, and what it holds is let go then,
// whatever settled it.

import type { ProbeResult, ProbeTarget } from './probe.ts';
import { LATE_MS, type Timers } from './timers.ts';
import { describeError, formatMs } from './words.ts';

export interface Attempt {
  readonly target: ProbeTarget;
  /** Milliseconds since the attempt began. */
  elapsedMs(): number;
  ok(reason: string, more?: Partial<ProbeResult>): void;
  fail(reason: string): void;
  /** By what the system said: about the server, or about this host. `stage` says what was going on, for a reset. */
  explain(error: NodeJS.ErrnoException, stage?: string): void;
  untried(reason: string): void;
  /** The server has let itself be heard. */
  heard(): void;
  /** What to say when time is up from here on: "connected, but no banner". */
  waitingFor(words: string): void;
}

/** What routers say for a server, and the system when nobody says anything. */
const UNHEARD: ReadonlySet<string> = new Set(['EHOSTUNREACH', 'EHOSTDOWN', 'ENETUNREACH', 'ETIMEDOUT']);

const STOPPED: ProbeResult = { outcome: 'untried', reason: 'the check was stopped', latencyMs: null };

/** `run` begins the attempt and returns how to let go of what it holds. */
export function attempt(
  timers: Timers,
  target: ProbeTarget,
  signal: AbortSignal,
  run: (attempt: Attempt) => () => void,
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve(STOPPED);
      return;
    }
    const startedMs = timers.nowMs();
    const lostBeforeMs = timers.lostMs();
    const stopListening = timers.listen();
    let words = 'no answer';
    let isSettled = false;
    let isHeard = false;
    let release: (() => void) | null = null;

    const unheard = (result: ProbeResult): ProbeResult => (isHeard ? result : { ...result, isUnheard: true });
    const settle = (result: ProbeResult): void => {
      if (isSettled) return;
      isSettled = true;
      timer.cancel();
      stopListening();
      signal.removeEventListener('abort', abort);
      release?.();
      resolve(result);
    };
    const abort = (): void => settle(STOPPED);
    const expire = (): void => {
      // When this process was busy, the timer comes first though the answer is there: sockets get one look before.
      setImmediate(() => settle(unheard(failed(`${words} within ${formatMs(target.timeoutMs)}`))));
    };
    // Time in which this process was deaf is no time the server had: it is given once more.
    const expireOrExtend = (): void => {
      const lostMs = timers.lostMs() - lostBeforeMs;
      if (lostMs <= LATE_MS) expire();
      else timer = timers.setTimer(Math.min(lostMs, target.timeoutMs), expire);
    };
    let timer = timers.setTimer(target.timeoutMs, expireOrExtend);
    signal.addEventListener('abort', abort);

    release = run({
      target,
      elapsedMs: () => timers.nowMs() - startedMs,
      ok: (reason, more = {}) => settle({ outcome: 'ok', reason, latencyMs: timers.nowMs() - startedMs, ...more }),
      fail: (reason) => settle(failed(reason)),
      explain: (error, stage) => {
        const result = describeError(error, stage);
        settle(UNHEARD.has(error.code ?? '') ? unheard(result) : result);
      },
      heard: () => {
        isHeard = true;
      },
      untried: (reason) => settle({ outcome: 'untried', reason, latencyMs: null }),
      waitingFor: (next) => {
        words = next;
      },
    });
    // It settled while it began.
    if (isSettled) release();
  });
}

function failed(reason: string): ProbeResult {
  return { outcome: 'failed', reason, latencyMs: null };
}
