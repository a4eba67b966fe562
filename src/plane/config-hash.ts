// The plain hash that places configuration, the same as fl_config_hash of native/core/hash.h, and open addressing over
// it as the core looks things up: an entry lies within `probes` slots of its home, wrapping around.

import { constants } from '../native/layout.ts';
import type { Address } from '../net/address.ts';

export type Words = readonly [number, number, number, number];

/** An address as struct fl_addr: four little-endian words over the bytes in network order, IPv4 in the first. */
export function addressWords(address: Address): Words {
  const { bytes } = address;
  if (address.family === 4) return [wordAt(bytes, 0), 0, 0, 0];
  return [wordAt(bytes, 0), wordAt(bytes, 4), wordAt(bytes, 8), wordAt(bytes, 12)];
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/** Second argument of configHash: the port as it lies in memory (network order read little-endian), protocol above it. */
export function portAndProtocol(port: number, protocol: number): number {
  return swap16(port) | (protocol << 16);
}

export function swap16(port: number): number {
  return ((port & 0xff) << 8) | (port >> 8);
}

export function configHash(words: Words, key: number): number {
  let hash = 0x9e3779b9 ^ key;
  for (const word of words) {
    hash = Math.imul(hash ^ word, 0x85ebca6b);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

export interface HashTable<T> {
  /** Size less one; the size is a power of two. */
  readonly mask: number;
  readonly slots: readonly (T | undefined)[];
}

/**
 * Places entries in the smallest power-of-two table, from twice their number on, in which each lies within reach of its
 * home. Null when that table would need more than `capacity` slots.
 */
export function placeAll<T>(
  entries: readonly T[],
  hashOf: (entry: T) => number,
  capacity: number,
): HashTable<T> | null {
  for (let size = sizeFor(entries.length); size <= capacity; size *= 2) {
    const slots = tryPlace(entries, hashOf, size);
    if (slots !== null) return { mask: size - 1, slots };
  }
  return null;
}

/** Slots that the placing starts with: a power of two, at most half full, at least 8. */
export function sizeFor(entries: number): number {
  let size = 8;
  while (size < entries * 2) size *= 2;
  return size;
}

function tryPlace<T>(entries: readonly T[], hashOf: (entry: T) => number, size: number): (T | undefined)[] | null {
  const slots = Array<T | undefined>(size).fill(undefined);
  for (const entry of entries) {
    const home = hashOf(entry);
    let distance = 0;
    while (distance < constants.probes && slots[(home + distance) & (size - 1)] !== undefined) distance++;
    if (distance === constants.probes) return null;
    slots[(home + distance) & (size - 1)] = entry;
  }
  return slots;
}
