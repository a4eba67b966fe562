// Waits for something that nobody announces.

import { setTimeout } from 'node:timers/promises';

const LOOK_EVERY_MS = 10;

/** True as soon as the condition holds, false when the time is up before. */
export async function waitUntil(condition: () => boolean | Promise<boolean>, withinMs: number): Promise<boolean> {
  const endMs = performance.now() + withinMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() >= endMs) return false;
    await setTimeout(LOOK_EVERY_MS);
  }
}
