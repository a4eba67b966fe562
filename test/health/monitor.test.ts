import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CheckTarget } from '../../src/health/check.ts';
import type { Monitor, MonitorOptions } from '../../src/health/monitor.ts';
import { makeMonitor } from '../../src/health/monitor.ts';
import type { Probe, ProbeResult } from '../../src/health/probe.ts';
import type { HandClock } from './hand-clock.ts';
import { makeHandClock } from './hand-clock.ts';

const ok: ProbeResult = { outcome: 'ok', reason: 'connected in 0.4 ms', latencyMs: 0.4 };
const refused: ProbeResult = { outcome: 'failed', reason: 'connection refused', latencyMs: null };
const untried: ProbeResult = { outcome: 'untried', reason: 'too many open files', latencyMs: null };

/** A monitor over servers whose answers the test sets; takes down every probe and every change. */
interface Bench {
  readonly clock: HandClock;
  readonly monitor: Monitor;
  /** By address; a server that is not here is ok. An array is used up from its front. */
  readonly answers: Map<string, ProbeResult | ProbeResult[]>;
  readonly probes: { atMs: number; address: string }[];
  readonly changes: string[];
}

function makeBench(options: Partial<MonitorOptions> = {}): Bench {
  const clock = makeHandClock();
  const answers: Bench['answers'] = new Map();
  const probes: Bench['probes'] = [];
  const changes: string[] = [];
  const startMs = clock.nowMs();
  const probe: Probe = async ({ address }) => {
    probes.push({ atMs: clock.nowMs() - startMs, address });
    const answer = answers.get(address) ?? ok;
    return Array.isArray(answer) ? (answer.shift() ?? ok) : answer;
  };
  const monitor = makeMonitor({
    clock,
    probe,
    onChange: (key, state, reason) => changes.push(`${key} ${state}: ${reason}`),
    random: () => 0.5,
    ...options,
  });
  return { clock, monitor, answers, probes, changes };
}

function makeTarget(change: Partial<CheckTarget> = {}): CheckTarget {
  return {
    key: 'a',
    kind: { type: 'tcp' },
    via: null,
    address: '10.0.0.1',
    port: 80,
    everyMs: 2000,
    fastEveryMs: change.everyMs ?? 2000,
    timeoutMs: 1000,
    rise: 2,
    fall: 3,
    ...change,
  };
}

const timesOf = (bench: Bench, address: string): number[] =>
  bench.probes.filter((probe) => probe.address === address).map((probe) => probe.atMs);

test('a new target is checked at once and then at its interval', async () => {
  const bench = makeBench();
  bench.monitor.update([makeTarget()]);
  assert.equal(bench.monitor.stateOf('a'), 'unknown');
  await bench.clock.advance(0);
  assert.equal(bench.monitor.stateOf('a'), 'up');
  await bench.clock.advance(6000);
  assert.deepEqual(timesOf(bench, '10.0.0.1'), [0, 2000, 4000, 6000]);
  assert.deepEqual(bench.changes, ['a up: connected in 0.4 ms']);
});

test('a server goes down after `fall` failures and up after `rise` successes, with the deciding reason', async () => {
  const bench = makeBench();
  bench.answers.set('10.0.0.1', [ok, refused, refused, refused, ok, ok]);
  bench.monitor.update([makeTarget()]);
  await bench.clock.advance(5999);
  assert.deepEqual(bench.changes, ['a up: connected in 0.4 ms']);
  await bench.clock.advance(1);
  assert.deepEqual(bench.changes.slice(1), ['a down: connection refused']);
  await bench.clock.advance(4000);
  assert.deepEqual(bench.changes.slice(2), ['a up: connected in 0.4 ms']);
});

test('a silent server is down within fall × (every + timeout), and up within rise × every once it answers', async () => {
  const [everyMs, timeoutMs, rise, fall] = [2000, 1000, 2, 3];
  // Whenever in the rhythm of the checks it dies, and wherever jitter moves them.
  for (const random of [() => 0, () => 0.5, () => 0.999]) {
    for (let diesMs = 10_000; diesMs < 10_000 + everyMs; diesMs += 111) {
      let isDead = false;
      const clock = makeHandClock();
      const seen = new Map<string, number>();
      const monitor = makeMonitor({
        clock,
        random,
        probe: () =>
          new Promise((resolve) => {
            const silent: ProbeResult = { outcome: 'failed', reason: 'no answer within 1 s', latencyMs: null };
            clock.setTimer(isDead ? timeoutMs : 1, () => resolve(isDead ? silent : ok));
          }),
        onChange: (_key, state) => seen.set(state, clock.nowMs()),
      });
      monitor.update([makeTarget({ everyMs, timeoutMs, rise, fall })]);
      await clock.advance(diesMs);
      isDead = true;
      const diedMs = clock.nowMs();
      await clock.advance(20_000);
      const downMs = seen.get('down')! - diedMs;
      assert.ok(
        downMs > (fall - 1) * everyMs * 0.9 && downMs <= fall * (everyMs + timeoutMs),
        `down after ${downMs} ms`,
      );
      isDead = false;
      const mendedMs = clock.nowMs();
      await clock.advance(20_000);
      const upMs = seen.get('up')! - mendedMs;
      assert.ok(upMs <= rise * everyMs * 1.05 + 1, `up after ${upMs} ms`);
      monitor.stop();
    }
  }
});

