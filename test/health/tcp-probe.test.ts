import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { ProbeResult } from '../../src/health/probe.ts';
import { makeSystemClock } from '../../src/base/clock.ts';
import { makeTcpProbe } from '../../src/health/tcp-probe.ts';
import { makeTimers } from '../../src/health/timers.ts';

const never = new AbortController().signal;
const probe = makeTcpProbe(makeTimers(makeSystemClock()));

function probeTcp(target: { address: string; port: number; timeoutMs: number }, signal: AbortSignal) {
  return probe({ kind: { type: 'tcp' }, via: null, ...target }, signal);
}

/** A listener on loopback; returns its port. Connections end when the peer ends them. */
async function listen(address: string): Promise<{ port: number; close: () => void }> {
  const server = createServer((socket) => socket.resume());
  server.listen(0, address);
  await once(server, 'listening');
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === 'object');
  return { port: bound.port, close: () => server.close() };
}

for (const address of ['127.0.0.1', '::1']) {
  test(`an open port on ${address} is ok, with its latency, and the connection is closed again`, async () => {
    const server = await listen(address);
    try {
      const result = await probeTcp({ address, port: server.port, timeoutMs: 5000 }, never);
      assert.equal(result.outcome, 'ok');
      assert.match(result.reason, /^connected in \d+(\.\d)? m?s$/);
      assert.ok(result.latencyMs !== null && result.latencyMs > 0 && result.latencyMs < 5000);
      await seeOpenSockets(0);
    } finally {
      server.close();
    }
  });

  test(`a closed port on ${address} is refused at once`, async () => {
    const server = await listen(address);
    server.close();
    const result = await probeTcp({ address, port: server.port, timeoutMs: 5000 }, never);
    assert.deepEqual(result, { outcome: 'failed', reason: 'connection refused', latencyMs: null });
    await seeOpenSockets(0);
  });
}

test('a server that does not answer fails when the time is up', async () => {
  const silent = await listenWithoutAccepting();
  try {
    const startedMs = performance.now();
    const result = await probeTcp({ address: '127.0.0.1', port: silent.port, timeoutMs: 150 }, never);
    assert.deepEqual(result, {
      outcome: 'failed',
      reason: 'no answer within 150 ms',
      latencyMs: null,
      isUnheard: true,
    });
    assert.ok(performance.now() - startedMs >= 149);
  } finally {
    await silent.close();
  }
});

test('an answer that came while this process was busy is not taken for a time-out', async () => {
  const server = await listen('127.0.0.1');
  try {
    const probed = probeTcp({ address: '127.0.0.1', port: server.port, timeoutMs: 20 }, never);
    // The kernel completes the handshake by itself; the connection is started on the next tick.
    await new Promise((resolve) => {
      process.nextTick(resolve);
    });
    const busyUntilMs = performance.now() + 60;
    while (performance.now() < busyUntilMs);
    assert.equal((await probed).outcome, 'ok');
  } finally {
    server.close();
  }
});

test('an abort ends an open probe at once', async () => {
  const silent = await listenWithoutAccepting();
  try {
    const stopping = new AbortController();
    const probed = probeTcp({ address: '127.0.0.1', port: silent.port, timeoutMs: 60_000 }, stopping.signal);
    stopping.abort();
    assert.equal((await probed).outcome, 'untried');
    const late: ProbeResult = await probeTcp({ address: '127.0.0.1', port: 1, timeoutMs: 1000 }, stopping.signal);
    assert.equal(late.outcome, 'untried');
    await seeOpenSockets(silent.fillers);
  } finally {
    await silent.close();
  }
});

test('an address that TCP cannot reach fails with the reason in words', async () => {
  const result = await probeTcp({ address: '255.255.255.255', port: 80, timeoutMs: 1000 }, never);
  assert.deepEqual(result, { outcome: 'failed', reason: 'network unreachable', latencyMs: null, isUnheard: true });
});

test('a host that is out of sockets does not blame the server', async () => {
  const source = (path: string): string => new URL(`../../src/${path}`, import.meta.url).href;
  const program = `
    import { openSync } from 'node:fs';
    import { makeSystemClock } from '${source('base/clock.ts')}';
    import { makeTcpProbe } from '${source('health/tcp-probe.ts')}';
    import { makeTimers } from '${source('health/timers.ts')}';
    const probeTcp = makeTcpProbe(makeTimers(makeSystemClock()));
    try { for (;;) openSync('/dev/null'); } catch {}
    const result = await probeTcp({ address: '127.0.0.1', port: 1, timeoutMs: 1000 }, new AbortController().signal);
    console.log(JSON.stringify(result));`;
  const shell = 'ulimit -n 64 && exec "$0" --input-type=module --eval "$1"';
  const { stdout } = await promisify(execFile)('sh', ['-c', shell, process.execPath, program]);
  assert.deepEqual(JSON.parse(stdout), {
    outcome: 'untried',
    reason: 'this process has too many open files',
    latencyMs: null,
  });
});

/** Waits until this process has just so many TCP connections open, those of its own listeners included. */
async function seeOpenSockets(expected: number): Promise<void> {
  const deadlineMs = performance.now() + 5000;
  for (;;) {
    const open = process.getActiveResourcesInfo().filter((kind) => /^TCP(SocketWrap|ConnectWrap)$/.test(kind)).length;
    if (open === expected) return;
    assert.ok(performance.now() < deadlineMs, `${open} connections are open, not ${expected}`);
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}

/** A listener whose thread never accepts and whose queue is full: the kernel drops what else asks to connect. */
async function listenWithoutAccepting(): Promise<{ port: number; fillers: number; close: () => Promise<void> }> {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads');
     const server = require('node:net').createServer();
     server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
     });`,
    { eval: true },
  );
  const [port] = (await once(worker, 'message')) as [number];
  // A queue of 1 holds two.
  const fillers = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
  for (const filler of fillers) filler.on('error', () => {});
  await Promise.all(fillers.map((filler) => once(filler, 'connect')));
  return {
    port,
    fillers: fillers.length,
    close: async () => {
      for (const filler of fillers) filler.destroy();
      await worker.terminate();
    },
  };
}
