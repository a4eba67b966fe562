// A daemon whose successor has failed goes on: as a start of its own, with the configuration that it had.

import { setTimeout } from 'node:timers/promises';
import { FairleadError } from '../base/errors.ts';
import type { Config } from '../config/config.ts';

/** A process that is killed lets go of a large region late. */
const PATIENCE_MS = 30_000;
const TRY_EVERY_MS = 50;

/**
 * The file is not asked at the start: it may be what the successor failed of. `start` throws `refused` while the successor
 * still has the region; this gives up after `patienceMs`.
 */
export async function startAgain<T>(
  last: Config,
  load: () => Config,
  start: (load: () => Config) => Promise<T>,
  patienceMs: number = PATIENCE_MS,
): Promise<T> {
  const endMs = performance.now() + patienceMs;
  for (;;) {
    let first: Config | null = last;
    try {
      return await start(() => {
        const config = first ?? load();
        first = null;
        return config;
      });
    } catch (error) {
      const isTaken = error instanceof FairleadError && error.code === 'refused';
      if (!isTaken || performance.now() > endMs) throw error;
    }
    await setTimeout(TRY_EVERY_MS);
  }
}
