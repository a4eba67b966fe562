import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attempt } from '../../src/health/attempt.ts';
import { LATE_MS, makeTimers } from '../../src/health/timers.ts';
import { makeHandClock } from './hand-clock.ts';

test('timers run in the order of their time, those of one moment in the order they were set', async () => {
  const clock = makeHandClock();
  const timers = makeTimers(clock);
  const ran: string[] = [];
  for (const [name, ms] of [
    ['c', 30],
    ['a', 10],
    ['b', 20],
    ['b2', 20],
  ] as const) {
    timers.setTimer(ms, () => ran.push(`${name}@${clock.nowMs() - 1000}`));
  }
  assert.equal(clock.pendingTimers(), 1, 'one of the clock for all');
  await clock.advance(100);
  assert.deepEqual(ran, ['a@10', 'b@20', 'b2@20', 'c@30']);
  assert.equal(clock.pendingTimers(), 0);
});

test('a thousand timers in random order all run when they are due, and cancelled ones do not', async () => {
  const clock = makeHandClock();
  const timers = makeTimers(clock);
  let seed = 7;
  const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  const late: number[] = [];
  let ran = 0;
  const all = Array.from({ length: 5000 }, () => {
    const ms = Math.floor(random() * 1000);
    const due = clock.nowMs() + ms;
    return timers.setTimer(ms, () => {
      ran++;
      if (Math.abs(clock.nowMs() - due) > 1) late.push(clock.nowMs() - due);
    });
  });
  const cancelled = all.filter(() => random() < 0.5);
  for (const timer of cancelled) timer.cancel();
  assert.equal(timers.pending(), 5000 - cancelled.length);
  await clock.advance(1000);
  assert.equal(ran, 5000 - cancelled.length);
  assert.deepEqual(late, []);
  assert.equal(timers.pending(), 0);
});

test('a timer that sets another for now does not keep the process in its loop', async () => {
  const clock = makeHandClock();
  let turns = 0;
  const setTimer = (delayMs: number, run: () => void) => {
    turns++;
    return clock.setTimer(delayMs, run);
  };
  const timers = makeTimers({ nowMs: () => clock.nowMs(), setTimer });
  let ran = 0;
  const again = (): void => {
    if (++ran < 100) timers.setTimer(0, again);
  };
  timers.setTimer(0, again);
  await clock.advance(0);
  assert.deepEqual([ran, turns], [100, 100]);
});

test('a cancel after the run, or twice, is harmless', async () => {
  const clock = makeHandClock();
  const timers = makeTimers(clock);
  const timer = timers.setTimer(1, () => undefined);
  timers.setTimer(2, () => undefined).cancel();
  await clock.advance(5);
  timer.cancel();
  timer.cancel();
  assert.equal(timers.pending(), 0);
});

/** A clock whose process can be made deaf: timers that fell due meanwhile run all together at the end. */
function makeDeafClock() {
  let nowMs = 0;
  let set: { atMs: number; run: () => void }[] = [];
  const runDue = (): void => {
    const [due] = set.filter(({ atMs }) => atMs <= nowMs).toSorted((a, b) => a.atMs - b.atMs);
    if (due === undefined) return;
    set = set.filter((other) => other !== due);
    due.run();
    runDue();
  };
  return {
    clock: {
      nowMs: () => nowMs,
      setTimer: (delayMs: number, run: () => void) => {
        const timer = { atMs: nowMs + delayMs, run };
        set.push(timer);
        return { cancel: () => void (set = set.filter((other) => other !== timer)) };
      },
    },
    pass: async (ms: number) => {
      for (const end = nowMs + ms; nowMs < end; ) {
        nowMs += 1;
        runDue();
      }
      await new Promise((resolve) => setImmediate(resolve));
    },
    beDeafFor: async (ms: number) => {
      nowMs += ms;
      runDue();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

const target = { kind: { type: 'tcp' }, via: null, address: '10.0.0.1', port: 80, timeoutMs: 1000 } as const;

test('late timers are counted with what they were late, and punctual ones are not', async () => {
  const { clock, pass, beDeafFor } = makeDeafClock();
  const timers = makeTimers(clock);
  timers.setTimer(10, () => undefined);
  await pass(20);
  assert.deepEqual([timers.lateCount(), timers.lostMs()], [0, 0]);
  timers.setTimer(10, () => undefined);
  await beDeafFor(10 + LATE_MS + 1);
  assert.deepEqual([timers.lateCount(), timers.lostMs()], [1, LATE_MS + 1]);
});

test('a server whose time this process slept through gets that time once more, and then fails', async () => {
  const { clock, pass, beDeafFor } = makeDeafClock();
  const timers = makeTimers(clock);
  let answer = (): void => undefined;
  const ask = () =>
    attempt(timers, target, new AbortController().signal, (own) => {
      answer = () => own.ok('here');
      return () => undefined;
    });
  // Deaf for 800 of its 1000 ms: at 1000 the server has had 200.
  const answered = ask();
  await pass(100);
  await beDeafFor(800);
  await pass(500);
  answer();
  assert.equal((await answered).outcome, 'ok');

  const silent = ask();
  await beDeafFor(800);
  await pass(2000);
  assert.deepEqual(await silent, {
    outcome: 'failed',
    reason: 'no answer within 1 s',
    latencyMs: null,
    isUnheard: true,
  });

  // Nothing was lost here: time is up when it is up.
  const plain = ask();
  await pass(1001);
  answer();
  assert.equal((await plain).outcome, 'failed');
  assert.equal(timers.pending(), 0, 'no ear stays on');
});
