import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { makeSystemClock } from '../../src/base/clock.ts';

describe("the system's clock", () => {
  it('runs a timer once its delay has passed', async () => {
    const clock = makeSystemClock();
    const started = clock.nowMs();
    const ran = new EventTarget();
    const event = once(ran, 'ran');
    clock.setTimer(20, () => ran.dispatchEvent(new Event('ran')));
    await event;
    // The kernel's timers may be a millisecond early against the finer clock.
    assert.ok(clock.nowMs() - started >= 19, `after ${clock.nowMs() - started} ms`);
  });

  it('does not run a cancelled timer, and takes a second cancel', async () => {
    const clock = makeSystemClock();
    const log: string[] = [];
    const timer = clock.setTimer(1, () => log.push('cancelled one'));
    timer.cancel();
    timer.cancel();
    await new Promise<void>((resolve) => {
      clock.setTimer(5, resolve);
    });
    assert.deepEqual(log, []);
  });
});
