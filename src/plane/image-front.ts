// The part of an image that finds a frame's service: owned addresses, exact ports, port ranges, and for replies without
// a flow the server they came from. Hash tables as config-hash.ts places them.

import type { Listen, Protocol } from '../config/config.ts';
import { constants } from '../native/layout.ts';
import type { Address } from '../net/address.ts';
import { addressWords, configHash, placeAll, portAndProtocol } from './config-hash.ts';
import { isSinglePort } from './config-shape.ts';
import type { PlannedService } from './image.ts';
import { fieldsAt, type ImageWriter, setWords } from './image-writer.ts';
import type { SectionCounts } from './plane.ts';
import { tooMany } from './slots.ts';

const PROTOCOLS: Record<Protocol, number> = { tcp: 6, udp: 17 };

export interface Masks {
  readonly vip: number;
  readonly listen: number;
  readonly endpoint: number;
}

interface Vip {
  readonly address: Address;
  flags: number;
  readonly ranges: { listen: Listen; service: number }[];
}

export function writeFrontDoor(writer: ImageWriter, services: readonly PlannedService[], counts: SectionCounts): Masks {
  return {
    vip: writeVips(writer, collectVips(services), counts),
    listen: writeListens(writer, services, counts.listens),
    endpoint: writeEndpoints(writer, services, counts.endpoints),
  };
}

function collectVips(services: readonly PlannedService[]): Vip[] {
  const vips = new Map<string, Vip>();
  const own = (address: Address, flags: number): Vip => {
    const family = address.family === 6 ? constants.vipV6 : 0;
    const vip = vips.get(address.text) ?? { address, flags: constants.vipUsed | family, ranges: [] };
    vip.flags |= flags;
    vips.set(address.text, vip);
    return vip;
  };
  for (const { target, slot } of services) {
    const { listens, method, sources } = target.config;
    const isSource = method === 'full-nat' && sources.length === 0;
    for (const listen of listens) {
      const vip = own(listen.vip, constants.vipListens | (isSource ? constants.vipSource : 0));
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

function writeListens(writer: ImageWriter, services: readonly PlannedService[], capacity: number): number {
  const listens = services.flatMap(({ target, slot }) =>
    target.config.listens.filter(isSinglePort).map((listen) => ({ listen, slot })),
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

interface Endpoint {
  readonly address: Address;
  readonly port: number;
  readonly protocol: Protocol;
  readonly server: number;
  readonly vip: Address;
  readonly vipPort: number;
}

/**
 * One entry for each server port of a nat service, pointing back to the first listen that leads there. A port range has
 * none: which of its ports a reply without a flow belongs to is known only where ports are kept, and then a range may
 * have 65,535 of them.
 */
function collectEndpoints(services: readonly PlannedService[]): Endpoint[] {
  const endpoints = new Map<string, Endpoint>();
  for (const { target, serverSlots } of services) {
    if (target.config.method !== 'nat') continue;
    for (const { vip, firstPort, protocol } of target.config.listens.filter(isSinglePort)) {
      for (const [index, { address, port: own }] of target.config.servers.entries()) {
        const port = own ?? firstPort;
        const key = `${address.text} ${port} ${protocol}`;
        const server = serverSlots[index] ?? 0;
        if (!endpoints.has(key)) endpoints.set(key, { address, port, protocol, server, vip, vipPort: firstPort });
      }
    }
  }
  return [...endpoints.values()];
}

function writeEndpoints(writer: ImageWriter, services: readonly PlannedService[], capacity: number): number {
  const endpoints = collectEndpoints(services);
  const table = placeAll(endpoints, ({ address, port, protocol }) => hashOf(address, port, protocol), capacity);
  if (table === null) throw tooMany('server ports', endpoints.length, Math.floor(capacity / 4));
  const view = writer.block('endpoints', table.slots.length);
  for (const [index, endpoint] of table.slots.entries()) {
    if (endpoint === undefined) continue;
    const at = fieldsAt('fl_endpoint', index);
    setWords(view, at('addr'), addressWords(endpoint.address));
    view.setUint16(at('port'), endpoint.port);
    view.setUint8(at('protocol'), PROTOCOLS[endpoint.protocol]);
    view.setUint8(at('flags'), constants.endpointUsed | (endpoint.address.family === 6 ? constants.endpointV6 : 0));
    view.setUint32(at('server'), endpoint.server, true);
    setWords(view, at('vip'), addressWords(endpoint.vip));
    view.setUint16(at('vip_port'), endpoint.vipPort);
  }
  return table.mask;
}

function hashOf(address: Address, port: number, protocol: Protocol): number {
  return configHash(addressWords(address), portAndProtocol(port, PROTOCOLS[protocol]));
}
