// From the target to an image: who gets which slot and extent (the placement), and the blocks of every double-buffered
// section. Pure: the placement that comes back is the one to go on with once the commit has gone through; until then
// nothing has happened.

import type { ServiceConfig, Timeouts, TunnelConfig } from '../config/config.ts';
import { halfOpenMost } from '../config/half-open.ts';
import type { StickyPlan } from '../config/sticky.ts';
import { constants, layout, stateNames } from '../native/layout.ts';
import { hostBits, maskOf } from '../net/prefix.ts';
import { flowsFor } from './capacity.ts';
import { addressWords } from './config-hash.ts';
import { serverId, serviceId } from './identity.ts';
import { fieldsAt, type FieldsAt, ImageWriter, setWords } from './image-writer.ts';
import { writeFrontDoor } from './image-front.ts';
import { writeLimits } from './image-limit.ts';
import { ENTRIES_OF_PAIR, type PlacedTable, placeTables, type Placement } from './placement.ts';
import type { SectionCounts } from './plane.ts';
import { assignSlots, endFlows, tooMany } from './slots.ts';
import type { PoolMoment } from './table-pool.ts';
import type { Target, TargetInterface, TargetService } from './target.ts';

export interface ImagePlan {
  readonly image: ArrayBuffer;
  readonly placement: Placement;
}

/** What one service becomes. */
export interface PlannedService {
  readonly target: TargetService;
  readonly id: bigint;
  readonly slot: number;
  /** Parallel to config.servers, as are the slots. */
  readonly serverIds: readonly bigint[];
  readonly serverSlots: readonly number[];
  readonly table: PlacedTable;
}

/** Throws FairleadError (refused) when the target outgrows the region. */
export function planImage(target: Target, before: Placement, counts: SectionCounts, moment: PoolMoment): ImagePlan {
  const named = target.services.map((service) => {
    const { config } = service;
    return { target: service, id: serviceId(config), serverIds: config.servers.map((it) => serverId(config, it)) };
  });
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
  const placed = named.map((service) => ({
    ...service,
    slot: services.slotOf.get(service.id) ?? 0,
    serverSlots: service.serverIds.map((id) => servers.slotOf.get(id) ?? 0),
  }));
  const { tables, pool } = placeTables(before, placed, moment);
  const ending = new Set(
    named.flatMap(({ target: { ends }, serverIds }) => serverIds.filter((_, index) => ends[index] !== 'no')),
  );
  const placement = { services: services.table, servers: endFlows(servers, ending), tables, pool };
  const planned = placed.map((service): PlannedService => ({ ...service, table: tables.get(service.id)! }));
  return { image: writeImage(target, planned, before, placement, counts), placement };
}

function writeImage(
  target: Target,
  services: readonly PlannedService[],
  before: Placement,
  placement: Placement,
  counts: SectionCounts,
): ArrayBuffer {
  const writer = new ImageWriter();
  const masks = writeFrontDoor(writer, services, counts);
  writeSettings(writer, target, masks);
  writeInterfaces(writer, target.interfaces, counts.interfaces);
  const sourceFirst = writeSources(writer, services, counts.sources);
  const limits = writeLimits(writer, services, counts);
  writeServices(writer, services, placement.services.length, { sourceFirst, limits }, flowsFor(counts.flows));
  writeServers(writer, services, placement, sourceFirst);
  writeTables(writer, services, before);
  return writer.finish();
}

/**
 * ICMP errors a worker may originate: 1000 a second, as Linux allows itself, in ticks of 0.134 s. A RST is never longer
 * than what it answers, and so is only kept from flooding whose address was forged: 10,000 a second.
 */
const ICMP_PER_TICK = 134;
const RST_PER_TICK = 1342;

function writeSettings(writer: ImageWriter, target: Target, masks: { vip: number; listen: number }): void {
  const view = writer.block('settings', 1);
  const at = fieldsAt('fl_settings', 0);
  for (const [index, name] of stateNames.entries()) {
    view.setUint32(at('timeout') + 4 * index, ticksFor(timeoutOf(target.timeouts, name)), true);
  }
  view.setUint32(at('is_active'), 1, true);
  view.setUint32(at('interface_count'), target.interfaces.length, true);
  view.setUint32(at('vip_mask'), masks.vip, true);
  view.setUint32(at('listen_mask'), masks.listen, true);
  view.setUint32(at('icmp_per_tick'), ICMP_PER_TICK, true);
  view.setUint32(at('rst_per_tick'), RST_PER_TICK, true);
  view.setUint32(at('is_refusing'), target.onNoService === 'refuse' ? 1 : 0, true);
  writeNetworks(view, at('networks'), target.interfaces);
}

