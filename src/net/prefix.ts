// An address with a prefix length: what an interface carries ("10.0.1.1/24") and what a route covers. The host bits
// are kept, because an interface's own address is worth as much as its network.

import { type Address, addressFromBytes, parseAddress } from './address.ts';

export interface Prefix {
  readonly address: Address;
  /** 0..32 for IPv4, 0..128 for IPv6. */
  readonly length: number;
}

/** Reads "10.0.1.0/24" or "2001:db8::/32"; null when it is neither or the length does not fit the family. */
export function parsePrefix(text: string): Prefix | null {
  const match = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text);
  const address = parseAddress(match?.[1] ?? '');
  const length = Number(match?.[2]);
  return address === null || !(length <= address.bytes.length * 8) ? null : { address, length };
}

export function formatPrefix(prefix: Prefix): string {
  return `${prefix.address.text}/${prefix.length}`;
}

/** True when the address lies in the prefix's network; the other family never does. */
export function prefixContains(prefix: Prefix, address: Address): boolean {
  if (prefix.address.family !== address.family) return false;
  return address.bytes.every((byte, i) => ((byte ^ (prefix.address.bytes[i] ?? 0)) & maskByte(prefix.length, i)) === 0);
}

/** How many bits its hosts differ in: 10.0.1.0/24 → 8. */
export function hostBits({ address, length }: Prefix): number {
  return address.bytes.length * 8 - length;
}

/** The netmask: 10.0.1.7/24 → 255.255.255.0. */
export function maskOf({ address, length }: Prefix): Address {
  return addressFromBytes(address.bytes.map((_, i) => maskByte(length, i)));
}

/** The first address of the network: 10.0.1.7/24 → 10.0.1.0. */
export function networkOf(prefix: Prefix): Address {
  return addressFromBytes(prefix.address.bytes.map((byte, i) => byte & maskByte(prefix.length, i)));
}

/** The last address of the network; for IPv4 networks up to /30 this is the directed broadcast: 10.0.1.7/24 → 10.0.1.255. */
export function lastOf(prefix: Prefix): Address {
  return addressFromBytes(prefix.address.bytes.map((byte, i) => byte | (~maskByte(prefix.length, i) & 0xff)));
}

/** Byte `index` of the netmask of a prefix of `length` bits. */
function maskByte(length: number, index: number): number {
  const bits = Math.min(8, Math.max(0, length - 8 * index));
  return (0xff << (8 - bits)) & 0xff;
}
