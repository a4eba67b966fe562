// What the control tests share: a clock moved by hand, checks that answer what the test says, a host, a logger that
// remembers.

import { Writable } from 'node:stream';
import { pino } from 'pino';
import type { Clock } from '../../src/base/clock.ts';
import type { Logger } from '../../src/base/log.ts';
import type { Config } from '../../src/config/config.ts';
import type { HostView } from '../../src/config/host-view.ts';
import { type LoadReplacement, makeReplacement } from '../../src/control/configuration.ts';
import type { Probe, ProbeResult } from '../../src/health/probe.ts';
import { parsePrefix } from '../../src/net/prefix.ts';

export interface FakeClock extends Clock {
  /** Runs what is due on the way, and lets promises settle in between. */
  advance(ms: number): Promise<void>;
  /** So much too early longer timers run, and the others too late, as Node's may. */
  offMs: number;
}

export function makeFakeClock(): FakeClock {
  let nowMs = 1_000_000;
  let timers: { atMs: number; run: () => void }[] = [];
  const clock: FakeClock = {
    offMs: 0,
    nowMs: () => nowMs,
    setTimer: (delayMs, run) => {
      const timer = { atMs: nowMs + (delayMs > clock.offMs ? delayMs - clock.offMs : delayMs + clock.offMs), run };
      timers.push(timer);
      return { cancel: () => void (timers = timers.filter((other) => other !== timer)) };
    },
    advance: async (ms) => {
      const endMs = nowMs + ms;
      for (;;) {
        await settle();
        const due = timers.filter(({ atMs }) => atMs <= endMs).toSorted((a, b) => a.atMs - b.atMs)[0];
        if (due === undefined) break;
        timers = timers.filter((other) => other !== due);
        nowMs = Math.max(nowMs, due.atMs);
        due.run();
      }
      nowMs = endMs;
      await settle();
    },
  };
  return clock;
}

/** Until every promise that can settle by itself has. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export interface FakeProbe {
  readonly probe: Probe;
  /** Endpoints ("10.0.1.11:8080") that refuse from now on. */
  readonly down: Set<string>;
  /** Endpoints that never answer: the check ends when it is aborted. */
  readonly silent: Set<string>;
}

export function makeFakeProbe(): FakeProbe {
  const down = new Set<string>();
  const silent = new Set<string>();
  const probe: Probe = ({ address, port }, signal) => {
    const endpoint = `${address}:${port}`;
    if (silent.has(endpoint)) {
      return new Promise((resolve) => {
        signal.addEventListener('abort', () => resolve({ outcome: 'untried', reason: 'aborted', latencyMs: null }));
      });
    }
    const result: ProbeResult = down.has(endpoint)
      ? { outcome: 'failed', reason: 'connection refused', latencyMs: null }
      : { outcome: 'ok', reason: 'connected in 0.4 ms', latencyMs: 0.4 };
    return Promise.resolve(result);
  };
  return { probe, down, silent };
}

export const fakeHost: HostView = {
  links: [
    { name: 'eth0', index: 2, mac: '02:00:00:00:00:01', mtu: 1500, isUp: true },
    { name: 'eth1', index: 3, mac: '02:00:00:00:00:02', mtu: 1500, isUp: true },
  ],
  addresses: [
    { link: 'eth0', prefix: parsePrefix('203.0.113.1/24')! },
    { link: 'eth1', prefix: parsePrefix('10.0.1.1/24')! },
  ],
};

export interface FakeLog {
  readonly log: Logger;
  readonly lines: { level: number; msg: string }[];
}

export function makeFakeLog(): FakeLog {
  const lines: { level: number; msg: string }[] = [];
  const stream = new Writable({
    write: (chunk, _encoding, done) => {
      lines.push(JSON.parse(String(chunk)) as { level: number; msg: string });
      done();
    },
  });
  return { log: pino({ level: 'debug' }, stream), lines };
}

/** For a reload. */
export function loading(load: () => Config): LoadReplacement {
  return (before, host) => makeReplacement(before, load(), host);
}