/** As many as there is room for: beyond that a client's way back is the operator's care. */
function writeNetworks(view: DataView, first: number, interfaces: readonly TargetInterface[]): void {
  const all = interfaces.flatMap(({ networks }, id) => networks.map((network) => ({ id, network })));
  for (const [index, { id, network }] of all.slice(0, constants.networksMost).entries()) {
    const at = fieldsAt('fl_network', index);
    const isV6 = network.address.family === 6;
    setWords(view, first + at('addr'), addressWords(network.address));
    setWords(view, first + at('mask'), addressWords(maskOf(network)));
    view.setUint32(first + at('interface'), id, true);
    view.setUint32(first + at('family'), isV6 ? constants.networkV6 : constants.networkV4, true);
  }
}

function timeoutOf(timeouts: Timeouts, state: (typeof stateNames)[number]): number {
  switch (state) {
    case 'free':
    case 'claimed':
      return 0;
    case 'syn-sent':
      return timeouts.synSent;
    case 'syn-received':
      return timeouts.synReceived;
    case 'time-wait':
      return timeouts.timeWait;
    case 'udp-one-way':
      return timeouts.udpOneWay;
    case 'udp-two-way':
      return timeouts.udp;
    default:
      return timeouts[state];
  }
}

/** Ticks of 2^27 ns, rounded up: an idle flow lives at least as long as it was promised. */
export function ticksFor(ms: number): number {
  return Math.ceil((ms * 1e6) / 2 ** constants.tickShift);
}

/** The whole section: who walks it finds nothing of a former image in it. */
function writeInterfaces(writer: ImageWriter, interfaces: readonly TargetInterface[], capacity: number): void {
  const view = writer.block('interfaces', capacity);
  for (const [index, link] of interfaces.entries()) {
    const at = fieldsAt('fl_interface', index);
    view.setUint32(at('ifindex'), link.ifindex, true);
    view.setUint32(at('mtu'), link.mtu, true);
    for (const [i, byte] of link.mac.entries()) view.setUint8(at('mac') + i, byte);
    view.setUint8(at('is_inside'), index === 0 ? 0 : 1);
    if (link.address4 !== null) view.setUint32(at('address4'), addressWords(link.address4)[0], true);
    if (link.address6 !== null) setWords(view, at('address6'), addressWords(link.address6));
  }
}

/** Of full-nat its pool, of l3-dsr the outer source; by service id where they begin. */
function writeSources(writer: ImageWriter, services: readonly PlannedService[], capacity: number): Map<bigint, number> {
  const sources = services.flatMap(({ id, target: { config } }) => {
    const addresses = config.tunnel === null ? config.sources : [config.tunnel.source.address];
    return addresses.map((address) => ({ id, address }));
  });
  if (sources.length > capacity) throw tooMany('full-nat and tunnel source addresses', sources.length, capacity);
  const first = new Map<bigint, number>();
  const view = writer.block('sources', sources.length);
  for (const [index, { id, address }] of sources.entries()) {
    if (!first.has(id)) first.set(id, index);
    setWords(view, 16 * index, addressWords(address));
  }
  return first;
}

const METHODS = {
  nat: constants.methodNat,
  'full-nat': constants.methodFullNat,
  'l2-dsr': constants.methodL2Dsr,
  'l3-dsr': constants.methodL3Dsr,
} as const;

const TUNNELS = { gre: constants.tunnelGre, ipip: constants.tunnelIpip, gue: constants.tunnelGue } as const;

const SCHEDULERS = {
  rr: constants.schedulerSequence,
  wrr: constants.schedulerSequence,
  lc: constants.schedulerLeast,
  wlc: constants.schedulerLeast,
  lrt: constants.schedulerResponse,
  p2c: constants.schedulerChoice,
  sh: constants.schedulerHash,
  maglev: constants.schedulerHash,
} as const;

function writeServices(
  writer: ImageWriter,
  services: readonly PlannedService[],
  count: number,
  { sourceFirst, limits }: Record<'sourceFirst' | 'limits', ReadonlyMap<bigint, number>>,
  flows: number,
): void {
  const view = writer.block('services', count);
  for (const { id, slot, target, table } of services) {
    const { method, scheduler, hash, listens, sources } = target.config;
    const at = fieldsAt('fl_service', slot);
    view.setBigUint64(at('id'), id, true);
    view.setUint8(at('method'), METHODS[method]);
    view.setUint8(at('scheduler'), SCHEDULERS[scheduler]);
    view.setUint8(at('hash_by'), hash === 'client' ? constants.hashClient : constants.hashClientPort);
    view.setUint8(at('is_v6'), listens[0]?.vip.family === 6 ? 1 : 0);
    view.setUint32(at('table_first'), table.extent.first, true);
    view.setUint32(at('table_count'), table.tableCount, true);
    view.setUint32(at('member_first'), table.extent.first + table.tableCount, true);
    view.setUint32(at('member_count'), table.memberCount, true);
    view.setUint32(at('reserve_count'), table.content.length - table.tableCount - table.memberCount, true);
    view.setUint32(at('source_first'), sourceFirst.get(id) ?? 0, true);
    view.setUint32(at('source_count'), sources.length, true);
    view.setUint32(at('flags'), serviceFlags(target.config), true);
    view.setUint32(at('limit'), limits.get(id) ?? 0, true);
    writeSticky(view, at, target.config.sticky);
    view.setUint32(at('half_open'), halfOpenMost(target.config, flows) ?? 0, true);
  }
}

