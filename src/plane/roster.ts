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

/**
 * The same roster as before when it names the same services, and the same place for each of them that stays. Throws when
 * there are too few slots.
 */
export function enrol(wanted: readonly TargetService[], before: Placement, counts: SectionCounts): Enrolled {
  const former = before.made?.roster;
  if (former?.length === wanted.length && wanted.every(({ config }, index) => former[index]!.config === config)) {
    return { roster: former, services: before.services, servers: before.servers };
  }
  const places = new Map(former?.map((place) => [place.config, place]));
  const staying = wanted.flatMap(({ config }) => places.get(config) ?? []);
  const named = wanted.flatMap(({ config }) => {
    if (places.has(config)) return [];
    return [{ config, id: serviceId(config), serverIds: config.servers.map((server) => serverId(config, server)) }];
  });
  const services = assignSlots(
    before.services,
    named.map(({ id }) => id),
    { what: 'services', capacity: counts.services, staying: staying.map(({ slot }) => slot) },
  );
  const servers = assignSlots(
    before.servers,
    named.flatMap(({ serverIds }) => serverIds),
    { what: 'servers', capacity: counts.servers, staying: staying.flatMap(({ serverSlots }) => serverSlots) },
  );
  for (const { config, id, serverIds } of named) {
    const serverSlots = serverIds.map((server) => servers.slotOf.get(server) ?? 0);
    places.set(config, { config, id, slot: services.slotOf.get(id) ?? 0, serverIds, serverSlots });
  }
  return {
    roster: wanted.map(({ config }) => places.get(config)!),
    services: services.table,
    servers: servers.table,
  };
}
