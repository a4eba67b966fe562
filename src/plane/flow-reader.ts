// Reads the flow table while workers change it. Tags are scanned first, four slots to a load, so that an empty table of
// millions costs milliseconds. A flow is copied out between two looks at its control word: one that changed hands
// meanwhile is skipped, so nobody sees half of one flow and half of another.
//
// Records come in batches, and an empty batch is a pause: whoever reads decides when to go on, and meanwhile the event
// loop is free.

import { constants, layout, stateNames } from '../native/layout.ts';
import { type Address, sameAddress } from '../net/address.ts';
import { formatMac } from '../net/mac.ts';
import { readAddress } from './counters.ts';
import type { Plane } from './plane.ts';
import { activeHalfOf, viewOf } from './sections.ts';

export interface FlowRecord {
  readonly protocol: 'tcp' | 'udp';
  readonly state: string;
  readonly client: Address;
  readonly clientPort: number;
  readonly vip: Address;
  readonly vipPort: number;
  readonly server: Address;
  readonly serverPort: number;
  /** Full-nat's source towards the server; null where the server sees the client. */
  readonly local: Address | null;
  readonly localPort: number;
  readonly serverSlot: number;
  readonly interfaceId: number;
  readonly clientMac: string;
  readonly idleMs: number;
  readonly ageMs: number;
  /** Until its time-out, when no frame comes. */
  readonly expiresInMs: number;
}

/** The server slot of the flow at an index of the table, whatever has become of it. */
export function readServerSlot(plane: Plane, index: number): number {
  const { octets, server_slot } = layout.fl_flow;
  return viewOf(plane, 'flows').getUint32(index * octets + server_slot, true);
}

export interface EndpointFilter {
  readonly address: Address;
  /** Null: any. */
  readonly port: number | null;
}

export interface FlowFilter {
  readonly client?: EndpointFilter;
  readonly server?: EndpointFilter;
  readonly serverSlots?: ReadonlySet<number>;
  readonly state?: (typeof stateNames)[number];
}

const FLOW = layout.fl_flow;
const FLOW6 = layout.fl_flow6;
const CLAIMED = stateNames.indexOf('claimed');
export const TICK_MS = 2 ** constants.tickShift / 1e6;
/** Up to ten milliseconds of a full table in which nothing matches; one of making records. */
const BUCKETS_A_BATCH = 16_384;
const RECORDS_A_BATCH = 512;

/** The tick that is now, as workers write it into flows: CLOCK_MONOTONIC, which is what hrtime reads. */
export function currentTick(): number {
  return Number(BigInt.asUintN(32, process.hrtime.bigint() >> BigInt(constants.tickShift)));
}

export function* readFlows(
  plane: Plane,
  filter: FlowFilter,
  tick: () => number = currentTick,
): Generator<FlowRecord[]> {
  for (let bucket = 0; bucket < plane.counts.tags; ) {
    // Anew after each pause: meanwhile the halves may have flipped, or the plane may have been closed, which must show.
    const table = viewTable(plane, tick());
    const end = Math.min(plane.counts.tags, bucket + BUCKETS_A_BATCH);
    const batch: FlowRecord[] = [];
    for (; bucket < end && batch.length < RECORDS_A_BATCH; bucket++) {
      if (table.tags[2 * bucket] === 0n && table.tags[2 * bucket + 1] === 0n) continue;
      for (let way = 0; way < constants.ways; way++) {
        const record = readFlow(table, bucket * constants.ways + way, filter);
        if (record !== null) batch.push(record);
      }
    }
    yield batch;
  }
}

interface TableView {
  readonly tags: BigUint64Array;
  /** The flows section as words, for the control word's two looks. */
  readonly words: Uint32Array;
  readonly flows: DataView;
  readonly flows6: DataView;
  readonly servers: DataView;
  readonly settings: DataView;
  readonly now: number;
}

function viewTable(plane: Plane, now: number): TableView {
  const flows = plane.section('flows');
  return {
    tags: new BigUint64Array(plane.section('tags')),
    words: new Uint32Array(flows),
    flows: new DataView(flows),
    flows6: viewOf(plane, 'flows6'),
    servers: activeHalfOf(plane, 'servers'),
    settings: activeHalfOf(plane, 'settings'),
    now,
  };
}

function readFlow(table: TableView, index: number, filter: FlowFilter): FlowRecord | null {
  const control = Atomics.load(table.words, (index * FLOW.octets) / 4);
  if (!isLive(control)) return null;
  if (filter.state !== undefined && stateNames[control & 0xff] !== filter.state) return null;
  const record = matches(table, index, filter) ? copyFlow(table, index, control) : null;
  if (record === null) return null;
  const after = Atomics.load(table.words, (index * FLOW.octets) / 4);
  return isLive(after) && incarnation(after) === incarnation(control) ? record : null;
}

