// Whom the data plane's counters are read for between commits, as the last commit has them.

import { halfOpenMost } from '../config/half-open.ts';
import { serverId, serviceId } from '../plane/identity.ts';
import { slotsOf } from '../plane/slots.ts';
import type { FloodedService } from './floods.ts';
import { serverKey } from './overrides.ts';
import type { WatchedService } from './passive.ts';
import type { Applied } from './state.ts';

/** Services that can go compute-only. */
export function floodedServices({ config, placement }: Applied): FloodedService[] {
  const slots = slotsOf(placement.services);
  return config.services.flatMap((service) => {
    const most = halfOpenMost(service, config.flows);
    const slot = most === null ? undefined : slots.get(serviceId(service));
    return most === null || slot === undefined ? [] : [{ name: service.name, most, slot }];
  });
}

/** Services with passive checks. */
export function watchedServices({ config, decisions, placement }: Applied): WatchedService[] {
  const slots = slotsOf(placement.servers);
  return config.services.flatMap((service, index) => {
    const { passive: plan } = service;
    if (plan === null) return [];
    const servers = service.servers.map((server, at) => ({
      key: serverKey(service, server),
      name: server.name,
      identity: serverId(service, server),
      slot: slots.get(serverId(service, server)) ?? 0,
      isBackup: server.isBackup,
      isUsed: (decisions[index]?.weights[at] ?? 0) > 0,
    }));
    return [{ name: service.name, plan, servers }];
  });
}
