// From what was written to what was meant: defaults fill the gaps, and the result is a Config. What only shows in the
// writing (a key that has no effect) is found here, since the finished Config no longer tells.

import { dirname } from 'node:path';
import { buildPlan, usualPlan } from './build-check.ts';
import type { CheckPlan } from './check.ts';
import type {
  Config,
  Listen,
  Method,
  NotifyConfig,
  OnServerDown,
  ServerConfig,
  ServiceConfig,
  TunnelConfig,
} from './config.ts';
import { checkHalfOpen } from './half-open.ts';
import { usualSocket } from './instance.ts';
import type { Finding, Path } from './positions.ts';
import type { FileDraft, ServiceDraft, TunnelDraft } from './shape.ts';
import { buildLimit, checkLimit, type LimitDraft } from './limit.ts';
import { buildPassive, checkPassive } from './passive.ts';
import { buildSticky, checkSticky } from './sticky.ts';
import { GUE_PORT } from './tunnel.ts';

export type Defaults = NonNullable<FileDraft['defaults']>;

export interface BuiltService {
  readonly service: ServiceConfig;
  readonly findings: readonly Finding[];
}

/** Everything but the services. Time-outs by default are those of IPVS. */
export function buildConfig(draft: FileDraft, services: readonly ServiceConfig[]): Config {
  const { interfaces, timeouts = {}, control = {}, name = 'fairlead' } = draft;
  const socket = control.socket ?? usualSocket(name);
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
    stickyClients: draft['sticky-clients'] ?? null,
    timeouts: {
      synSent: timeouts['syn-sent'] ?? 60_000,
      synReceived: timeouts['syn-received'] ?? 60_000,
      established: timeouts.established ?? 7_440_000,
      closing: timeouts.closing ?? 240_000,
      timeWait: timeouts['time-wait'] ?? 120_000,
      closed: timeouts.closed ?? 10_000,
      udpOneWay: timeouts['udp-one-way'] ?? 300_000,
      udp: timeouts.udp ?? 300_000,
    },
    onNoService: draft['on-no-service'] ?? 'refuse',
    control: {
      socket,
      state: control.state ?? `${dirname(socket)}/${name}.state.json`,
      ...(control.group === undefined ? {} : { group: control.group }),
    },
    log: { level: draft.log?.level ?? 'info' },
    notify: (draft.notify ?? []).map(buildHook),
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
  if (draft.hairpin !== undefined && method !== 'nat') {
    const message = `"hairpin" has no effect on method ${method}: there answers find their way`;
    findings.push({ path: [...path, 'hairpin'], on: 'key', message });
  }
  if (draft.hash !== undefined && scheduler !== 'sh' && scheduler !== 'maglev') {
    const message = `"hash" has no effect on scheduler ${scheduler}; sh and maglev hash`;
    findings.push({ path: [...path, 'hash'], on: 'key', message });
  }
  findings.push(...checkTunnelKeys(name, draft.tunnel, method, path));
  const plan = (own: ServiceDraft['check'], at: Path): CheckPlan | null => {
    const built = buildPlan(own, defaults.check, { method, listens: draft.listen }, at);
    findings.push(...built.findings);
    return built.plan;
  };
  const servers = (drafts: ServiceDraft['servers'], key: string, isBackup: boolean): ServerConfig[] =>
    Object.entries(drafts).map(([server, { check, maxFlows = draft['max-flows'] ?? null, ...written }]) => ({
      name: server,
      ...written,
      maxFlows,
      isBackup,
      ...(check === undefined ? {} : { check: plan(check, [...path, key, server, 'check']) }),
    }));
  const family = draft.listen[0]?.vip.family ?? 4;
  const limit: LimitDraft = { allow: draft.allow, deny: draft.deny, limits: draft.limits ?? defaults.limits };
  const service: ServiceConfig = {
    name,
    listens: draft.listen,
    method,
    scheduler,
    sticky: buildSticky(draft.sticky, defaults.sticky, family),
    hash: draft.hash ?? defaults.hash ?? 'client',
    sources: draft.source === undefined || draft.source === 'vip' ? [] : draft.source.flat(),
    hairpin: draft.hairpin ?? defaults.hairpin ?? 'snat',
    tunnel: method === 'l3-dsr' && draft.tunnel !== undefined ? buildTunnel(draft.tunnel) : null,
    servers: [...servers(draft.servers, 'servers', false), ...servers(draft.backup ?? {}, 'backup', true)],
    check:
      draft.check === undefined
        ? usualPlan(defaults.check, { method, listens: draft.listen })
        : plan(draft.check, [...path, 'check']),
    passive: buildPassive(draft.passive, defaults.passive),
    limit: buildLimit(limit),
    halfOpen: draft['half-open'] ?? defaults['half-open'] ?? 'auto',
    minUp: draft['min-up'] ?? 1,
    panic: draft.panic ?? false,
    onNoServer: draft['on-no-server'] ?? defaults['on-no-server'] ?? 'refuse',
    // A full server may have room in a moment, when the client asks once more.
    onServersFull: draft['on-servers-full'] ?? defaults['on-servers-full'] ?? 'drop',
    onServerDown: draft['on-server-down'] ?? defaults['on-server-down'] ?? usualEnd(draft.listen),
    drainDeadlineMs: draft['drain-deadline'] ?? defaults['drain-deadline'] ?? null,
    slowStartMs: draft['slow-start'] ?? 0,
  };
  findings.push(...checkEndKeys(draft, service, path));
  findings.push(...checkHalfOpen(draft['half-open'], service, path));
  if (draft['min-up'] !== undefined && draft.backup === undefined && !service.panic) {
    const message = '"min-up" has no effect without "backup" or "panic"';
    findings.push({ path: [...path, 'min-up'], on: 'key', message });
  }
  findings.push(...checkLimit(limit, family, path), ...checkSticky(draft.sticky, defaults.sticky, family, path));
  const isTcp = draft.listen.some(({ protocol }) => protocol === 'tcp');
  findings.push(...checkPassive(draft.passive, service.passive, isTcp, [...path, 'passive']));
  return { service, findings };
}

