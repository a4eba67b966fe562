// A TCP connect check: the handshake must complete in time. Nothing is sent; the connection is closed at once with a FIN,
// which servers take for a client that changed its mind.

import { connect } from 'node:net';
import type { ProbeResult, ProbeTarget } from './probe.ts';

/** Connects once; see Probe for the promises it keeps. */
export function probeTcp(target: ProbeTarget, signal: AbortSignal): Promise<ProbeResult> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve(stopped);
      return;
    }
    const startedMs = performance.now();
    const socket = connect({ host: target.address, port: target.port });
    const settle = (result: ProbeResult): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      socket.destroy();
      resolve(result);
    };
    const abort = (): void => settle(stopped);
    const timer = setTimeout(() => {
      // When this process was busy, the timer comes first though the answer is there: sockets get one look before.
      setImmediate(() => settle(failed(`no answer within ${formatMs(target.timeoutMs)}`)));
    }, target.timeoutMs);
    signal.addEventListener('abort', abort);
    socket.once('connect', () => {
      const latencyMs = performance.now() - startedMs;
      settle({ outcome: 'ok', reason: `connected in ${formatMs(latencyMs)}`, latencyMs });
    });
    // Stays on after the result: an error on a socket that nobody listens to would end the process.
    socket.on('error', (error: NodeJS.ErrnoException) => settle(explain(error)));
  });
}

const stopped: ProbeResult = { outcome: 'untried', reason: 'the check was stopped', latencyMs: null };

function failed(reason: string): ProbeResult {
  return { outcome: 'failed', reason, latencyMs: null };
}

const failures: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to host',
  EHOSTDOWN: 'host is down',
  ENETUNREACH: 'network unreachable',
  ETIMEDOUT: 'no answer',
};

const obstacles: Readonly<Record<string, string>> = {
  EMFILE: 'this process has too many open files',
  ENFILE: 'this host has too many open files',
  ENOBUFS: 'this host is out of socket memory',
  ENOMEM: 'this host is out of memory',
  EADDRNOTAVAIL: 'this host has no free local port',
  EACCES: 'forbidden by this host',
  EPERM: 'forbidden by this host, perhaps its firewall',
};

function explain(error: NodeJS.ErrnoException): ProbeResult {
  const code = error.code ?? '';
  const obstacle = obstacles[code];
  if (obstacle !== undefined) return { outcome: 'untried', reason: obstacle, latencyMs: null };
  return failed(failures[code] ?? error.message);
}

/** "0.4 ms", "25 ms", "1 s", "1.5 s" */
function formatMs(ms: number): string {
  if (ms >= 1000) return `${Number((ms / 1000).toFixed(1))} s`;
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}