function writeSticky(view: DataView, at: FieldsAt<'fl_service'>, sticky: StickyPlan | null): void {
  if (sticky === null) return;
  view.setUint32(at('sticky_ticks'), ticksFor(sticky.forMs), true);
  view.setUint8(at('sticky_by'), sticky.by === 'client-port' ? constants.stickyPort : sticky.length);
}

function serviceFlags({ method, hairpin, onNoServer, onServersFull }: ServiceConfig): number {
  const ofHairpin = hairpin === 'snat' ? constants.serviceHairpin : constants.serviceRefusesHairpin;
  return (
    (method === 'nat' ? ofHairpin : 0) |
    (onNoServer === 'refuse' ? constants.serviceRefuses : 0) |
    (onServersFull === 'refuse' ? constants.serviceRefusesFull : 0)
  );
}

function writeServers(
  writer: ImageWriter,
  services: readonly PlannedService[],
  placement: Placement,
  sourceFirst: ReadonlyMap<bigint, number>,
): void {
  const view = writer.block('servers', placement.servers.length);
  // Of all there is by far the most of these, so their fields are looked up once.
  const { octets, ...at } = layout.fl_server;
  for (const [index, { generation }] of placement.servers.entries()) {
    // A free slot keeps its generation: it must not come back with one that old flows carry.
    view.setUint32(octets * index + at.generation, generation, true);
  }
  for (const { id, target, slot, serverIds, serverSlots } of services) {
    for (const [index, server] of target.config.servers.entries()) {
      const first = octets * (serverSlots[index] ?? 0);
      const weight = (target.weights[index] ?? 0) || (target.reserves[index] ?? 0);
      view.setBigUint64(first + at.id, serverIds[index] ?? 0n, true);
      setWords(view, first + at.addr, addressWords(server.address));
      view.setUint16(first + at.port, server.port ?? 0);
      view.setUint16(first + at.flags, serverFlags(target, index), true);
      view.setUint32(first + at.service, slot, true);
      view.setUint32(first + at.max_flows, server.maxFlows ?? 0, true);
      // lc is wlc among equals.
      view.setUint32(first + at.weight, target.config.scheduler === 'lc' ? Math.min(weight, 1) : weight, true);
      if (target.config.tunnel !== null) {
        const fields = fieldsAt('fl_server', serverSlots[index] ?? 0);
        writeTunnel(view, fields, target.config.tunnel, sourceFirst.get(id) ?? 0);
      }
    }
  }
}

function serverFlags({ config, ends, weights, reserves }: TargetService, index: number): number {
  return (
    constants.serverUsed |
    (config.servers[index]?.address.family === 6 ? constants.serverV6 : 0) |
    (ends[index] === 'no' ? 0 : constants.serverEnded) |
    ((weights[index] ?? 0) === 0 && (reserves[index] ?? 0) > 0 ? constants.serverReserve : 0) |
    // What a server has lost may move for as long as it is known: also when the server is back.
    (config.onServerDown === 'rehash' && ends[index] !== 'reset' ? constants.serverMoves : 0)
  );
}

/** Every server has its service's tunnel, so that the data plane reads one line for both. */
function writeTunnel(view: DataView, at: FieldsAt<'fl_server'>, tunnel: TunnelConfig, source: number): void {
  const { type, key, ttl, dscp, port, clampMss, fragment } = tunnel;
  const flags =
    (key === null ? 0 : constants.tunnelKey) |
    (clampMss ? constants.tunnelClamp : 0) |
    (fragment ? constants.tunnelFragment : 0);
  view.setUint8(at('tunnel'), TUNNELS[type]);
  view.setUint8(at('tunnel_flags'), flags);
  view.setUint8(at('tunnel_ttl'), ttl ?? 0);
  view.setUint8(at('tunnel_dscp'), dscp ?? constants.tunnelInner);
  view.setUint8(at('source_bits'), Math.min(hostBits(tunnel.source), MOST_SOURCE_BITS));
  view.setUint16(at('tunnel_port'), port ?? 0);
  view.setUint32(at('tunnel_key'), key ?? 0);
  view.setUint32(at('source'), source, true);
}

/** A flow's tag, of which they are taken, has 16. */
const MOST_SOURCE_BITS = 16;

/** Only extents that are new; a table that did not change stays where it is, untouched. */
function writeTables(writer: ImageWriter, services: readonly PlannedService[], before: Placement): void {
  for (const { id, table } of services) {
    if (table.extent.count === 0 || before.tables.get(id)?.extent === table.extent) continue;
    const view = writer.block('tables', table.extent.count / ENTRIES_OF_PAIR, table.extent.first / ENTRIES_OF_PAIR);
    for (const [index, server] of table.content.entries()) view.setUint32(4 * index, server, true);
  }
}