test('a check that this host could not make changes nothing', async () => {
  const bench = makeBench();
  bench.answers.set('10.0.0.1', [untried, ok, refused, untried, refused, untried, ok]);
  bench.monitor.update([makeTarget({ fall: 2 })]);
  await bench.clock.advance(0);
  assert.equal(bench.monitor.stateOf('a'), 'unknown');
  await bench.clock.advance(6000);
  assert.deepEqual(bench.changes, ['a up: connected in 0.4 ms']);
  assert.equal(bench.monitor.reports()[0]!.last!.reason, 'too many open files');
  await bench.clock.advance(2000);
  assert.deepEqual(bench.changes.slice(1), ['a down: connection refused']);
});

test('a probe that breaks counts as a check that could not be made', async () => {
  const clock = makeHandClock();
  const monitor = makeMonitor({
    clock,
    probe: () => Promise.reject(new Error('broken')),
    onChange: () => assert.fail(),
    random: () => 0.5,
  });
  monitor.update([makeTarget()]);
  await clock.advance(2000);
  const [report] = monitor.reports();
  assert.equal(report!.state, 'unknown');
  assert.match(report!.last!.reason, /broken/);
  monitor.stop();
});

test('an update leaves unchanged targets to their rhythm and state', async () => {
  const bench = makeBench();
  bench.monitor.update([makeTarget()]);
  await bench.clock.advance(500);
  bench.monitor.update([makeTarget(), makeTarget({ key: 'b', address: '10.0.0.2' })]);
  assert.equal(bench.monitor.stateOf('a'), 'up');
  await bench.clock.advance(4000);
  assert.deepEqual(timesOf(bench, '10.0.0.1'), [0, 2000, 4000]);
  assert.deepEqual(timesOf(bench, '10.0.0.2'), [500, 2500, 4500]);
});

test('other timers or limits keep the state, another address or port starts from nothing', async () => {
  const bench = makeBench();
  bench.monitor.update([makeTarget()]);
  await bench.clock.advance(100);
  bench.monitor.update([makeTarget({ everyMs: 500, timeoutMs: 400, fall: 1 })]);
  assert.equal(bench.monitor.stateOf('a'), 'up');
  await bench.clock.advance(600);
  assert.deepEqual(timesOf(bench, '10.0.0.1'), [0, 100, 600]);
  bench.answers.set('10.0.0.1', refused);
  await bench.clock.advance(500);
  assert.equal(bench.monitor.stateOf('a'), 'down');

  bench.monitor.update([makeTarget({ address: '10.0.0.9' })]);
  assert.equal(bench.monitor.stateOf('a'), 'unknown');
  await bench.clock.advance(0);
  assert.equal(bench.monitor.stateOf('a'), 'up');
  bench.monitor.update([makeTarget({ address: '10.0.0.9', port: 81 })]);
  assert.equal(bench.monitor.stateOf('a'), 'unknown');
});

test('targets that ask for the same probe share one, each with its own limits', async () => {
  const bench = makeBench();
  bench.answers.set('10.0.0.1', [ok, refused, refused]);
  bench.monitor.update([makeTarget({ fall: 1 }), makeTarget({ key: 'b', fall: 2 })]);
  await bench.clock.advance(4000);
  assert.deepEqual(timesOf(bench, '10.0.0.1'), [0, 2000, 4000]);
  assert.deepEqual(bench.changes, [
    'a up: connected in 0.4 ms',
    'b up: connected in 0.4 ms',
    'a down: connection refused',
    'b down: connection refused',
  ]);
});

test('a target that joins a running check learns its last result without a new probe', async () => {
  const bench = makeBench();
  bench.monitor.update([makeTarget()]);
  await bench.clock.advance(100);
  bench.monitor.update([makeTarget(), makeTarget({ key: 'b' })]);
  assert.deepEqual(bench.changes, ['a up: connected in 0.4 ms'], 'not from inside update');
  await bench.clock.advance(0);
  assert.equal(bench.monitor.stateOf('b'), 'up');
  assert.deepEqual(timesOf(bench, '10.0.0.1'), [0]);
});

