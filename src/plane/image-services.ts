// The part of an image that changes with every health change: services, with where their tables lie, and servers, with
// weights and generations. What is as it was in the last image of the same roster stays as it is written there.

import type { ServiceConfig, TunnelConfig } from '../config/config.ts';
import { halfOpenMost } from '../config/half-open.ts';
import type { StickyPlan } from '../config/sticky.ts';
import { constants, layout } from '../native/layout.ts';
import { hostBits } from '../net/prefix.ts';
import { addressWords } from './config-hash.ts';
import type { RosterBlocks } from './image-roster.ts';
import { type Block, fieldsAt, type FieldsAt, type ImageWriter, setWords, ticksFor } from './image-writer.ts';
import type { PlacedTable } from './placement.ts';
import type { ServicePlace } from './roster.ts';
import type { SlotTable } from './slots.ts';
import type { TargetService } from './target.ts';

/** What one service becomes; the same object for as long as nothing of it changes. */
export interface PlannedService {
  readonly target: TargetService;
  readonly place: ServicePlace;
  readonly table: PlacedTable;
}

/** Of the last image, with the same roster. */
export interface FormerServices {
  readonly planned: readonly PlannedService[];
  readonly services: Block;
  readonly servers: Block;
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

export function writeServices(
  writer: ImageWriter,
  slots: SlotTable,
  planned: readonly PlannedService[],
  { sourceFirst, limits }: RosterBlocks,
  flows: number,
  former: FormerServices | null,
): Block {
  const view = former === null ? writer.block('services', slots.length) : writer.copy(former.services);
  for (const [index, service] of planned.entries()) {
    if (service === former?.planned[index]) continue;
    const { target, place, table } = service;
    const { method, scheduler, hash, listens, sources } = target.config;
    const at = fieldsAt('fl_service', place.slot);
    view.setBigUint64(at('id'), place.id, true);
    view.setUint8(at('method'), METHODS[method]);
    view.setUint8(at('scheduler'), SCHEDULERS[scheduler]);
    view.setUint8(at('hash_by'), hash === 'client' ? constants.hashClient : constants.hashClientPort);
    view.setUint8(at('is_v6'), listens[0]?.vip.family === 6 ? 1 : 0);
    view.setUint32(at('table_first'), table.extent.first, true);
    view.setUint32(at('table_count'), table.tableCount, true);
    view.setUint32(at('member_first'), table.extent.first + table.tableCount, true);
    view.setUint32(at('member_count'), table.memberCount, true);
    view.setUint32(at('reserve_count'), table.content.length - table.tableCount - table.memberCount, true);
    view.setUint32(at('source_first'), sourceFirst[index] ?? 0, true);
    view.setUint32(at('source_count'), sources.length, true);
    view.setUint32(at('flags'), serviceFlags(target.config), true);
    view.setUint32(at('limit'), limits[index] ?? 0, true);
    writeSticky(view, at, target.config.sticky);
    view.setUint32(at('half_open'), halfOpenMost(target.config, flows) ?? 0, true);
  }
  return view;
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

export function writeServers(
  writer: ImageWriter,
  slots: SlotTable,
  planned: readonly PlannedService[],
  { sourceFirst }: RosterBlocks,
  former: FormerServices | null,
): Block {
  const view = former === null ? writer.block('servers', slots.length) : writer.copy(former.servers);
  // Of all there is by far the most of these, so their fields are looked up once.
  const { octets, ...at } = layout.fl_server;
  for (let slot = 0; slot < slots.length; slot++) {
    // A free slot keeps its generation: it must not come back with one that old flows carry.
    view.setUint32(octets * slot + at.generation, slots[slot]!.generation, true);
  }
  for (const [index, service] of planned.entries()) {
    if (service === former?.planned[index]) continue;
    const { target, place } = service;
    for (const [position, server] of target.config.servers.entries()) {
      const slot = place.serverSlots[position] ?? 0;
      const first = octets * slot;
      const weight = (target.weights[position] ?? 0) || (target.reserves[position] ?? 0);
      view.setBigUint64(first + at.id, place.serverIds[position] ?? 0n, true);
      setWords(view, first + at.addr, addressWords(server.address));
      view.setUint16(first + at.port, server.port ?? 0);
      view.setUint16(first + at.flags, serverFlags(target, position), true);
      view.setUint32(first + at.service, place.slot, true);
      view.setUint32(first + at.max_flows, server.maxFlows ?? 0, true);
      // lc is wlc among equals.
      view.setUint32(first + at.weight, target.config.scheduler === 'lc' ? Math.min(weight, 1) : weight, true);
      if (target.config.tunnel !== null) {
        writeTunnel(view, fieldsAt('fl_server', slot), target.config.tunnel, sourceFirst[index] ?? 0);
      }
    }
  }
  return view;
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
