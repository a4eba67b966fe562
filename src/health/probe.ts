// What a check asks and what it gets: one interface for every kind of check.

import type { CheckKind } from '../config/check.ts';

export interface ProbeTarget {
  readonly kind: CheckKind;
  /** Which path the probe takes to the destination below: `server` is the host's own routing. */
  readonly target: 'server';
  /** An address as text, IPv4 or IPv6. */
  readonly address: string;
  /** Null for a kind that asks the host rather than a port. */
  readonly port: number | null;
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
  /** Good now, but not for long: "certificate expires in 3 days". */
  readonly warning?: string;
  /** What the server, or the program that was asked, says of its own use. */
  readonly advice?: Advice;
}

export interface Advice {
  /** Percent of the configured weight; null: nothing said. */
  readonly weight: number | null;
  /** `drain` and `maintenance` keep new flows away, without the server being called down. */
  readonly admin: 'ready' | 'drain' | 'maintenance' | null;
}

/** Asks once and settles within about `timeoutMs`, or at once on an abort; then it holds no resource any more. */
export type Probe = (target: ProbeTarget, signal: AbortSignal) => Promise<ProbeResult>;
