// The part of an image that finds a frame's service: owned addresses, exact ports, port ranges. Hash tables as
// config-hash.ts places them.

import type { Listen, Protocol } from '../config/config.ts';
import { constants } from '../native/layout.ts';
import type { Address } from '../net/address.ts';
import { addressWords, configHash, placeAll, portAndProtocol } from './config-hash.ts';
import { isSinglePort } from './config-shape.ts';
import { fieldsAt, type ImageWriter, setWords } from './image-writer.ts';
import type { SectionCounts } from './plane.ts';
import type { Roster } from './roster.ts';
import { tooMany } from './slots.ts';

const PROTOCOLS: Record<Protocol, number> = { tcp: 6, udp: 17 };

export interface Masks {
  readonly vip: number;
  readonly listen: number;
}

interface Vip {
  readonly address: Address;
  flags: number;
  readonly ranges: { listen: Listen; service: number }[];
}

export function writeFrontDoor(writer: ImageWriter, roster: Roster, counts: SectionCounts): Masks {
  return {
    vip: writeVips(writer, collectVips(roster), counts),
    listen: writeListens(writer, roster, counts.listens),
  };
}

function vipFlags(isSource: boolean, isHairpin: boolean): number {
  return constants.vipListens | (isSource ? constants.vipSource : 0) | (isHairpin ? constants.vipHairpin : 0);
}

function collectVips(roster: Roster): Vip[] {
  const vips = new Map<string, Vip>();
  const own = (address: Address, flags: number): Vip => {
    const family = address.family === 6 ? constants.vipV6 : 0;
    const vip = vips.get(address.text) ?? { address, flags: constants.vipUsed | family, ranges: [] };
    vip.flags |= flags;
    vips.set(address.text, vip);
    return vip;
  };
  for (const { config, slot } of roster) {
    const { listens, method, sources, hairpin } = config;
    const isHairpin = method === 'nat' && hairpin === 'snat';
    const isSource = method === 'full-nat' && sources.length === 0;
    for (const listen of listens) {
      const vip = own(listen.vip, vipFlags(isSource, isHairpin));
      if (!isSinglePort(listen)) vip.ranges.push({ listen, service: slot });
    }
    for (const source of sources) own(source, constants.vipSource);
  }
  return [...vips.values()];
}

function writeVips(writer: ImageWriter, vips: readonly Vip[], counts: SectionCounts): number {
  const table = placeAll(vips, (vip) => configHash(addressWords(vip.address), 0), counts.vips);
  if (table === null) throw tooMany('virtual addresses', vips.length, Math.floor(counts.vips / 4));
  const total = vips.reduce((sum, vip) => sum + vip.ranges.length, 0);
  if (total > counts.ranges) throw tooMany('port ranges', total, counts.ranges);
  const view = writer.block('vips', table.slots.length);
  const ranges = writer.block('ranges', total);
  let rangeFirst = 0;
  for (const [index, vip] of table.slots.entries()) {
    if (vip === undefined) continue;
    const at = fieldsAt('fl_vip', index);
    setWords(view, at('addr'), addressWords(vip.address));
    view.setUint32(at('flags'), vip.flags, true);
    view.setUint32(at('range_first'), rangeFirst, true);
    view.setUint32(at('range_count'), vip.ranges.length, true);
    writeRanges(ranges, rangeFirst, vip);
    rangeFirst += vip.ranges.length;
  }
  return table.mask;
}

/** Narrowest first: the first one that holds the port is the one that was meant. */
function writeRanges(view: DataView, first: number, vip: Vip): void {
  if (vip.ranges.length > constants.rangesPerVip) {
    throw tooMany(`port ranges on ${vip.address.text}`, vip.ranges.length, constants.rangesPerVip);
  }
  const width = (listen: Listen): number => listen.lastPort - listen.firstPort;
  const sorted = vip.ranges.toSorted((a, b) => width(a.listen) - width(b.listen));
  for (const [index, { listen, service }] of sorted.entries()) {
    const at = fieldsAt('fl_range', first + index);
    view.setUint16(at('first_host'), listen.firstPort, true);
    view.setUint16(at('last_host'), listen.lastPort, true);
    view.setUint32(at('protocol'), PROTOCOLS[listen.protocol], true);
    view.setUint32(at('service'), service, true);
  }
}

function writeListens(writer: ImageWriter, roster: Roster, capacity: number): number {
  const listens = roster.flatMap(({ config, slot }) =>
    config.listens.filter(isSinglePort).map((listen) => ({ listen, slot })),
  );
  const table = placeAll(listens, ({ listen }) => hashOf(listen.vip, listen.firstPort, listen.protocol), capacity);
  if (table === null) throw tooMany('listens', listens.length, Math.floor(capacity / 4));
  const view = writer.block('listens', table.slots.length);
  for (const [index, entry] of table.slots.entries()) {
    if (entry === undefined) continue;
    const { vip, firstPort, protocol } = entry.listen;
    const at = fieldsAt('fl_listen', index);
    setWords(view, at('addr'), addressWords(vip));
    view.setUint16(at('port'), firstPort);
    view.setUint8(at('protocol'), PROTOCOLS[protocol]);
    view.setUint8(at('flags'), constants.listenUsed | (vip.family === 6 ? constants.listenV6 : 0));
    view.setUint32(at('service'), entry.slot, true);
  }
  return table.mask;
}

function hashOf(address: Address, port: number, protocol: Protocol): number {
  return configHash(addressWords(address), portAndProtocol(port, PROTOCOLS[protocol]));
}
