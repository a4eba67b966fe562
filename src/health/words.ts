// What probes say, in an operator's words: what the system's error codes mean, times, and quotes of what a server said.

import type { ProbeResult } from './probe.ts';

export const MTU_TOO_SMALL = 'MTU too small: the request does not get through undivided';

const FAILURES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EPIPE: 'connection closed by the server',
  EHOSTUNREACH: 'no route to host',
  EHOSTDOWN: 'host is down',
  ENETUNREACH: 'network unreachable',
  ETIMEDOUT: 'no answer',
  EMSGSIZE: MTU_TOO_SMALL,
  EPROTO: 'the answer is not TLS',
  ERR_SSL_WRONG_VERSION_NUMBER: 'the answer is not TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'the answer is not TLS',
  ERR_SSL_UNEXPECTED_EOF_WHILE_READING: 'connection closed during the TLS handshake',
};

/** These say something about this host, not about the server. */
const OBSTACLES: Readonly<Record<string, string>> = {
  EMFILE: 'this process has too many open files',
  ENFILE: 'this host has too many open files',
  ENOBUFS: 'this host is out of socket memory',
  ENOMEM: 'this host is out of memory',
  EAGAIN: 'this host has no process or thread left',
  EADDRNOTAVAIL: 'this host has no free local port',
  EACCES: 'forbidden by this host',
  EPERM: 'forbidden by this host, perhaps its firewall',
};

/** `stage` says when a connection was reset: "connection reset during the TLS handshake". */
export function describeError(error: NodeJS.ErrnoException, stage?: string): ProbeResult {
  const code = error.code ?? '';
  const obstacle = OBSTACLES[code];
  if (obstacle !== undefined) return { outcome: 'untried', reason: obstacle, latencyMs: null };
  const words = FAILURES[code] ?? (code.startsWith('ERR_SSL_') ? tlsWords(code) : error.message);
  const reason = code === 'ECONNRESET' && stage !== undefined ? `${words} ${stage}` : words;
  return { outcome: 'failed', reason, latencyMs: null };
}

/** ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE → "TLS failed: sslv3 alert handshake failure" */
function tlsWords(code: string): string {
  return `TLS failed: ${code.slice('ERR_SSL_'.length).toLowerCase().replaceAll('_', ' ')}`;
}

/** "0.4 ms", "25 ms", "1 s", "1.5 s" */
export function formatMs(ms: number): string {
  if (ms >= 1000) return `${Number((ms / 1000).toFixed(1))} s`;
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** The start of what a server said, on one line and printable. */
export function quote(text: string): string {
  const printable = text.slice(0, 60).replaceAll(/[^ -~]+/g, '.');
  return `"${printable}${text.length > 60 ? '…' : ''}"`;
}
