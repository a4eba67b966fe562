// How many workers a configuration gets on this machine.

import { availableParallelism } from 'node:os';
import type { Config } from '../config/config.ts';

/** `auto`: one for each core but one, which the kernel and this process need; 16 are more than a card's queues. */
export function workersOf({ workers }: Config): number {
  return workers === 'auto' ? Math.min(16, Math.max(1, availableParallelism() - 1)) : workers;
}
