// A configuration counted: how many of each thing it puts into the region.

import type { Config, Listen, ServiceConfig } from '../config/config.ts';

export interface ConfigShape {
  readonly services: number;
  readonly servers: number;
  /** Addresses that fairlead owns: VIPs and full-nat sources. */
  readonly vips: number;
  readonly listens: number;
  readonly ranges: number;
  readonly sources: number;
  readonly maglevs: number;
  /** Ranges of clients and of nat servers, as many as there can be. */
  readonly access: number;
}

export function configShape(config: Config): ConfigShape {
  const services = config.services;
  const listens = services.flatMap((service) => service.listens);
  const owned = services.flatMap((service) => [...service.listens.map((listen) => listen.vip), ...service.sources]);
  const sum = (count: (service: ServiceConfig) => number): number =>
    services.reduce((total, service) => total + count(service), 0);
  return {
    services: services.length,
    servers: sum((service) => service.servers.length),
    vips: new Set(owned.map((address) => address.text)).size,
    listens: listens.filter(isSinglePort).length,
    ranges: listens.filter((listen) => !isSinglePort(listen)).length,
    sources: sum((service) => (service.tunnel === null ? service.sources.length : 1)),
    access: sum(rangesOf) + 2,
    maglevs: services.filter((service) => service.scheduler === 'maglev' || service.scheduler === 'sh').length,
  };
}

function rangesOf({ limit, method, servers }: ServiceConfig): number {
  const ofClients = limit === null ? 0 : 2 * (limit.allow.length + limit.deny.length) + 1;
  return ofClients + (method === 'nat' ? 2 * servers.length : 0);
}

export function isSinglePort(listen: Listen): boolean {
  return listen.firstPort === listen.lastPort;
}
