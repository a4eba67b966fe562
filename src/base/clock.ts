// Time as a value that is handed in, so that whatever waits can be driven by hand: nothing above this file reads the
// system's clock by itself.

export interface Clock {
  /** Milliseconds on a monotonic clock: for intervals only, it says nothing about the time of day. */
  nowMs(): number;
  /** Runs `run` once after `delayMs`, unless it is cancelled before. */
  setTimer(delayMs: number, run: () => void): Timer;
}

export interface Timer {
  /** Harmless when the timer has run already. */
  cancel(): void;
}

/** The system's monotonic clock. A timer keeps the process alive until it runs or is cancelled. */
export function makeSystemClock(): Clock {
  return {
    nowMs: () => performance.now(),
    setTimer: (delayMs, run) => {
      const handle = setTimeout(run, delayMs);
      return { cancel: () => clearTimeout(handle) };
    },
  };
}
