// From what was written to what was meant: defaults fill the gaps, and the result is a Config. What only shows in the
// writing (a key that has no effect) is found here, since the finished Config no longer tells.

import type { CheckConfig, Config, Listen, Method, ServiceConfig, TunnelConfig } from './config.ts';
import { usualSocket } from './instance.ts';
import type { Finding, Path } from './positions.ts';
import type { CheckDraft, FileDraft, ServiceDraft, TunnelDraft } from './shape.ts';
import { GUE_PORT } from './tunnel.ts';

export type Defaults = NonNullable<FileDraft['defaults']>;

export interface BuiltService {
  readonly service: ServiceConfig;
  readonly findings: readonly Finding[];
}

/** Everything but the services. Time-outs by default are those of IPVS. */
export function buildConfig(draft: FileDraft, services: readonly ServiceConfig[]): Config {
  const { interfaces, timeouts = {}, control = {}, name = 'fairlead' } = draft;
  return {
    version: 1,
    name,
    interfaces: {
      outside: interfaces.outside,
      ...(interfaces.inside === undefined ? {} : { inside: interfaces.inside }),
    },
    engine: draft.engine ?? 'auto',
    bpffs: draft.bpffs ?? null,
    workers: draft.workers ?? 'auto',
    flows: draft.flows ?? 1_048_576,
    timeouts: {
      synSent: timeouts['syn-sent'] ?? 60_000,
      synReceived: timeouts['syn-received'] ?? 60_000,
      established: timeouts.established ?? 900_000,
      closing: timeouts.closing ?? 120_000,
      timeWait: timeouts['time-wait'] ?? 120_000,
      closed: timeouts.closed ?? 10_000,
      udpOneWay: timeouts['udp-one-way'] ?? 300_000,
      udp: timeouts.udp ?? 300_000,
    },
    control: {
      socket: control.socket ?? usualSocket(name),
      ...(control.group === undefined ? {} : { group: control.group }),
    },
    log: { level: draft.log?.level ?? 'info' },
    services,
  };
}

export function buildService(name: string, draft: ServiceDraft, defaults: Defaults): BuiltService {
  const path: Path = ['services', name];
  // One without a method is refused already (parse.ts), and only the rest of it is looked at here.
  const method = draft.method ?? defaults.method ?? 'full-nat';
  const scheduler = draft.scheduler ?? defaults.scheduler ?? 'wlc';
  const findings: Finding[] = [];
  if (draft.source !== undefined && method !== 'full-nat') {
    const message = `"source" belongs to full-nat; with ${method} the servers see the client's own address`;
    findings.push({ path: [...path, 'source'], on: 'key', message });
  }
  if (draft.hash !== undefined && scheduler !== 'sh' && scheduler !== 'maglev') {
    const message = `"hash" has no effect on scheduler ${scheduler}; sh and maglev hash`;
    findings.push({ path: [...path, 'hash'], on: 'key', message });
  }
  findings.push(...checkTunnelKeys(name, draft.tunnel, method, path));
  const service: ServiceConfig = {
    name,
    listens: draft.listen,
    method,
    scheduler,
    hash: draft.hash ?? defaults.hash ?? 'client',
    sources: draft.source === undefined || draft.source === 'vip' ? [] : draft.source.flat(),
    tunnel: method === 'l3-dsr' && draft.tunnel !== undefined ? buildTunnel(draft.tunnel) : null,
    servers: Object.entries(draft.servers).map(([server, written]) => ({ name: server, ...written })),
    check: buildCheck(draft.check, defaults.check, draft.listen),
  };
  return { service, findings };
}

/** A tunnel belongs to l3-dsr, and some of its keys to one type. */
function checkTunnelKeys(name: string, tunnel: TunnelDraft | undefined, method: Method, path: Path): Finding[] {
  if (tunnel === undefined) {
    if (method !== 'l3-dsr') return [];
    const hint = 'write tunnel: { type: gre, source: ADDRESS }, an address of this host';
    const message = `service "${name}" has method l3-dsr, but no tunnel`;
    return [{ path, on: 'key', message, hint }];
  }
  if (method !== 'l3-dsr') {
    return [{ path: [...path, 'tunnel'], on: 'key', message: `"tunnel" belongs to l3-dsr, not to ${method}` }];
  }
  const { type } = tunnel;
  const owners = { key: 'gre', port: 'gue' } as const;
  return (['key', 'port'] as const)
    .filter((key) => tunnel[key] !== undefined && type !== owners[key])
    .map((key) => ({
      path: [...path, 'tunnel', key],
      on: 'key',
      message: `"${key}" belongs to type ${owners[key]}, not to ${type}`,
    }));
}

function buildTunnel({ type, source, key, ttl, dscp, port }: TunnelDraft): TunnelConfig {
  return {
    type,
    source,
    key: key ?? null,
    ttl: ttl ?? null,
    dscp: dscp ?? null,
    port: type === 'gue' ? (port ?? GUE_PORT) : null,
  };
}

/**
 * The service's own check over that of `defaults` over a TCP connect every 2 s. A service without TCP has none, unless
 * it names a port to connect to.
 */
function buildCheck(
  own: CheckDraft | undefined,
  general: CheckDraft | undefined,
  listens: readonly Listen[],
): CheckConfig | null {
  if ((own ?? general) === 'none') return null;
  const written = { ...(general === 'none' ? {} : general), ...(own === 'none' ? {} : own) };
  const isTcp = listens.some((listen) => listen.protocol === 'tcp');
  if (own === undefined && !isTcp && written.port === undefined) return null;
  const everyMs = written.every ?? 2000;
  return {
    type: 'tcp',
    port: written.port ?? null,
    everyMs,
    timeoutMs: written.timeout ?? Math.min(1000, everyMs),
    rise: written.rise ?? 2,
    fall: written.fall ?? 3,
  };
}
