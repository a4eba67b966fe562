// Internet checksums from scratch (RFC 1071): the words are added up one by one. Shares nothing with the core, which
// only ever updates a sum that is there.

import type { Address } from '../../src/net/address.ts';

/** The folded ones' complement sum of big-endian words; an odd octet counts as the high half of one. */
export function sumOf(octets: Uint8Array, start = 0): number {
  let sum = start;
  for (let at = 0; at < octets.length; at += 2) sum += (octets[at]! << 8) | (octets[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** RFC 793 §3.1, RFC 8200 §8.1. */
export function pseudoHeaderSum(from: Address, to: Address, protocol: number, length: number): number {
  return sumOf(to.bytes, sumOf(from.bytes, protocol + length));
}

export function checksumOf(octets: Uint8Array, start = 0): number {
  return ~sumOf(octets, start) & 0xffff;
}
