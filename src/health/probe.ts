// What a check asks and what it gets: one interface for every kind of check.

import type { CheckKind } from '../config/check.ts';

export interface ProbeTarget {
  readonly kind: CheckKind;
  /** The server that the destination below, then a VIP, is asked of through the path that clients use; null: the host's
   * own routes lead to the destination, which is the server. */
  readonly via: Via | null;
  /** An address as text, IPv4 or IPv6. */
  readonly address: string;
  /** Null for a kind that asks the host rather than a port. */
  readonly port: number | null;
  readonly timeoutMs: number;
  /** Makes the socket for a path that is not the host's own: a descriptor, bound, and the caller's. Throws in words. */
  readonly socket?: () => number;
}

export interface Via {
  /** The server's own address, as text. */
  readonly server: string;
  /** Its name in the data plane. */
  readonly identity: string;
  /** It unwraps a tunnel. */
  readonly isTunnel: boolean;
}

/**
 * `failed` speaks about the server; `untried` says that this host could not even ask (out of sockets, forbidden by its
 * own firewall), which must not take a server down. `reason` is for people: "connected in 0.4 ms", "connection refused".
 */
export interface ProbeResult {
  readonly outcome: 'ok' | 'failed' | 'untried';
  readonly reason: string;
  /** Nothing of the server was heard: no answer of its own, at most a router's. */
  readonly isUnheard?: true;
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