test('a check goes on for the other target when one that shares it is removed', async () => {
  const bench = makeBench();
  bench.monitor.update([makeTarget(), makeTarget({ key: 'b' })]);
  await bench.clock.advance(100);
  bench.monitor.update([makeTarget({ key: 'b' })]);
  assert.equal(bench.monitor.stateOf('a'), 'unknown');
  await bench.clock.advance(2000);
  assert.deepEqual(timesOf(bench, '10.0.0.1'), [0, 2000]);
  assert.deepEqual(
    bench.monitor.reports().map(({ target, state }) => [target.key, state]),
    [['b', 'up']],
  );
});

test('few new checks start together, many are spread over a second', async () => {
  const servers = (count: number): CheckTarget[] =>
    Array.from({ length: count }, (_, i) => makeTarget({ key: `s${i}`, address: `10.0.1.${i}` }));
  const few = makeBench();
  few.monitor.update(servers(50));
  await few.clock.advance(0);
  assert.equal(few.probes.length, 50);

  const many = makeBench();
  many.monitor.update(servers(200));
  await many.clock.advance(0);
  assert.equal(many.probes.length, 1);
  await many.clock.advance(500);
  assert.equal(many.probes.length, 101);
  await many.clock.advance(499);
  assert.equal(many.probes.length, 200);
});

test('a probe that outlasts the interval delays the next one instead of running beside it', async () => {
  const clock = makeHandClock();
  let open = 0;
  let started = 0;
  const slow: Probe = () =>
    new Promise((resolve) => {
      started++;
      open++;
      assert.equal(open, 1);
      clock.setTimer(2500, () => {
        open--;
        resolve(ok);
      });
    });
  const monitor = makeMonitor({ clock, probe: slow, onChange: () => {}, random: () => 0.5 });
  monitor.update([makeTarget()]);
  await clock.advance(7600);
  assert.equal(started, 4);
});

test('a removed target ends its probe, its timers and its reports; stop ends all', async () => {
  const clock = makeHandClock();
  const signals: AbortSignal[] = [];
  const changes: string[] = [];
  const answer: (() => void)[] = [];
  const pending: Probe = (_target, signal) =>
    new Promise((resolve) => {
      signals.push(signal);
      answer.push(() => resolve(ok));
    });
  const monitor = makeMonitor({ clock, probe: pending, onChange: (key) => changes.push(key), random: () => 0.5 });
  monitor.update([makeTarget(), makeTarget({ key: 'b', address: '10.0.0.2' })]);
  await clock.advance(0);
  monitor.update([makeTarget()]);
  assert.deepEqual(
    signals.map((signal) => signal.aborted),
    [false, true],
  );
  monitor.stop();
  assert.equal(signals[0]!.aborted, true);
  for (const settle of answer) settle();
  await clock.advance(10_000);
  assert.deepEqual(changes, []);
  assert.equal(signals.length, 2, 'no probe after the end');
  assert.equal(clock.pendingTimers(), 0);
  assert.deepEqual(monitor.reports(), []);
});

test('stop also ends what a target that joined was still to be told', async () => {
  const bench = makeBench();
  bench.monitor.update([makeTarget()]);
  await bench.clock.advance(0);
  bench.monitor.update([makeTarget(), makeTarget({ key: 'b' })]);
  bench.monitor.stop();
  assert.equal(bench.clock.pendingTimers(), 0);
});

test('a change may update the set from inside, and whom it removed hears nothing', async () => {
  const clock = makeHandClock();
  const changes: string[] = [];
  const monitor = makeMonitor({
    clock,
    probe: async () => ok,
    onChange: (key) => {
      changes.push(key);
      monitor.update([makeTarget()]);
    },
  });
  monitor.update([makeTarget(), makeTarget({ key: 'b' })]);
  await clock.advance(0);
  assert.deepEqual(changes, ['a']);
  monitor.stop();
  assert.equal(clock.pendingTimers(), 0);
});

test('a report says since when, and what the last check found', async () => {
  const bench = makeBench();
  bench.answers.set('10.0.0.1', [ok, refused]);
  bench.monitor.update([makeTarget()]);
  const startMs = bench.clock.nowMs();
  const unheard = { sinceMs: startMs, last: null, history: '', advice: null, warning: null };
  assert.deepEqual(bench.monitor.reports(), [{ target: makeTarget(), state: 'unknown', ...unheard }]);
  await bench.clock.advance(3000);
  const expected = {
    ...unheard,
    target: makeTarget(),
    state: 'up',
    last: { ...refused, atMs: startMs + 2000 },
    history: '+-',
  };
  assert.deepEqual(bench.monitor.reports(), [expected]);
  assert.deepEqual(bench.monitor.reportOf('a'), expected);
  assert.equal(bench.monitor.reportOf('b'), null);
});

