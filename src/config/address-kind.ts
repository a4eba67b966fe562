// Addresses that no service, server or source can have, by the special-purpose registries (RFC 6890).

import type { Address } from '../net/address.ts';
import { parsePrefix, prefixContains } from '../net/prefix.ts';

const UNUSABLE = [
  ['0.0.0.0/8', 'unspecified'],
  ['127.0.0.0/8', 'a loopback address'],
  ['224.0.0.0/4', 'a multicast address'],
  ['255.255.255.255/32', 'the broadcast address'],
  ['240.0.0.0/4', 'reserved'],
  ['::/128', 'unspecified'],
  ['::1/128', 'a loopback address'],
  ['ff00::/8', 'a multicast address'],
  ['::ffff:0:0/96', 'IPv4 in IPv6 writing'],
  // It would need a zone to say on which link; two links may use the same one.
  ['fe80::/10', 'a link-local address'],
] as const;

const KINDS = UNUSABLE.flatMap(([text, kind]) => {
  const prefix = parsePrefix(text);
  return prefix === null ? [] : [{ prefix, kind }];
});

/** What keeps the address from being used on the wire, in words, or null when nothing does. */
export function unusableKind(address: Address): string | null {
  return KINDS.find(({ prefix }) => prefixContains(prefix, address))?.kind ?? null;
}