/**
 * A check may be wrong, or mean no more than "nobody new", and a TCP connection that is reset is lost: with TCP the flows
 * stay, and end when the server's own TCP says so. A datagram is lost only where nobody takes it.
 */
function usualEnd(listens: readonly Listen[]): OnServerDown {
  return listens.every(({ protocol }) => protocol === 'tcp') ? 'keep' : 'reset';
}

/** Keys for what cannot happen to the service. */
function checkEndKeys(draft: ServiceDraft, service: ServiceConfig, path: Path): Finding[] {
  const vain = (key: keyof ServiceDraft, needed: string): Finding => ({
    path: [...path, key],
    on: 'key',
    message: `"${key}" has no effect without ${needed}`,
  });
  const isChecked = service.servers.some(({ check = service.check }) => check !== null);
  const canBeFull = service.servers.some(({ maxFlows }) => maxFlows !== null);
  return [
    ...(draft['on-server-down'] !== undefined && !isChecked ? [vain('on-server-down', 'checks')] : []),
    ...(draft['on-servers-full'] !== undefined && !canBeFull ? [vain('on-servers-full', '"max-flows"')] : []),
  ];
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

function buildTunnel(draft: TunnelDraft): TunnelConfig {
  const { type, source, key, ttl, dscp, port, fragment } = draft;
  return {
    type,
    source,
    key: key ?? null,
    ttl: ttl ?? null,
    dscp: dscp ?? null,
    port: type === 'gue' ? (port ?? GUE_PORT) : null,
    clampMss: draft['clamp-mss'] ?? true,
    fragment: fragment ?? true,
  };
}

/** One of the two keys is there: rules.ts sees to it. */
function buildHook({ exec, webhook }: NonNullable<FileDraft['notify']>[number]): NotifyConfig {
  return webhook === undefined ? { type: 'exec', command: exec ?? [] } : { type: 'webhook', url: webhook };
}
