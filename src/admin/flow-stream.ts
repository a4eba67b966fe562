// The flow table as lines of JSON. Made batch by batch as the reader takes them, with the event loop free in between, so
// that millions of flows cost neither memory nor the daemon's attention.

import { setImmediate } from 'node:timers/promises';
import { interfaceNames } from '../control/desired.ts';
import { notFound } from '../control/overrides.ts';
import type { ControlState } from '../control/state.ts';
import { formatEndpoint } from '../net/address.ts';
import { type EndpointFilter, type FlowFilter, type FlowRecord, readFlows } from '../plane/flow-reader.ts';
import type { Plane } from '../plane/plane.ts';

export interface FlowQuery {
  readonly client?: EndpointFilter | undefined;
  readonly server?: EndpointFilter | undefined;
  readonly service?: string | undefined;
  readonly limit?: number | undefined;
}

export interface FlowView {
  readonly service: string;
  readonly server: string;
  readonly protocol: string;
  readonly client: string;
  readonly vip: string;
  readonly address: string;
  /** Full-nat's source towards the server; null with nat. */
  readonly local: string | null;
  readonly state: string;
  readonly idleMs: number;
  readonly ageMs: number;
  readonly expiresInMs: number;
  /** Whence the client's frames come. */
  readonly interface: string;
  readonly mac: string;
}

/** Lines, some hundred to a chunk. Throws not-found at once for a service that is not there. */
export function streamFlows(plane: Plane, state: ControlState, query: FlowQuery): AsyncGenerator<string> {
  const owners = slotOwners(state);
  const filter = filterOf(state, owners, query);
  const names = interfaceNames(state.config);
  return lines(readFlows(plane, filter), query.limit ?? Number.POSITIVE_INFINITY, (flow) =>
    viewFlow(flow, owners.get(flow.serverSlot), names),
  );
}

/** What the table's reader is asked for. Throws not-found for a service that is not there. */
export function filterOf(
  state: ControlState,
  owners: Map<number, Owner>,
  { service, client, server }: FlowQuery,
): Pick<FlowFilter, 'client' | 'server' | 'serverSlots'> {
  if (service !== undefined && !state.services.some(({ config }) => config.name === service)) {
    throw notFound(
      'service',
      service,
      state.services.map(({ config }) => config),
    );
  }
  const slots = service === undefined ? undefined : slotsOf(owners, service);
  return {
    ...(client === undefined ? {} : { client }),
    ...(server === undefined ? {} : { server }),
    ...(slots === undefined ? {} : { serverSlots: slots }),
  };
}

export async function* lines<T>(
  batches: Iterable<T[]>,
  limit: number,
  view: (record: T) => object,
): AsyncGenerator<string> {
  let left = limit;
  for (const batch of batches) {
    const wanted = batch.slice(0, left);
    left -= wanted.length;
    if (wanted.length > 0) yield wanted.map((record) => `${JSON.stringify(view(record))}\n`).join('');
    if (left === 0) return;
    await setImmediate();
  }
}

export interface Owner {
  readonly service: string;
  readonly server: string;
}

export function slotOwners(state: ControlState): Map<number, Owner> {
  return new Map(
    state.services.flatMap((service) =>
      service.servers.map(
        (server) => [server.slot, { service: service.config.name, server: server.config.name }] as const,
      ),
    ),
  );
}

function slotsOf(owners: Map<number, Owner>, service: string): Set<number> {
  return new Set([...owners].flatMap(([slot, owner]) => (owner.service === service ? [slot] : [])));
}

function viewFlow(flow: FlowRecord, owner: Owner | undefined, interfaces: readonly string[]): FlowView {
  return {
    // A flow of a server that came after this listing began has no names yet.
    service: owner?.service ?? '?',
    server: owner?.server ?? '?',
    protocol: flow.protocol,
    client: formatEndpoint(flow.client, flow.clientPort),
    vip: formatEndpoint(flow.vip, flow.vipPort),
    address: formatEndpoint(flow.server, flow.serverPort),
    local: flow.local === null ? null : formatEndpoint(flow.local, flow.localPort),
    state: flow.state,
    idleMs: flow.idleMs,
    ageMs: flow.ageMs,
    expiresInMs: flow.expiresInMs,
    interface: interfaces[flow.interfaceId] ?? `#${flow.interfaceId}`,
    mac: flow.clientMac,
  };
}
