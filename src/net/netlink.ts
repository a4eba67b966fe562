// The host as the kernel describes it: links and addresses out of netlink dumps (RTM_GETLINK, RTM_GETADDR). What cannot
// be read (another family, a link without a name) is left out.

import { type Address, addressFromBytes } from './address.ts';
import { formatMac } from './mac.ts';
import { attributesOf, bytesOf, messagesOf, textOf, u32Of } from './netlink-message.ts';
import type { Prefix } from './prefix.ts';

export interface Link {
  readonly name: string;
  readonly index: number;
  /** Empty when the link has none of Ethernet's size. */
  readonly mac: string;
  readonly mtu: number;
  /** Switched on by the administrator. */
  readonly isUp: boolean;
  /** Has a carrier. */
  readonly isRunning: boolean;
  /** Index of the bridge, bond or VRF it belongs to. */
  readonly master?: number;
  /** "veth", "bridge", "vlan"; physical cards have none. */
  readonly kind?: string;
}

export interface LinkAddress {
  /** Of the link that carries it. */
  readonly index: number;
  readonly prefix: Prefix;
}

/** linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/if.h */
const RTM_NEWLINK = 16;
const RTM_NEWADDR = 20;
const LINK_HEADER = 16;
const ADDRESS_HEADER = 8;
const IFLA = { address: 1, name: 3, mtu: 4, master: 10, linkInfo: 18 } as const;
const IFLA_INFO_KIND = 1;
const IFA = { address: 1, local: 2 } as const;
const IFF_UP = 0x1;
const IFF_LOWER_UP = 0x10000;

/** Links of a dump of RTM_GETLINK, in the kernel's order. */
export function parseLinks(dump: ArrayBuffer | ArrayBufferView): Link[] {
  return [...messagesOf(dump, RTM_NEWLINK)].flatMap(({ body }) => {
    if (body.byteLength < LINK_HEADER) return [];
    const attributes = attributesOf(body, LINK_HEADER);
    const name = textOf(attributes.get(IFLA.name));
    if (name === undefined) return [];
    const mac = attributes.get(IFLA.address);
    const master = u32Of(attributes.get(IFLA.master));
    const info = attributes.get(IFLA.linkInfo);
    const kind = info && textOf(attributesOf(info, 0).get(IFLA_INFO_KIND));
    const flags = body.getUint32(8, true);
    return {
      name,
      index: body.getUint32(4, true),
      mac: mac?.byteLength === 6 ? formatMac(bytesOf(mac)) : '',
      mtu: u32Of(attributes.get(IFLA.mtu)) ?? 0,
      isUp: (flags & IFF_UP) !== 0,
      isRunning: (flags & IFF_LOWER_UP) !== 0,
      ...(master !== undefined && { master }),
      ...(kind !== undefined && { kind }),
    };
  });
}

/**
 * Addresses of a dump of RTM_GETADDR. On a point-to-point link the prefix belongs to the peer, and the own address
 * stands alone: "10.0.0.1 peer 10.0.0.2/31" is 10.0.0.1/32.
 */
export function parseAddresses(dump: ArrayBuffer | ArrayBufferView): LinkAddress[] {
  return [...messagesOf(dump, RTM_NEWADDR)].flatMap(({ body }) => {
    if (body.byteLength < ADDRESS_HEADER) return [];
    const attributes = attributesOf(body, ADDRESS_HEADER);
    const peer = addressOf(attributes.get(IFA.address));
    const address = addressOf(attributes.get(IFA.local)) ?? peer;
    if (address === undefined) return [];
    const isAlone = peer !== undefined && peer.text !== address.text;
    const length = isAlone ? address.bytes.length * 8 : body.getUint8(1);
    return { index: body.getUint32(4, true), prefix: { address, length } };
  });
}

/** An attribute of 4 or 16 bytes as an address. */
export function addressOf(attribute: DataView | undefined): Address | undefined {
  return attribute?.byteLength === 4 || attribute?.byteLength === 16 ? addressFromBytes(bytesOf(attribute)) : undefined;
}

/** Links and addresses joined by the link's name; an address whose link went between the two dumps is left out. */
export function hostViewOf(
  links: readonly Link[],
  addresses: readonly LinkAddress[],
): { links: readonly Link[]; addresses: { link: string; prefix: Prefix }[] } {
  const names = new Map(links.map(({ index, name }) => [index, name]));
  const named = addresses.flatMap(({ index, prefix }) => {
    const link = names.get(index);
    return link === undefined ? [] : { link, prefix };
  });
  return { links, addresses: named };
}
