// A snapshot of a host as far as a configuration cares: links, addresses, and where the host would send to a neighbour.

import type { Address } from '../net/address.ts';
import { type Prefix, prefixContains } from '../net/prefix.ts';

export interface HostView {
  readonly links: readonly HostLink[];
  readonly addresses: readonly HostAddress[];
}

export interface HostLink {
  readonly name: string;
  readonly index: number;
  readonly mac: string;
  readonly mtu: number;
  readonly isUp: boolean;
}

export interface HostAddress {
  /** Name of the link that carries it. */
  readonly link: string;
  /** The address itself and the length of its network's prefix. */
  readonly prefix: Prefix;
}

/** The most specific connected network of the given links that holds the address: where the host would send it. */
export function findConnected(
  address: Address,
  host: HostView,
  links: readonly (string | undefined)[],
): HostAddress | undefined {
  return host.addresses
    .filter(({ link, prefix }) => links.includes(link) && prefixContains(prefix, address))
    .toSorted((a, b) => b.prefix.length - a.prefix.length)[0];
}
