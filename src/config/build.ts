// From what was written to what was meant: defaults fill the gaps, and the result is a Config. What only shows in the
// writing (a key that has no effect) is found here, since the finished Config no longer tells.

import { dirname } from 'node:path';
import { buildPlan, usualPlan } from './build-check.ts';
import type { CheckPlan } from './check.ts';
import type { Config, NotifyConfig, ServerConfig, ServiceConfig } from './config.ts';
import type { Finding, Path } from './positions.ts';
import type { FileDraft, ServiceDraft } from './shape.ts';

export type Defaults = NonNullable<FileDraft['defaults']>;

export interface BuiltService {
  readonly service: ServiceConfig;
  readonly findings: readonly Finding[];
}

/** Everything but the services. Time-outs by default are those of IPVS. */
export function buildConfig(draft: FileDraft, services: readonly ServiceConfig[]): Config {
  const { interfaces, timeouts = {}, control = {}, name = 'fairlead' } = draft;
  const socket = control.socket ?? `/run/fairlead/${name}.sock`;
  return {
    version: 1,
    name,
    interfaces: {
      outside: interfaces.outside,
      ...(interfaces.inside === undefined ? {} : { inside: interfaces.inside }),
    },
    engine: draft.engine ?? 'auto',
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
  if (draft.source !== undefined && method === 'nat') {
    const message = '"source" belongs to full-nat; with nat the servers see the client\'s own address';
    findings.push({ path: [...path, 'source'], on: 'key', message });
  }
  if (draft.hash !== undefined && scheduler !== 'sh' && scheduler !== 'maglev') {
    const message = `"hash" has no effect on scheduler ${scheduler}; sh and maglev hash`;
    findings.push({ path: [...path, 'hash'], on: 'key', message });
  }
  const plan = (own: ServiceDraft['check'], at: Path): CheckPlan | null => {
    const built = buildPlan(own, defaults.check, at);
    findings.push(...built.findings);
    return built.plan;
  };
  const servers = (drafts: ServiceDraft['servers'], key: string, isBackup: boolean): ServerConfig[] =>
    Object.entries(drafts).map(([server, { check, ...written }]) => ({
      name: server,
      ...written,
      isBackup,
      ...(check === undefined ? {} : { check: plan(check, [...path, key, server, 'check']) }),
    }));
  const service: ServiceConfig = {
    name,
    listens: draft.listen,
    method,
    scheduler,
    hash: draft.hash ?? defaults.hash ?? 'client',
    sources: draft.source === undefined || draft.source === 'vip' ? [] : draft.source.flat(),
    servers: [...servers(draft.servers, 'servers', false), ...servers(draft.backup ?? {}, 'backup', true)],
    check: draft.check === undefined ? usualPlan(defaults.check, draft.listen) : plan(draft.check, [...path, 'check']),
    minUp: draft['min-up'] ?? 1,
    panic: draft.panic ?? false,
    slowStartMs: draft['slow-start'] ?? 0,
  };
  if (draft['min-up'] !== undefined && draft.backup === undefined && !service.panic) {
    const message = '"min-up" has no effect without "backup" or "panic"';
    findings.push({ path: [...path, 'min-up'], on: 'key', message });
  }
  return { service, findings };
}

/** One of the two keys is there: rules.ts sees to it. */
function buildHook({ exec, webhook }: NonNullable<FileDraft['notify']>[number]): NotifyConfig {
  return webhook === undefined ? { type: 'exec', command: exec ?? [] } : { type: 'webhook', url: webhook };
}
