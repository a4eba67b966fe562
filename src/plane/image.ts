// From the target to an image: who gets which slot and extent (the placement), and the blocks of every double-buffered
// section. Pure: the placement that comes back is the one to go on with once the commit has gone through; until then
// nothing has happened.
//
// Most changes are of one service's weights. So an image goes on from the last one: blocks that only the roster makes are
// taken as they are, those of services and servers begin as they were, and only services that are not are written. From
// scratch is the same with nothing to go on from, and makes the same octets.

import type { Timeouts } from '../config/config.ts';
import { constants, stateNames } from '../native/layout.ts';
import { maskOf } from '../net/prefix.ts';
import { flowsFor } from './capacity.ts';
import { addressWords } from './config-hash.ts';
import { type Block, fieldsAt, ImageWriter, setWords, ticksFor } from './image-writer.ts';
import { type RosterBlocks, writeRoster } from './image-roster.ts';
import { type PlannedService, writeServers, writeServices } from './image-services.ts';
import { ENTRIES_OF_PAIR, placeTables, type Placement } from './placement.ts';
import type { SectionCounts } from './plane.ts';
import { enrol, type Roster } from './roster.ts';
import { endFlows } from './slots.ts';
import type { PoolMoment } from './table-pool.ts';
import type { Target, TargetInterface } from './target.ts';

export interface ImagePlan {
  readonly image: ArrayBuffer;
  readonly placement: Placement;
}

/** What the next image can go on from. */
export interface MadeImage {
  readonly roster: Roster;
  readonly ofRoster: RosterBlocks;
  readonly planned: readonly PlannedService[];
  readonly services: Block;
  readonly servers: Block;
}

/** Throws FairleadError (refused) when the target outgrows the region. */
export function planImage(target: Target, before: Placement, counts: SectionCounts, moment: PoolMoment): ImagePlan {
  const { roster, services, servers: holders } = enrol(target.services, before, counts);
  const { tables, pool } = placeTables(before, roster, target.services, moment);
  // With another roster no block fits.
  const former = before.made?.roster === roster ? before.made : null;
  const planned = roster.map((place, index): PlannedService => {
    const [table, was] = [tables.get(place.slot)!, former?.planned[index]];
    // A table is the same one only as long as what it was made from is.
    return was?.table === table ? was : { target: target.services[index]!, place, table };
  });
  const servers = endFlows(holders, endingSlots(planned));

  const writer = new ImageWriter();
  const ofRoster = writeRoster(writer, roster, counts, former?.ofRoster ?? null);
  writeSettings(writer, target, ofRoster);
  writeInterfaces(writer, target.interfaces, counts.interfaces);
  const blocks = {
    services: writeServices(writer, services, planned, ofRoster, flowsFor(counts.flows), former),
    servers: writeServers(writer, servers, planned, ofRoster, former),
  };
  writeTables(writer, planned, before);
  const made = { roster, ofRoster, planned, ...blocks };
  return { image: writer.finish(), placement: { services, servers, tables, pool, made } };
}

/** Of servers that keep no flow. */
function endingSlots(planned: readonly PlannedService[]): Set<number> {
  const ending = new Set<number>();
  for (const { target, place } of planned) {
    for (let at = 0; at < target.ends.length; at++) if (target.ends[at] !== 'no') ending.add(place.serverSlots[at]!);
  }
  return ending;
}

/**
 * ICMP errors a worker may originate: 1000 a second, as Linux allows itself, in ticks of 0.134 s. A RST is never longer
 * than what it answers, and so is only kept from flooding whose address was forged: 10,000 a second.
 */
const ICMP_PER_TICK = 134;
const RST_PER_TICK = 1342;

function writeSettings(writer: ImageWriter, target: Target, { masks, natServers }: RosterBlocks): void {
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
  for (const [index, { first, count }] of natServers.entries()) {
    view.setUint32(at('nat_first') + 4 * index, first, true);
    view.setUint32(at('nat_count') + 4 * index, count, true);
  }
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

/** Only extents that are new; a table that did not change stays where it is, untouched. */
function writeTables(writer: ImageWriter, planned: readonly PlannedService[], before: Placement): void {
  for (const { place, table } of planned) {
    if (table.extent.count === 0 || before.tables.get(place.slot)?.extent === table.extent) continue;
    const view = writer.block('tables', table.extent.count / ENTRIES_OF_PAIR, table.extent.first / ENTRIES_OF_PAIR);
    new Uint32Array(view.buffer, view.byteOffset, table.content.length).set(table.content);
  }
}
