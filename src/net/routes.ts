// Routes and neighbours out of netlink dumps (RTM_GETROUTE, RTM_GETNEIGH), for people to look at: packets follow the
// native neighbour thread, which asks the kernel for each server instead of searching here.

import { type Address, addressFromBytes } from './address.ts';
import { formatMac } from './mac.ts';
import { addressOf } from './netlink.ts';
import { type Attributes, attributesOf, bytesOf, messagesOf, u32Of } from './netlink-message.ts';
import type { Prefix } from './prefix.ts';

export interface Route {
  readonly destination: Prefix;
  /** 254 is main, 255 local. */
  readonly table: number;
  /** Absent where the route leads nowhere: unreachable, blackhole. */
  readonly outIndex?: number;
  readonly gateway?: Address;
  /** The source address that the host prefers on this route. */
  readonly preferredSource?: Address;
}

export interface Neighbour {
  readonly index: number;
  readonly address: Address;
  /** Absent until it is resolved. */
  readonly mac?: string;
  readonly state: NeighbourState;
}

/** linux/neighbour.h, NUD_*; none is 0. */
const STATES = {
  incomplete: 0x01,
  reachable: 0x02,
  stale: 0x04,
  delay: 0x08,
  probe: 0x10,
  failed: 0x20,
  noarp: 0x40,
  permanent: 0x80,
} as const;

export type NeighbourState = keyof typeof STATES | 'none';

const STATE_NAMES = Object.entries(STATES) as [keyof typeof STATES, number][];

/** linux/rtnetlink.h, linux/neighbour.h */
const RTM_NEWROUTE = 24;
const RTM_NEWNEIGH = 28;
const ROUTE_HEADER = 12;
const NEXT_HOP_HEADER = 8;
const NEIGHBOUR_HEADER = 12;
const RTM_F_CLONED = 0x200;
const RTA = { destination: 1, out: 4, gateway: 5, preferredSource: 7, multipath: 9, table: 15, via: 18 } as const;
const NDA = { address: 1, mac: 2 } as const;
const AF_INET = 2;
const AF_INET6 = 10;

/** Routes of a dump of RTM_GETROUTE, one for each path of a multipath route; cached ones are left out. */
export function parseRoutes(dump: ArrayBuffer | ArrayBufferView): Route[] {
  return [...messagesOf(dump, RTM_NEWROUTE)].flatMap(({ body }) => {
    if (body.byteLength < ROUTE_HEADER || (body.getUint32(8, true) & RTM_F_CLONED) !== 0) return [];
    const family = body.getUint8(0);
    if (family !== AF_INET && family !== AF_INET6) return [];
    const attributes = attributesOf(body, ROUTE_HEADER);
    const anywhere = addressFromBytes(new Uint8Array(family === AF_INET ? 4 : 16));
    const preferredSource = addressOf(attributes.get(RTA.preferredSource));
    const common = {
      destination: { address: addressOf(attributes.get(RTA.destination)) ?? anywhere, length: body.getUint8(1) },
      table: u32Of(attributes.get(RTA.table)) ?? body.getUint8(4),
      ...(preferredSource && { preferredSource }),
    };
    const multipath = attributes.get(RTA.multipath);
    if (multipath !== undefined) return pathsOf(multipath).map((path) => ({ ...common, ...path }));
    const outIndex = u32Of(attributes.get(RTA.out));
    return { ...common, ...(outIndex !== undefined && { outIndex }), ...gatewayOf(attributes) };
  });
}

/** struct rtnexthop: length, flags, weight, link, then attributes of its own. */
function pathsOf(multipath: DataView): Pick<Route, 'outIndex' | 'gateway'>[] {
  const paths: Pick<Route, 'outIndex' | 'gateway'>[] = [];
  for (let at = 0; at + NEXT_HOP_HEADER <= multipath.byteLength; ) {
    const length = multipath.getUint16(at, true);
    if (length < NEXT_HOP_HEADER || at + length > multipath.byteLength) break;
    const path = new DataView(multipath.buffer, multipath.byteOffset + at, length);
    paths.push({ outIndex: path.getUint32(4, true), ...gatewayOf(attributesOf(path, NEXT_HOP_HEADER)) });
    at += (length + 3) & ~3;
  }
  return paths;
}

/** RTA_VIA, a family and an address, is how an IPv4 route names an IPv6 gateway. */
function gatewayOf(attributes: Attributes): Pick<Route, 'gateway'> {
  const via = attributes.get(RTA.via);
  const named = via && new DataView(via.buffer, via.byteOffset + 2, Math.max(0, via.byteLength - 2));
  const gateway = addressOf(attributes.get(RTA.gateway)) ?? addressOf(named);
  return gateway === undefined ? {} : { gateway };
}

/** Neighbours of a dump of RTM_GETNEIGH, both families; a bridge's forwarding entries are left out. */
export function parseNeighbours(dump: ArrayBuffer | ArrayBufferView): Neighbour[] {
  return [...messagesOf(dump, RTM_NEWNEIGH)].flatMap(({ body }) => {
    if (body.byteLength < NEIGHBOUR_HEADER) return [];
    const attributes = attributesOf(body, NEIGHBOUR_HEADER);
    const address = addressOf(attributes.get(NDA.address));
    if (address === undefined) return [];
    const mac = attributes.get(NDA.mac);
    const bits = body.getUint16(8, true);
    return {
      index: body.getUint32(4, true),
      address,
      ...(mac?.byteLength === 6 && { mac: formatMac(bytesOf(mac)) }),
      state: STATE_NAMES.find(([, bit]) => (bits & bit) !== 0)?.[0] ?? 'none',
    };
  });
}
