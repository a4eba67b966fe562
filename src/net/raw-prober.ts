// What raw sockets can ask a host: whether it answers an echo request, and whether a port answers a SYN. The plane's floor
// makes one over the addon (plane/raw-prober.ts), the checks use it.

export type RawOutcome =
  /** An echo reply, or a SYN-ACK. */
  | 'answered'
  /** A RST. */
  | 'refused'
  /** An ICMP error that quotes the question. */
  | 'unreachable'
  | 'silent';

export interface RawAnswer {
  readonly outcome: RawOutcome;
  readonly latencyMs: number;
  /** Who sent the ICMP error; null without one. */
  readonly from: string | null;
  /** What it said: "host unreachable"; empty without one. */
  readonly words: string;
}

export interface RawQuestion {
  /** Never rejects. The time-out is kept by a thread of its own, whatever this one is busy with. */
  readonly answer: Promise<RawAnswer>;
  /** No answer is wanted any more. */
  cancel(): void;
}

export interface RawProber {
  /** Both throw an errno error when the question cannot be sent. */
  echo(address: string, timeoutMs: number): RawQuestion;
  /** SYN, and a RST as soon as the SYN-ACK is here: nothing is left in the server's queue of connections to accept. */
  halfOpen(address: string, port: number, timeoutMs: number): RawQuestion;
  close(): void;
}
