// What operators said at run time and no file says: servers drained, weights changed. Values; a change gives a new set.
// They outlive reloads for as long as their server is in the configuration, and end with the process.

import { FairleadError } from '../base/errors.ts';
import type { Config, ServerConfig, ServiceConfig } from '../config/config.ts';

export interface Override {
  readonly isDrained: boolean;
  /** Null: the configured one. */
  readonly weight: number | null;
}

/** By serverKey. */
export type Overrides = ReadonlyMap<string, Override>;

export const NO_OVERRIDES: Overrides = new Map();

const NO_OVERRIDE: Override = { isDrained: false, weight: null };

/** Names a server in logs and on the command line: "web/web-1". */
export function serverKey(service: ServiceConfig | string, server: ServerConfig | string): string {
  const name = (named: { readonly name: string } | string): string => (typeof named === 'string' ? named : named.name);
  return `${name(service)}/${name(server)}`;
}

export function overrideOf(overrides: Overrides, key: string): Override {
  return overrides.get(key) ?? NO_OVERRIDE;
}

/** What is left out stays. */
export interface OverrideChange {
  readonly isDrained?: boolean;
  readonly weight?: number;
}

export function withOverride(
  overrides: Overrides,
  service: string,
  server: ServerConfig,
  change: OverrideChange,
): Overrides {
  const key = serverKey(service, server);
  const before = overrideOf(overrides, key);
  const isDrained = change.isDrained ?? before.isDrained;
  const weight = change.weight ?? before.weight;
  const next = new Map(overrides);
  // The configured weight again is no override any more.
  const override = { isDrained, weight: weight === server.weight ? null : weight };
  if (override.isDrained || override.weight !== null) next.set(key, override);
  else next.delete(key);
  return next;
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
  const keys = new Set(
    config.services.flatMap((service) => service.servers.map((server) => serverKey(service, server))),
  );
  return new Map([...overrides].filter(([key]) => keys.has(key)));
}
