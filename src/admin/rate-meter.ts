// Frames a second of each worker, over the last second or so.

import type { Clock, Timer } from '../base/clock.ts';
import { readWorkers } from '../plane/counters.ts';
import type { Plane } from '../plane/plane.ts';

export interface RateMeter {
  rates(): readonly number[];
  stop(): void;
}

const EVERY_MS = 1000;

export function makeRateMeter(plane: Plane, clock: Clock): RateMeter {
  let last = sample(plane, clock);
  let rates: number[] = last.frames.map(() => 0);
  let timer: Timer;
  const tick = (): void => {
    const now = sample(plane, clock);
    const seconds = (now.atMs - last.atMs) / 1000;
    // After a switch of engines counts begin anew elsewhere.
    const isSame = now.frames.length === last.frames.length;
    rates = now.frames.map((frames, worker) =>
      isSame ? Math.max(0, frames - (last.frames[worker] ?? 0)) / seconds : 0,
    );
    last = now;
    timer = clock.setTimer(EVERY_MS, tick);
  };
  timer = clock.setTimer(EVERY_MS, tick);
  return { rates: () => rates, stop: () => timer.cancel() };
}

function sample(plane: Plane, clock: Clock): { atMs: number; frames: number[] } {
  return { atMs: clock.nowMs(), frames: readWorkers(plane).map(({ frames }) => frames) };
}
