// Keeps the state file in step: what an operator said at once, so that the answer can promise it; what checks find, soon
// after; and the file's time now and then. A file system that refuses is said aloud once, and stops nothing.

import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { NO_STATE, type SavedState, type StateFile } from './state-file.ts';

export interface Keeper {
  /** What a predecessor left. */
  readonly left: SavedState;
  /** Where the state comes from; nothing is written before. */
  from(read: () => SavedState): void;
  saveNow(): void;
  saveSoon(): void;
  /** Writes a last time. */
  stop(): void;
}

const SOON_MS = 200;
const TOUCH_EVERY_MS = 30_000;

/** Remembers nothing: for whoever has no file. */
export const NO_KEEPER: Keeper = {
  left: NO_STATE,
  from: () => undefined,
  saveNow: () => undefined,
  saveSoon: () => undefined,
  stop: () => undefined,
};

export function makeKeeper(file: StateFile, clock: Clock, log: Logger): Keeper {
  const { state: left, trouble } = file.load();
  if (trouble !== null) log.warn(trouble);
  let read: (() => SavedState) | null = null;
  let soon: Timer | null = null;
  let isRefused = false;

  const saveNow = (): void => {
    soon?.cancel();
    soon = null;
    if (read === null) return;
    try {
      file.save(read());
      isRefused = false;
    } catch (error) {
      if (!isRefused)
        log.warn(`the state cannot be saved and would not outlive a restart: ${(error as Error).message}`);
      isRefused = true;
    }
  };
  const touch = (): void => {
    file.touch();
    touching = clock.setTimer(TOUCH_EVERY_MS, touch);
  };
  let touching = clock.setTimer(TOUCH_EVERY_MS, touch);

  return {
    left,
    from: (reader) => {
      read = reader;
    },
    saveNow,
    saveSoon: () => {
      soon ??= clock.setTimer(SOON_MS, saveNow);
    },
    stop: () => {
      touching.cancel();
      saveNow();
      read = null;
    },
  };
}
