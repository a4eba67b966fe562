// What a user can say, decided: the result of parsing a file, with every default filled in and every text parsed.
// Plain data; where a value stood in the file is kept beside it, in Positions (positions.ts).

import type { Address } from '../net/address.ts';
import type { Prefix } from '../net/prefix.ts';
import type { CheckPlan } from './check.ts';
import type { HalfOpen } from './half-open.ts';
import type { LimitPlan } from './limit.ts';
import type { PassivePlan } from './passive.ts';
import type { StickyPlan } from './sticky.ts';

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
  /** Clients that services with `sticky` remember together; null: a quarter of `flows`. */
  readonly stickyClients: number | null;
  readonly timeouts: Timeouts;
  /** What becomes of a client that comes to a port of a VIP where no service listens. */
  readonly onNoService: RefuseOrDrop;
  readonly control: { readonly socket: string; readonly group?: string; readonly state: string };
  readonly log: { readonly level: LogLevel };
  readonly notify: readonly NotifyConfig[];
  readonly services: readonly ServiceConfig[];
}

export type EngineName = 'auto' | 'packet' | 'tc' | 'xdp' | 'xdp-generic';
/** Who is told of each event: a program, or a web server by POST. */
export type NotifyConfig =
  | { readonly type: 'exec'; readonly command: readonly string[] }
  | { readonly type: 'webhook'; readonly url: string };

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
export type SchedulerName = 'rr' | 'wrr' | 'lc' | 'wlc' | 'lrt' | 'p2c' | 'sh' | 'maglev';
/** Told so, by RST or ICMP port unreachable, or left without an answer. */
export type RefuseOrDrop = 'refuse' | 'drop';
/** They stay with the server; TCP is reset; they go to another server. UDP goes to another server unless it stays. */
export type OnServerDown = 'keep' | 'reset' | 'rehash';
/** They are given the VIP as their source, or refused. */
export type Hairpin = 'snat' | 'refuse';
export type HashKey = 'client' | 'client-port';

export interface ServiceConfig {
  readonly name: string;
  /** At least one. */
  readonly listens: readonly Listen[];
  readonly method: Method;
  readonly scheduler: SchedulerName;
  /** Whether and by what a client's next flows go to its server; null: each flow is scheduled. */
  readonly sticky: StickyPlan | null;
  /** What `sh` and `maglev` hash: the client's address, or its address and port. */
  readonly hash: HashKey;
  /** The pool that full-nat takes its source addresses from; empty: the VIP itself. */
  readonly sources: readonly Address[];
  /** nat: what becomes of clients whom their server would answer around this host. */
  readonly hairpin: Hairpin;
  /** What l3-dsr wraps packets in; null with any other method. */
  readonly tunnel: TunnelConfig | null;
  /** The ordinary ones first, then the backups. */
  readonly servers: readonly ServerConfig[];
  /** Of each server that has none of its own; null: servers are taken to be up. */
  readonly check: CheckPlan | null;
  /** What is made of what flows show of a server; null: nothing. */
  readonly passive: PassivePlan | null;
  /** Who may begin a flow, and how many; null: everybody, any number. */
  readonly limit: LimitPlan | null;
  /** dsr: with so many unanswered SYNs the hash alone sends SYNs on, and their ACK enters the flow. */
  readonly halfOpen: HalfOpen;
  /** With fewer ordinary servers up than this the backups join. */
  readonly minUp: number;
  /** With fewer than `minUp` servers up, backups among them, all are used rather than too few. */
  readonly panic: boolean;
  /** What becomes of a client for whom there is no server, or no flow. */
  readonly onNoServer: RefuseOrDrop;
  /** And of one for whom no server has room. */
  readonly onServersFull: RefuseOrDrop;
  /** What becomes of the flows of a server that its checks take down. */
  readonly onServerDown: OnServerDown;
  /** How long the flows of a server that is drained may take, unless its operator says otherwise; null: any time. */
  readonly drainDeadlineMs: number | null;
  /** How long a server's share grows after it came back; 0: it has it at once. */
  readonly slowStartMs: number;
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
  /** A SYN announces no larger segments than the tunnel carries. */
  readonly clampMss: boolean;
  /** A packet that is too big and may be fragmented is, before it is wrapped; else it is refused. */
  readonly fragment: boolean;
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
  /** It has at most so many open flows, and others take what comes beyond; null: any number. */
  readonly maxFlows: number | null;
  /** In place of the service's; null: none. */
  readonly check?: CheckPlan | null;
  readonly isBackup: boolean;
}
