// A daemon whose successor has failed goes on: as a start of its own, with the configuration that it had. The file is not
// asked: it may be what the successor failed of.

import { setTimeout } from 'node:timers/promises';
import { FairleadError } from '../base/errors.ts';

/** A process that is killed lets go of a large region late. */
const PATIENCE_MS = 30_000;
const TRY_EVERY_MS = 50;

/** `start` throws `refused` while the successor still has the region; this gives up after `patienceMs`. */
export async function startAgain<T>(start: () => Promise<T>, patienceMs: number = PATIENCE_MS): Promise<T> {
  const endMs = performance.now() + patienceMs;
  for (;;) {
    try {
      return await start();
    } catch (error) {
      const isTaken = error instanceof FairleadError && error.code === 'refused';
      if (!isTaken || performance.now() > endMs) throw error;
    }
    await setTimeout(TRY_EVERY_MS);
  }
}
