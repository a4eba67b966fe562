// A service's scheduler table and members, as indexes into its servers.

import type { ServerConfig } from '../config/config.ts';
import { formatEndpoint } from '../net/address.ts';
import { buildTable } from '../schedule/table.ts';
import type { TargetService } from './target.ts';

export interface ServiceTable {
  readonly table: Uint32Array;
  /** Each server that may get flows, once. */
  readonly members: Uint32Array;
  /** Each that takes what the members have no room for. */
  readonly reserves: Uint32Array;
}

export function buildServiceTable({ config, weights, reserves }: TargetService): ServiceTable {
  const weighted = config.servers.map((server, index) => ({ id: placeName(server), weight: weights[index] ?? 0 }));
  return {
    table: buildTable(config.scheduler, weighted),
    members: positive(weights),
    reserves: positive(reserves),
  };
}

function positive(weights: readonly number[]): Uint32Array {
  return Uint32Array.from(weights.flatMap((weight, index) => (weight > 0 ? [index] : [])));
}

/** What a server is placed by in a hash table: the same on every balancer, whatever the server is called there. */
function placeName(server: ServerConfig): string {
  return server.port === null ? server.address.text : formatEndpoint(server.address, server.port);
}
