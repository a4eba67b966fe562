// What the data plane shall do, decided to the last weight: the input of the image. Control makes it of the
// configuration, the operator's overrides and what health says.

import type { RefuseOrDrop, ServiceConfig, Timeouts } from '../config/config.ts';
import type { Address } from '../net/address.ts';
import type { Prefix } from '../net/prefix.ts';

export interface Target {
  readonly timeouts: Timeouts;
  readonly onNoService: RefuseOrDrop;
  /** By id: outside first, then inside when there is one. */
  readonly interfaces: readonly TargetInterface[];
  readonly services: readonly TargetService[];
}

export interface TargetInterface {
  readonly name: string;
  /** 0 while the interface is gone. */
  readonly ifindex: number;
  readonly mtu: number;
  /** Six bytes. */
  readonly mac: Uint8Array;
  /** The host's own addresses there, as sources of ICMP errors. */
  readonly address4: Address | null;
  readonly address6: Address | null;
  /** Those it is connected to. */
  readonly networks: readonly Prefix[];
}

/** What becomes of a server's flows: they go on; TCP is reset, or goes to another server. UDP that ends goes to another. */
export type End = 'no' | 'reset' | 'rehash';

export interface TargetService {
  readonly config: ServiceConfig;
  /** Effective weights, parallel to config.servers. */
  readonly weights: readonly number[];
  /** The same of those that take only what the others have no room for. */
  readonly reserves: readonly number[];
  /** Likewise, those that keep no flow: what they had when they became so is ended. */
  readonly ends: readonly End[];
}
