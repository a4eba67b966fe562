// What a check is, decided: its kind with what that kind asks, and its timers. A server's health is a plan of checks:
// all of them must be good, or any one.

export interface CheckPlan {
  readonly mode: 'all' | 'any';
  /** At least one. */
  readonly checks: readonly CheckConfig[];
}

export interface CheckConfig {
  readonly kind: CheckKind;
  /** Null: the server's own port, or the first port of the service when the server has none. */
  readonly port: number | null;
  readonly target: CheckPath;
  readonly everyMs: number;
  /** The interval while results contradict the state, so that a change is found sooner; at most `everyMs`. */
  readonly fastEveryMs: number;
  readonly timeoutMs: number;
  /** So many good results in a row bring a server back, so many bad ones take it out. */
  readonly rise: number;
  readonly fall: number;
}

/** Through which path a check goes: straight to the server, or to the VIP by the method's own rewriting, as clients do. */
export const CHECK_PATHS = ['server', 'vip'] as const;
export type CheckPath = (typeof CHECK_PATHS)[number];

export type CheckKind =
  | { readonly type: 'tcp' }
  | { readonly type: 'tcp-half-open' }
  | { readonly type: 'icmp' }
  | HttpKind
  | ContentKind
  | UdpKind
  | DnsKind
  | ExecKind
  | AgentKind;

export interface HttpKind {
  readonly type: 'http';
  readonly method: string;
  readonly path: string;
  /** Null: the server's address and port. */
  readonly host: string | null;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly status: readonly StatusRange[];
  /** What the body must hold; null: any body will do, and none is read. */
  readonly body: Pattern | null;
  readonly tls: TlsOptions | null;
}

/** Both ends included. */
export interface StatusRange {
  readonly first: number;
  readonly last: number;
}

export interface ContentKind {
  readonly type: 'content';
  /** Null: the server speaks first. */
  readonly send: string | null;
  readonly expect: Pattern;
  readonly tls: TlsOptions | null;
}

export interface UdpKind {
  readonly type: 'udp';
  readonly send: string;
  /** Null: silence is good, only a refusal is bad. */
  readonly expect: Pattern | null;
}

export interface DnsKind {
  readonly type: 'dns';
  readonly name: string;
  readonly record: DnsRecord;
  /** Answers with one of these codes are good. */
  readonly rcodes: readonly DnsRcode[];
  /** An address or name that must be among the answers. */
  readonly answer: string | null;
}

export const DNS_RECORDS = ['A', 'AAAA', 'CNAME', 'MX', 'NS', 'PTR', 'SOA', 'SRV', 'TXT'] as const;
export type DnsRecord = (typeof DNS_RECORDS)[number];
export const DNS_RCODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'] as const;
export type DnsRcode = (typeof DNS_RCODES)[number];

export interface ExecKind {
  readonly type: 'exec';
  /** The program, an absolute path, and its arguments. */
  readonly command: readonly string[];
  /** Whether its first line of output speaks as an agent does: "75%", "drain". */
  readonly reports: boolean;
}

export interface AgentKind {
  readonly type: 'agent';
  readonly send: string | null;
}

export interface TlsOptions {
  /** Null: `host`, if that is a name. */
  readonly sni: string | null;
  readonly verify: boolean;
  /** A file with authorities to trust in place of the system's. */
  readonly ca: string | null;
  /** From so many days before its end on, a certificate is warned of. */
  readonly warnDays: number;
}

/** A text that must occur, or a regular expression that must match; `written` is how the file has it. */
export interface Pattern {
  readonly written: string;
  readonly isRegExp: boolean;
}

/** The kinds' names as a file has them; https is http over TLS. */
export const CHECK_TYPES = [
  'tcp',
  'tcp-half-open',
  'icmp',
  'http',
  'https',
  'content',
  'udp',
  'dns',
  'exec',
  'agent',
] as const;
export type CheckType = (typeof CHECK_TYPES)[number];