function isLive(control: number): boolean {
  const state = control & 0xff;
  return state > CLAIMED && state < stateNames.length;
}

function incarnation(control: number): number {
  return control >>> 16;
}

function matches({ flows, flows6, servers }: TableView, index: number, filter: FlowFilter): boolean {
  const at = index * FLOW.octets;
  const slot = flows.getUint32(at + FLOW.server_slot, true);
  if (filter.serverSlots !== undefined && !filter.serverSlots.has(slot)) return false;
  if (!isServersFlow(servers, slot, flows.getUint32(at + FLOW.server_generation, true))) return false;
  const flags = flows.getUint8(at + FLOW.flags);
  const isV6 = (flags & constants.flowV6) !== 0;
  const isDsr = (flags & constants.flowDsr) !== 0;
  const match = ({ address, port }: EndpointFilter, end: 'client' | 'server'): boolean => {
    if (port !== null && flows.getUint16(at + FLOW[`${end}_port`]) !== port) return false;
    if (end === 'server' && isDsr) return sameAddress(address, serverAddress(servers, slot));
    if ((address.family === 6) !== isV6) return false;
    const offset = isV6 ? index * FLOW6.octets + FLOW6[end] : at + FLOW[end];
    const view = isV6 ? flows6 : flows;
    return address.bytes.every((byte, i) => view.getUint8(offset + i) === byte);
  };
  if (filter.client !== undefined && !match(filter.client, 'client')) return false;
  return filter.server === undefined || match(filter.server, 'server');
}

/** A flow whose server is gone, or whose slot belongs to another one now, only waits to be forgotten. */
function isServersFlow(servers: DataView, slot: number, generation: number): boolean {
  const at = slot * layout.fl_server.octets;
  if (at >= servers.byteLength) return false;
  const isUsed = (servers.getUint16(at + layout.fl_server.flags, true) & constants.serverUsed) !== 0;
  const differs = servers.getUint32(at + layout.fl_server.generation, true) ^ generation;
  return isUsed && (differs & ~constants.generationEpoch) === 0;
}

/** Of a tunnel's server, whose family may not be the flow's. */
function serverAddress(servers: DataView, slot: number): Address {
  const { octets, addr, flags } = layout.fl_server;
  const isV6 = (servers.getUint16(slot * octets + flags, true) & constants.serverV6) !== 0;
  return readAddress(servers, slot * octets + addr, isV6);
}

function copyFlow({ flows, flows6, servers, settings, now }: TableView, index: number, control: number): FlowRecord {
  const at = index * FLOW.octets;
  const flags = flows.getUint8(at + FLOW.flags);
  const isV6 = (flags & constants.flowV6) !== 0;
  const slot = flows.getUint32(at + FLOW.server_slot, true);
  const address = (end: 'client' | 'vip' | 'server' | 'local'): Address =>
    isV6 ? readAddress(flows6, index * FLOW6.octets + FLOW6[end], true) : readAddress(flows, at + FLOW[end], false);
  const state = control & 0xff;
  const ticksSince = (field: 'seen' | 'created'): number =>
    Math.max(0, (now - flows.getUint32(at + FLOW[field], true)) | 0);
  const idle = ticksSince('seen');
  const timeout = settings.getUint32(layout.fl_settings.timeout + 4 * state, true);
  return {
    protocol: flows.getUint8(at + FLOW.protocol) === 6 ? 'tcp' : 'udp',
    state: stateNames[state] ?? 'unknown',
    client: address('client'),
    clientPort: flows.getUint16(at + FLOW.client_port),
    vip: address('vip'),
    vipPort: flows.getUint16(at + FLOW.vip_port),
    server: (flags & constants.flowDsr) === 0 ? address('server') : serverAddress(servers, slot),
    serverPort: flows.getUint16(at + FLOW.server_port),
    local: (flags & constants.flowFullNat) === 0 ? null : address('local'),
    localPort: flows.getUint16(at + FLOW.local_port),
    serverSlot: slot,
    interfaceId: flows.getUint8(at + FLOW.client_interface),
    clientMac: formatMac(new Uint8Array(flows.buffer, flows.byteOffset + at + FLOW.client_mac, 6)),
    idleMs: Math.round(idle * TICK_MS),
    ageMs: Math.round(ticksSince('created') * TICK_MS),
    expiresInMs: Math.round(Math.max(0, timeout - idle) * TICK_MS),
  };
}
