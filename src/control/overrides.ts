// What operators said at run time and no file says: servers drained or in maintenance, weights changed. Values; a change
// gives a new set. They outlive reloads and, in the state file, restarts, for as long as their server is in the
// configuration.

import { FairleadError } from '../base/errors.ts';
import type { Config, ServerConfig, ServiceConfig } from '../config/config.ts';

/** `drained`: no new flows, checks go on. `maintenance`: no new flows and no checks either. */
export type AdminState = 'enabled' | 'drained' | 'maintenance';

export interface Override {
  readonly admin: AdminState;
  /** Null: the configured one. */
  readonly weight: number | null;
  /** Drained: when the flows that are left end, on the controller's clock. Without it they may take any time. */
  readonly endsAtMs?: number;
}

/** By serverKey. */
export type Overrides = ReadonlyMap<string, Override>;

export const NO_OVERRIDES: Overrides = new Map();

const NO_OVERRIDE: Override = { admin: 'enabled', weight: null };

/** Names a server in logs and on the command line: "web/web-1". */
export function serverKey(service: ServiceConfig | string, server: ServerConfig | string): string {
  const name = (named: { readonly name: string } | string): string => (typeof named === 'string' ? named : named.name);
  return `${name(service)}/${name(server)}`;
}

/** Of each of a service's servers. */
export function serverKeys(service: ServiceConfig): readonly string[] {
  const known = keysByService.get(service);
  if (known !== undefined) return known;
  const made = service.servers.map((server) => serverKey(service, server));
  keysByService.set(service, made);
  return made;
}

/** Each commit asks for all of them, and a service of a configuration never changes. */
const keysByService = new WeakMap<ServiceConfig, readonly string[]>();

export function overrideOf(overrides: Overrides, key: string): Override {
  return overrides.get(key) ?? NO_OVERRIDE;
}

/** What is left out stays. */
export interface OverrideChange {
  readonly admin?: AdminState;
  readonly weight?: number;
  /** With a drain: how long flows may take from now on. Without it a drain that goes on keeps the deadline it has. */
  readonly deadlineMs?: number | null;
}

export function withOverride(
  overrides: Overrides,
  service: string,
  server: ServerConfig,
  change: OverrideChange,
  nowMs: number,
): Overrides {
  const key = serverKey(service, server);
  const before = overrideOf(overrides, key);
  const admin = change.admin ?? before.admin;
  const weight = change.weight ?? before.weight;
  const next = new Map(overrides);
  // The configured weight again is no override any more.
  const endsAtMs = deadlineOf(before, admin, change, nowMs);
  const override = {
    admin,
    weight: weight === server.weight ? null : weight,
    ...(endsAtMs === undefined ? {} : { endsAtMs }),
  };
  if (override.admin !== 'enabled' || override.weight !== null) next.set(key, override);
  else next.delete(key);
  return next;
}

/** A drain that begins has the service's deadline, unless it was given one. */
export function withDeadline(change: OverrideChange, before: AdminState, usualMs: number | null): OverrideChange {
  const isNew = change.admin === 'drained' && before !== 'drained';
  return isNew && change.deadlineMs === undefined ? { ...change, deadlineMs: usualMs } : change;
}

function deadlineOf(
  before: Override,
  admin: AdminState,
  { deadlineMs }: OverrideChange,
  nowMs: number,
): number | undefined {
  if (admin !== 'drained') return undefined;
  if (deadlineMs === undefined) return before.endsAtMs;
  return deadlineMs === null ? undefined : nowMs + deadlineMs;
}

/** Drained, and its flows have had their time. */
export function isOverdue({ endsAtMs }: Override, nowMs: number): boolean {
  return endsAtMs !== undefined && endsAtMs <= nowMs;
}

/** Throws not-found, naming what there is. */
export function findServer(config: Config, service: string, server: string): ServerConfig {
  const inService = config.services.find(({ name }) => name === service);
  if (inService === undefined) throw notFound('service', service, config.services);
  const found = inService.servers.find(({ name }) => name === server);
  if (found === undefined) throw notFound('server', server, inService.servers, ` in service "${service}"`);
  return found;
}

export function notFound(
  what: string,
  name: string,
  known: readonly { readonly name: string }[],
  where = '',
): FairleadError {
  const names = known.map((item) => item.name);
  const some = names.length > 10 ? `${names.slice(0, 10).join(', ')} and ${names.length - 10} more` : names.join(', ');
  return new FairleadError('not-found', `there is no ${what} "${name}"${where}`, {
    mend: `there are: ${some || 'none'}`,
  });
}

/** Only those whose server the configuration still has. */
export function keepOverrides(overrides: Overrides, config: Config): Overrides {
  if (overrides.size === 0) return overrides;
  const keys = new Set(config.services.flatMap(serverKeys));
  return new Map([...overrides].filter(([key]) => keys.has(key)));
}