test('two targets with one key are refused and nothing changes', async () => {
  const bench = makeBench();
  bench.monitor.update([makeTarget()]);
  await bench.clock.advance(0);
  assert.throws(() => bench.monitor.update([makeTarget({ key: 'b' }), makeTarget({ key: 'b', port: 81 })]), {
    name: 'RangeError',
    message: /key b$/,
  });
  assert.equal(bench.monitor.stateOf('a'), 'up');
  await bench.clock.advance(2000);
  assert.equal(bench.probes.length, 2);
});

test('while a change is under way, or nothing is known, rounds come at the faster interval', async () => {
  const bench = makeBench();
  bench.answers.set('10.0.0.1', [ok, refused, refused, refused, ok, ok]);
  bench.monitor.update([makeTarget({ fastEveryMs: 500 })]);
  await bench.clock.advance(8000);
  // Up at 0; the first failure at 2000 hastens the next ones; down at 3000, up again after two good ones.
  assert.deepEqual(timesOf(bench, '10.0.0.1'), [0, 2000, 2500, 3000, 5000, 5500, 7500]);
  assert.deepEqual(
    bench.changes.map((change) => change.split(':')[0]),
    ['a up', 'a down', 'a up'],
  );
});

test('rounds are moved by a tenth of the interval at most, and keep their mean rate', async () => {
  let turn = 0;
  const bench = makeBench({ random: () => (turn++ % 2 === 0 ? 0 : 1) });
  bench.monitor.update([makeTarget()]);
  await bench.clock.advance(8200);
  assert.deepEqual(timesOf(bench, '10.0.0.1'), [0, 1900, 4100, 5900, 8100]);
});

test('the last ten results are remembered, what could not be tried among them', async () => {
  const bench = makeBench();
  bench.answers.set('10.0.0.1', [refused, refused, ok, untried, ok, refused, ok, ok, ok, ok, ok, ok]);
  bench.monitor.update([makeTarget()]);
  await bench.clock.advance(2000 * 11);
  assert.equal(bench.monitor.reportOf('a')?.history, '+?+-++++++');
  assert.deepEqual(bench.monitor.counts(), { ok: 8, failed: 3, untried: 1 });
});

test('what a predecessor left is the state until results contradict it', async () => {
  const recall = (key: string) => ({ state: key === 'b' ? 'down' : 'up', sinceMs: -5000 }) as const;
  const bench = makeBench({ recall });
  bench.monitor.update([makeTarget(), makeTarget({ key: 'b', address: '10.0.0.2' })]);
  assert.deepEqual([bench.monitor.stateOf('a'), bench.monitor.stateOf('b')], ['up', 'down']);
  assert.equal(bench.monitor.isTold('a'), false);
  assert.equal(bench.monitor.reportOf('a')?.sinceMs, -5000);
  await bench.clock.advance(0);
  assert.equal(bench.monitor.isTold('a'), true);
  assert.deepEqual([bench.monitor.stateOf('a'), bench.monitor.stateOf('b')], ['up', 'down']);
  await bench.clock.advance(2000);
  assert.deepEqual(bench.changes, ['b up: connected in 0.4 ms']);
});

test('a remembered server whose first check fails is doubted, until a success or `fall` failures', async () => {
  const bench = makeBench({ recall: () => ({ state: 'up', sinceMs: 0 }) });
  bench.answers.set('10.0.0.1', [refused, ok]).set('10.0.0.2', refused);
  bench.monitor.update([makeTarget(), makeTarget({ key: 'b', address: '10.0.0.2' })]);
  await bench.clock.advance(0);
  assert.deepEqual([bench.monitor.stateOf('a'), bench.monitor.stateOf('b')], ['doubted', 'doubted']);
  await bench.clock.advance(4000);
  assert.deepEqual([bench.monitor.stateOf('a'), bench.monitor.stateOf('b')], ['up', 'down']);
  // One that failed later than first was never in doubt.
  bench.answers.set('10.0.0.1', [refused, ok]);
  await bench.clock.advance(2000);
  assert.equal(bench.monitor.stateOf('a'), 'up');
});

test('advice and warnings are told when they change, and only then', async () => {
  const told: string[] = [];
  const bench = makeBench({
    onAdvice: (key, advice) => told.push(`${key} ${JSON.stringify(advice)}`),
    onWarning: (key, warning) => told.push(`${key} ${warning}`),
  });
  const half: ProbeResult = { ...ok, advice: { weight: 50, admin: null } };
  const soon: ProbeResult = { ...ok, warning: 'certificate expires in 3 days' };
  bench.answers.set('10.0.0.1', [ok, half, half, refused, soon, soon, ok, soon]);
  bench.monitor.update([makeTarget()]);
  await bench.clock.advance(14_000);
  const warning = 'a certificate expires in 3 days';
  assert.deepEqual(told, ['a {"weight":50,"admin":null}', warning, 'a null', warning]);
});
