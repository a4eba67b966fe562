// What a check asks and what it gets: one interface for every kind of check.

export interface ProbeTarget {
  /** An address as text, IPv4 or IPv6. */
  readonly address: string;
  readonly port: number;
  readonly timeoutMs: number;
}

/**
 * `failed` speaks about the server; `untried` says that this host could not even ask (out of sockets, forbidden by its
 * own firewall), which must not take a server down. `reason` is for people: "connected in 0.4 ms", "connection refused".
 */
export interface ProbeResult {
  readonly outcome: 'ok' | 'failed' | 'untried';
  readonly reason: string;
  /** How long the answer took; null without one. */
  readonly latencyMs: number | null;
}

/** Asks once and settles within about `timeoutMs`, or at once on an abort; then it holds no resource any more. */
export type Probe = (target: ProbeTarget, signal: AbortSignal) => Promise<ProbeResult>;
