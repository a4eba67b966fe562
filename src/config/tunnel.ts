// Tunnels of l3-dsr: how their source is written, and what a tunnel takes from each packet.

import { parseAddress } from '../net/address.ts';
import { networkOf, parsePrefix, type Prefix } from '../net/prefix.ts';
import type { TunnelConfig } from './config.ts';
import type { Parsed } from './endpoint.ts';

/** IANA's port for GUE. */
export const GUE_PORT = 6080;

/** "192.0.2.1", or "192.0.2.0/28" when outer sources shall vary with the flow. */
export function parseTunnelSource(text: string): Parsed<Prefix> {
  const address = parseAddress(text);
  if (address !== null) return { value: { address, length: address.bytes.length * 8 } };
  const prefix = parsePrefix(text);
  if (prefix === null) {
    const hint = 'write it like 192.0.2.1, 2001:db8::1 or 192.0.2.0/28';
    return { problem: `tunnel source "${text}" is no IP address or prefix`, hint };
  }
  const network = networkOf(prefix);
  if (network.text === prefix.address.text) return { value: prefix };
  return {
    problem: `tunnel source "${text}" has bits set behind its length`,
    hint: `${network.text}/${prefix.length} is the prefix, ${prefix.address.text} the address`,
  };
}

/** "192.0.2.1" or "192.0.2.0/28", as parseTunnelSource reads it. */
export function formatTunnelSource({ address, length }: Prefix): string {
  return length === address.bytes.length * 8 ? address.text : `${address.text}/${length}`;
}

/** Octets of each packet that the outer headers take: RFC 791 and 8200, RFC 2784 and 2890, RFC 768 and GUE's four. */
export function tunnelOverhead({ type, source, key }: TunnelConfig): number {
  const outer = source.address.family === 4 ? 20 : 40;
  switch (type) {
    case 'gre':
      return outer + 4 + (key === null ? 0 : 4);
    case 'gue':
      return outer + 8 + 4;
    default:
      return outer;
  }
}
