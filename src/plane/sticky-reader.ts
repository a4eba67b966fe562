// Reads the clients that services remember: whose entry stands, and for how long still. Batch by batch, as the flow reader
// does.

import { constants, layout } from '../native/layout.ts';
import type { Address } from '../net/address.ts';
import { type Prefix, prefixContains } from '../net/prefix.ts';
import { readAddress } from './counters.ts';
import { currentTick, type EndpointFilter, TICK_MS } from './flow-reader.ts';
import type { Plane } from './plane.ts';
import { activeHalfOf, viewOf } from './sections.ts';

export interface StickyRecord {
  readonly client: Prefix;
  /** Null: any port is the same client. */
  readonly clientPort: number | null;
  readonly server: Address;
  /** Null: the client's destination port. */
  readonly serverPort: number | null;
  readonly serverSlot: number;
  /** Since the client last began or ended a flow. */
  readonly idleMs: number;
  readonly expiresInMs: number;
}

export interface StickyFilter {
  /** One of whom the entry is, too. */
  readonly client?: EndpointFilter;
  readonly server?: EndpointFilter;
  readonly serverSlots?: ReadonlySet<number>;
}

const ENTRY = layout.fl_sticky;
const BUCKET = layout.fl_stickies;
const SERVICE = layout.fl_service;
const SERVER = layout.fl_server;
/** Some milliseconds of a full table in which nothing matches. */
const BUCKETS_A_BATCH = 4096;
/** Whoever writes a bucket is through in far less than it takes to look again. */
const LOOKS = 3;

export function* readStickies(
  plane: Plane,
  filter: StickyFilter,
  tick: () => number = currentTick,
): Generator<StickyRecord[]> {
  // Where no service remembers anybody, the section may have no memory yet.
  if (!remembers(plane)) return;
  for (let bucket = 0; bucket < plane.counts.stickies; ) {
    const view = viewTable(plane, tick());
    const end = Math.min(plane.counts.stickies, bucket + BUCKETS_A_BATCH);
    const batch: StickyRecord[] = [];
    for (; bucket < end; bucket++) batch.push(...readBucket(view, bucket, filter));
    yield batch;
  }
}

/** Clients of a service, as they were last counted: a few seconds ago. */
export function readStickyCount(plane: Plane, serviceSlot: number): number {
  const { octets, sticky } = layout.fl_service_state;
  return viewOf(plane, 'service_state').getUint32(serviceSlot * octets + sticky, true);
}

function remembers(plane: Plane): boolean {
  const services = activeHalfOf(plane, 'services');
  for (let at = 0; at < services.byteLength; at += SERVICE.octets) {
    if (services.getUint32(at + SERVICE.sticky_ticks, true) !== 0) return true;
  }
  return false;
}

interface TableView {
  readonly words: Uint32Array;
  readonly entries: DataView;
  readonly servers: DataView;
  readonly services: DataView;
  readonly now: number;
}

function viewTable(plane: Plane, now: number): TableView {
  const section = plane.section('stickies');
  return {
    words: new Uint32Array(section),
    entries: new DataView(section),
    servers: activeHalfOf(plane, 'servers'),
    services: activeHalfOf(plane, 'services'),
    now,
  };
}

/** What stands in a bucket that nobody wrote meanwhile. */
function readBucket(view: TableView, bucket: number, filter: StickyFilter): StickyRecord[] {
  const control = (): number => Atomics.load(view.words, (bucket * BUCKET.octets + BUCKET.control) / 4);
  for (let look = 0; look < LOOKS; look++) {
    const before = control();
    // Nobody has ever written there.
    if (before === 0) return [];
    const records: StickyRecord[] = [];
    for (let way = 1; way < constants.stickyWays; way++) {
      const at = bucket * BUCKET.octets + BUCKET.way + way * ENTRY.octets;
      const record = readEntry(view, at);
      if (record !== null && matches(record, filter)) records.push(record);
    }
    if ((before & constants.stickyClaimed) === 0 && control() === before) return records;
  }
  return [];
}

/** Null: it is free, its server is gone or had its flows ended, its service goes by something else, or its time is over. */
function readEntry({ entries, servers, services, now }: TableView, at: number): StickyRecord | null {
  const generation = entries.getUint32(at + ENTRY.server + 4, true);
  const slot = entries.getUint32(at + ENTRY.server, true);
  const server = slot * SERVER.octets;
  if (generation === 0 || server >= servers.byteLength) return null;
  const flags = servers.getUint16(server + SERVER.flags, true);
  const isUsed = (flags & constants.serverUsed) !== 0;
  if (!isUsed || servers.getUint32(server + SERVER.generation, true) !== generation) return null;
  const service = servers.getUint32(server + SERVER.service, true) * SERVICE.octets;
  const by = entries.getUint8(at + ENTRY.by);
  const ticks = services.getUint32(service + SERVICE.sticky_ticks, true);
  const idle = Math.max(0, (now - entries.getUint32(at + ENTRY.seen, true)) | 0);
  if (ticks === 0 || services.getUint8(service + SERVICE.sticky_by) !== by || idle > ticks) return null;
  const isV6 = services.getUint8(service + SERVICE.is_v6) !== 0;
  const isOfPort = by === constants.stickyPort;
  return {
    client: { address: readAddress(entries, at + ENTRY.client, isV6), length: isOfPort ? (isV6 ? 128 : 32) : by },
    clientPort: isOfPort ? entries.getUint16(at + ENTRY.port) : null,
    server: readAddress(servers, server + SERVER.addr, (flags & constants.serverV6) !== 0),
    serverPort: servers.getUint16(server + SERVER.port) || null,
    serverSlot: slot,
    idleMs: Math.round(idle * TICK_MS),
    expiresInMs: Math.round((ticks - idle) * TICK_MS),
  };
}

function matches(record: StickyRecord, { client, server, serverSlots }: StickyFilter): boolean {
  const isOf = (filter: EndpointFilter | undefined, port: number | null): boolean =>
    filter === undefined || filter.port === null || port === null || filter.port === port;
  return (
    (serverSlots === undefined || serverSlots.has(record.serverSlot)) &&
    (client === undefined || prefixContains(record.client, client.address)) &&
    (server === undefined || server.address.text === record.server.text) &&
    isOf(client, record.clientPort) &&
    isOf(server, record.serverPort)
  );
}
