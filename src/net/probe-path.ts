// Sockets whose packets go to a VIP through the method's own rewriting to one server, whatever the scheduler would choose.
// The plane's floor makes them (plane/probe-path.ts), the checks use them.

import type { Address } from './address.ts';

export interface PathQuestion {
  readonly protocol: 'tcp' | 'udp';
  /** TCP: what answers the SYN-ACK is a RST, though the socket takes itself to be connected. */
  readonly isHalfOpen: boolean;
  readonly vip: Address;
  readonly port: number;
  /** The server's own address, and its name in the data plane (plane/identity.ts). */
  readonly server: Address;
  readonly identity: string;
}

export interface PathSocket {
  /** Not connected yet; whoever takes it closes it. */
  readonly fd: number;
  /** After it was closed: what hindered its last packet here, in words, or null. */
  end(): string | null;
}

export interface ProbePath {
  /** Throws in words, with an errno's name as code when the system refused. */
  open(question: PathQuestion): PathSocket;
  close(): void;
}
