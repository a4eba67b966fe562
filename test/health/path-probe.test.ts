// What silence at the VIP means, by what the server says when it is asked directly.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makePathProbe, type PathTarget } from '../../src/health/path-probe.ts';
import type { ProbeResult } from '../../src/health/probe.ts';
import { makeTimers } from '../../src/health/timers.ts';
import type { PathQuestion } from '../../src/net/probe-path.ts';
import type { RawAnswer, RawOutcome } from '../../src/net/raw-prober.ts';
import { makeHandClock } from './hand-clock.ts';

const TARGET: PathTarget = {
  kind: { type: 'tcp' },
  via: { server: '10.0.1.11', identity: 'web|l2-dsr|10.0.1.11|*', isTunnel: false },
  address: '203.0.113.10',
  port: 80,
  timeoutMs: 1000,
};
const SILENT: ProbeResult = { outcome: 'failed', reason: 'no answer within 1 s', latencyMs: null, isUnheard: true };
const VIP = 'the VIP is not configured on the server';

interface World {
  readonly result?: ProbeResult;
  /** Of a SYN to the VIP, where that is asked beside. */
  readonly syn?: ProbeResult;
  readonly direct?: RawOutcome;
  readonly from?: string;
  readonly hindrance?: string;
  readonly target?: PathTarget;
}

/** Asks once in such a world; gives the result, what went through the path, and how often the server was asked directly. */
async function ask({ result = SILENT, syn = result, direct = 'silent', from, hindrance, target = TARGET }: World) {
  const clock = makeHandClock();
  const opened: PathQuestion[] = [];
  const directly: string[] = [];
  const question = (address: string) => {
    directly.push(address);
    const answer: RawAnswer = { outcome: direct, latencyMs: 1, from: from ?? null, words: '' };
    return { answer: Promise.resolve(answer), cancel: () => undefined };
  };
  const probe = makePathProbe({
    timers: makeTimers(clock),
    path: () => ({
      open: (it) => {
        opened.push(it);
        return { fd: 7, end: () => hindrance ?? null };
      },
      close: () => undefined,
    }),
    raw: () => ({ echo: question, halfOpen: question, close: () => undefined }),
    ask: (it) => {
      assert.equal(it.socket?.(), 7);
      return new Promise((resolve) => {
        clock.setTimer(result.outcome === 'ok' ? 1 : 1000, () =>
          resolve(it.kind.type === 'tcp-half-open' ? syn : result),
        );
      });
    },
  });
  const asked = probe(target, new AbortController().signal);
  await clock.advance(2000);
  return { result: await asked, opened, directly, timers: clock.pendingTimers() };
}

test('a server that answers is asked through the path alone', async () => {
  const { result, opened, directly, timers } = await ask({
    result: { outcome: 'ok', reason: 'connected in 1 ms', latencyMs: 1 },
  });
  assert.equal(result.reason, 'connected in 1 ms');
  assert.deepEqual(
    opened.map(({ protocol, vip, port, server, identity }) => [protocol, vip.text, port, server.text, identity]),
    [['tcp', '203.0.113.10', 80, '10.0.1.11', TARGET.via.identity]],
  );
  assert.deepEqual(directly, []);
  assert.equal(timers, 0);
});

test('of a half-open check the path is told, so that it keeps the connection from the server', async () => {
  const result: ProbeResult = { outcome: 'ok', reason: 'SYN answered in 1 ms', latencyMs: 1 };
  const target: PathTarget = { ...TARGET, kind: { type: 'tcp-half-open' } };
  const { opened } = await ask({ result, target });
  assert.deepEqual(
    opened.map(({ protocol, isHalfOpen }) => [protocol, isHalfOpen]),
    [['tcp', true]],
  );
  assert.equal((await ask({ result })).opened[0]?.isHalfOpen, false);
});

test('a server that is silent at the VIP and alive lacks it; behind a tunnel it may also unwrap nothing', async () => {
  for (const direct of ['answered', 'refused'] as const) {
    const { result, directly } = await ask({ direct });
    assert.equal(result.outcome, 'failed');
    assert.equal(result.reason, VIP);
    assert.deepEqual(directly, ['10.0.1.11', '10.0.1.11']);
  }
  const { result } = await ask({ direct: 'answered', target: { ...TARGET, via: { ...TARGET.via, isTunnel: true } } });
  assert.equal(result.reason, `the tunnel is not unwrapped, or ${VIP}`);
});

test('an ICMP error is a sign of life only of the server itself', async () => {
  assert.equal((await ask({ direct: 'unreachable', from: '10.0.1.11' })).result.reason, VIP);
  assert.equal((await ask({ direct: 'unreachable', from: '10.0.1.254' })).result.reason, SILENT.reason);
});

test('a server that is silent everywhere is silent, and what it says itself stays as it is', async () => {
  assert.equal((await ask({})).result.reason, SILENT.reason);
  const refused: ProbeResult = { outcome: 'failed', reason: 'connection refused', latencyMs: null };
  assert.equal((await ask({ result: refused, direct: 'answered' })).result.reason, 'connection refused');
});

test('what hindered the packets here is the reason, before any other', async () => {
  const hindrance = 'its next hop answers neither ARP nor neighbour discovery';
  assert.equal((await ask({ hindrance, direct: 'answered' })).result.reason, hindrance);
});

test('where silence is good, a SYN that only the server’s own address answers tells that the VIP is missing', async () => {
  const target: PathTarget = { ...TARGET, kind: { type: 'udp', send: 'x', expect: null } };
  const result: ProbeResult = { outcome: 'ok', reason: 'nobody refused it within 1 s', latencyMs: null };
  for (const direct of ['answered', 'refused'] as const) {
    const found = await ask({ target, result, syn: SILENT, direct });
    assert.deepEqual([found.result.outcome, found.result.reason], ['failed', VIP]);
    assert.deepEqual(
      found.opened.map(({ protocol, isHalfOpen }) => [protocol, isHalfOpen]),
      [
        ['udp', false],
        ['tcp', true],
      ],
    );
  }
  const refused: ProbeResult = { outcome: 'failed', reason: 'connection refused', latencyMs: null };
  assert.equal((await ask({ target, result, syn: refused, direct: 'refused' })).result.outcome, 'ok');
  // A firewall, or a host that is dead anyway: nobody knows, and nothing is said.
  assert.equal((await ask({ target, result, syn: SILENT })).result.outcome, 'ok');
  assert.equal((await ask({ target, result, syn: SILENT, direct: 'refused', hindrance: 'no' })).result.outcome, 'ok');
  // An answer is an answer.
  const answered: ProbeResult = { outcome: 'ok', reason: 'answered in 1 ms', latencyMs: 1 };
  assert.equal((await ask({ target, result: answered, syn: SILENT, direct: 'refused' })).opened.length, 1);
});
