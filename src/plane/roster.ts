// Which service and which server has which slot. A roster is made of what services are by their configuration alone: it
// outlives every change of weights, and whoever holds the same one knows that no slot has changed hands since.

import type { ServiceConfig } from '../config/config.ts';
import { serverId, serviceId } from './identity.ts';
import type { SectionCounts } from './plane.ts';
import type { Placement } from './placement.ts';
import { assignSlots, type SlotTable } from './slots.ts';
import type { TargetService } from './target.ts';

/** In the order of the target's services. */
export type Roster = readonly ServicePlace[];

export interface ServicePlace {
  readonly config: ServiceConfig;
  readonly id: bigint;
  readonly slot: number;
  /** Parallel to config.servers, as are the slots. */
  readonly serverIds: readonly bigint[];
  readonly serverSlots: readonly number[];
}

interface Enrolled {
  readonly roster: Roster;
  readonly services: SlotTable;
  readonly servers: SlotTable;
}

/** The same roster as before when it names the same services. Throws when there are too few slots. */
export function enrol(wanted: readonly TargetService[], before: Placement, counts: SectionCounts): Enrolled {
  const former = before.made?.roster;
  if (former?.length === wanted.length && wanted.every(({ config }, index) => former[index]!.config === config)) {
    return { roster: former, services: before.services, servers: before.servers };
  }
  const named = wanted.map(({ config }) => ({
    config,
    id: serviceId(config),
    serverIds: config.servers.map((server) => serverId(config, server)),
  }));
  const services = assignSlots(
    before.services,
    named.map(({ id }) => id),
    { what: 'services', capacity: counts.services },
  );
  const servers = assignSlots(
    before.servers,
    named.flatMap(({ serverIds }) => serverIds),
    { what: 'servers', capacity: counts.servers },
  );
  const roster = named.map((service) => ({
    ...service,
    slot: services.slotOf.get(service.id) ?? 0,
    serverSlots: service.serverIds.map((id) => servers.slotOf.get(id) ?? 0),
  }));
  return { roster, services: services.table, servers: servers.table };
}
