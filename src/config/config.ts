// What a user can say, decided: the result of parsing a file, with every default filled in and every text parsed.
// Plain data; where a value stood in the file is kept beside it, in Positions (positions.ts).

import type { Address } from '../net/address.ts';
import type { Prefix } from '../net/prefix.ts';

export interface Config {
  readonly version: 1;
  /** Names this instance: its region file, its socket. [a-z0-9-]{1,32}, "fairlead" unless given. */
  readonly name: string;
  readonly interfaces: { readonly outside: string; readonly inside?: string };
  readonly engine: EngineName;
  /** Where tc and xdp pin their maps; null: the system's bpffs, or one of fairlead's own. */
  readonly bpffs: string | null;
  readonly workers: number | 'auto';
  /** Capacity of the flow table, 4,096 to 67,108,864. */
  readonly flows: number;
  readonly timeouts: Timeouts;
  readonly control: { readonly socket: string; readonly group?: string };
  readonly log: { readonly level: LogLevel };
  readonly services: readonly ServiceConfig[];
}

export type EngineName = 'auto' | 'packet' | 'tc' | 'xdp' | 'xdp-generic';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** How long an idle flow is kept in each state, in milliseconds. */
export interface Timeouts {
  readonly synSent: number;
  readonly synReceived: number;
  readonly established: number;
  readonly closing: number;
  readonly timeWait: number;
  readonly closed: number;
  /** UDP that has seen only one direction. */
  readonly udpOneWay: number;
  readonly udp: number;
}

export type Method = 'nat' | 'full-nat' | 'l2-dsr' | 'l3-dsr';
export type SchedulerName = 'rr' | 'wrr' | 'lc' | 'wlc' | 'sh' | 'maglev';
export type HashKey = 'client' | 'client-port';

export interface ServiceConfig {
  readonly name: string;
  /** At least one. */
  readonly listens: readonly Listen[];
  readonly method: Method;
  readonly scheduler: SchedulerName;
  /** What `sh` and `maglev` hash: the client's address, or its address and port. */
  readonly hash: HashKey;
  /** The pool that full-nat takes its source addresses from; empty: the VIP itself. */
  readonly sources: readonly Address[];
  /** What l3-dsr wraps packets in; null with any other method. */
  readonly tunnel: TunnelConfig | null;
  readonly servers: readonly ServerConfig[];
  readonly check: CheckConfig | null;
}

export type TunnelType = 'gre' | 'ipip' | 'gue';

export interface TunnelConfig {
  readonly type: TunnelType;
  /** The outer source: an address of this host, or a prefix of which each flow takes one address. */
  readonly source: Prefix;
  /** GRE's key (RFC 2890), 0 to 4,294,967,295; null: none is sent. */
  readonly key: number | null;
  /** The outer TTL or hop limit; null: the inner packet's. */
  readonly ttl: number | null;
  /** The outer DSCP; null: the inner packet's. */
  readonly dscp: number | null;
  /** GUE's UDP port; null with other types. */
  readonly port: number | null;
}

export type Protocol = 'tcp' | 'udp';

export interface Listen {
  readonly vip: Address;
  readonly protocol: Protocol;
  /** 1..65535; equal to lastPort for a single port; 1 and 65535 for any port. */
  readonly firstPort: number;
  readonly lastPort: number;
}

export interface ServerConfig {
  readonly name: string;
  readonly address: Address;
  /** Null: the client's destination port is kept. */
  readonly port: number | null;
  /** 0..65535; 0 takes no new flows. */
  readonly weight: number;
}

export interface CheckConfig {
  readonly type: 'tcp';
  /** Null: the server's own port, or the first listen's first port when the server has none. */
  readonly port: number | null;
  readonly everyMs: number;
  readonly timeoutMs: number;
  /** So many good probes in a row bring a server back, so many bad ones take it out. */
  readonly rise: number;
  readonly fall: number;
}
