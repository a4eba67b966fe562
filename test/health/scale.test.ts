import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { makeSystemClock } from '../../src/base/clock.ts';
import { waitUntil } from '../../src/cli/wait-until.ts';
import { makeProber } from '../../src/health/make-probe.ts';
import { makeMonitor } from '../../src/health/monitor.ts';
import { makeTimers } from '../../src/health/timers.ts';
import { openRawProber } from '../../src/plane/raw-prober.ts';

const noPath = (): never => {
  throw new Error('nothing here goes through the path');
};

const SERVERS = 10_000;
/** Rounds of all servers before memory is looked at, and until it is looked at again. */
const ROUNDS = 2;
const MORE_ROUNDS = 3;
/** Octets by which memory may grow for each later result: what is under way is not the same both times, some megabytes. */
const LEFT_BY_A_RESULT = 150;
/** Sockets under way at most: far below one for each server, and enough for all rounds. */
const SOCKETS = 1000;
/** For all rounds, however busy the machine; alone it takes seconds. */
const DEADLINE_MS = 180_000;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function usedMemory(): number {
  collect();
  return process.memoryUsage().heapUsed;
}

/** Every address of 127.0.0.0/8 is this host: one listener is ten thousand servers. */
const program = `
  const server = require('node:net').createServer((socket) => socket.on('error', () => {}).resume());
  server.listen({ port: 0, host: '0.0.0.0', backlog: 4096 }, () => console.log(server.address().port));`;

for (const type of ['tcp', 'tcp-half-open', 'icmp'] as const) {
  test(`10,000 servers checked every 2 s (${type}) need one timer, few descriptors and no more memory with time, and none is called down`, async (t) => {
    const child = spawn(process.execPath, ['--eval', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill());
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const port = type === 'icmp' ? null : Number(line.toString());

    const clock = makeSystemClock();
    let handles = 0;
    const timers = makeTimers({
      nowMs: () => clock.nowMs(),
      setTimer: (delayMs, run) => {
        handles++;
        let isOver = false;
        const over = (): void => {
          if (!isOver) handles--;
          isOver = true;
        };
        const timer = clock.setTimer(delayMs, () => {
          over();
          run();
        });
        return {
          cancel: () => {
            over();
            timer.cancel();
          },
        };
      },
    });
    const raw = openRawProber();
    t.after(() => raw.close());
    const { probe } = makeProber({ timers, raw: () => raw, path: noPath, sockets: SOCKETS });
    const down: string[] = [];
    const monitor = makeMonitor({
      clock: timers,
      probe,
      onChange: (key, state, reason) => {
        if (state === 'down') down.push(`${key}: ${reason}`);
      },
    });
    t.after(() => monitor.stop());
    const before = readdirSync('/proc/self/fd').length;
    monitor.update(
      Array.from({ length: SERVERS }, (_, i) => ({
        key: `server-${i}`,
        kind: { type },
        via: null,
        address: `127.${1 + (i >> 14)}.${(i >> 8) & 63}.${i & 255}`,
        port,
        everyMs: 2000,
        fastEveryMs: 2000,
        // The listener is one process beside others: what counts here is not how fast it answers.
        timeoutMs: 20_000,
        rise: 2,
        fall: 3,
      })),
    );
    let mostDescriptors = 0;
    let mostHandles = 0;
    const rounds = (count: number) =>
      waitUntil(() => {
        mostDescriptors = Math.max(mostDescriptors, readdirSync('/proc/self/fd').length - before);
        mostHandles = Math.max(mostHandles, handles);
        const { ok, failed, untried } = monitor.counts();
        return ok + failed + untried >= count * SERVERS;
      }, DEADLINE_MS);
    assert.ok(await rounds(ROUNDS), `only ${JSON.stringify(monitor.counts())} rounds`);
    const memory = usedMemory();
    assert.ok(await rounds(ROUNDS + MORE_ROUNDS), `only ${JSON.stringify(monitor.counts())} rounds`);
    const growth = usedMemory() - memory;
    assert.ok(
      growth < MORE_ROUNDS * SERVERS * LEFT_BY_A_RESULT,
      `${growth} octets more after ${MORE_ROUNDS} more rounds`,
    );
    assert.deepEqual(down.slice(0, 5), []);
    assert.ok(mostDescriptors <= SOCKETS + 10, `${mostDescriptors} descriptors`);
    assert.equal(mostHandles, 1);
    monitor.stop();
    assert.ok(
      await waitUntil(() => readdirSync('/proc/self/fd').length <= before + 2, DEADLINE_MS),
      'descriptors come back',
    );
    assert.equal(timers.pending(), 0);
  });
}
