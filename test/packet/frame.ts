// Frames said in words and built octet by octet, with every checksum computed anew. What a case expects is built by the
// same words with other values, so that nothing of the core's arithmetic is believed.

import { parseAddress, type Address } from '../../src/net/address.ts';
import { parseMac } from '../../src/net/mac.ts';
import { checksumOf, pseudoHeaderSum } from './checksum.ts';

export type Protocol = 'tcp' | 'udp' | 'icmp' | 'icmp6' | number;

/** An IPv6 extension header: its own number and its octets, the first of which is overwritten by the next one's number. */
export interface Extension {
  readonly number: number;
  readonly octets: readonly number[];
}

export interface FrameSpec {
  readonly toMac: string;
  readonly fromMac: string;
  /** VLAN ids, outermost first; two make the outer one 802.1ad. */
  readonly tags?: readonly number[];
  readonly from: string;
  readonly to: string;
  readonly ttl?: number;
  /** DSCP and ECN, as IPv4's TOS or IPv6's traffic class. */
  readonly trafficClass?: number;
  readonly id?: number;
  readonly dontFragment?: boolean;
  readonly moreFragments?: boolean;
  /** In units of 8 octets. */
  readonly fragmentOffset?: number;
  /** IPv4 options, a multiple of 4 octets. */
  readonly options?: readonly number[];
  readonly extensions?: readonly Extension[];
  readonly protocol: Protocol;
  readonly fromPort?: number;
  readonly toPort?: number;
  /** Of SYN, ACK, FIN, RST, PSH, URG their first letters: "SA". */
  readonly flags?: string;
  /** TCP options, a multiple of 4 octets. */
  readonly tcpOptions?: readonly number[];
  /** How far beyond SEQUENCE its own sequence number lies; 0 by default. */
  readonly further?: number;
  /** How far beyond the other side's sequence number it acknowledges; 1, its SYN, by default. */
  readonly acknowledges?: number;
  readonly window?: number;
  /** What follows the L4 header; for icmp, icmp6 and numbers: all of L4, with room for the checksum at 2. */
  readonly payload?: Uint8Array;
  /** 'partial': the pseudo-header's sum, as an offloading sender leaves it; 'none': UDP's 0. */
  readonly checksum?: 'full' | 'partial' | 'none';
  /** Octets behind the packet, as short frames have. */
  readonly padding?: number;
}

const NUMBERS = { tcp: 6, udp: 17, icmp: 1, icmp6: 58 } as const;
const FLAGS = 'FSRPAU';
/** Of every segment, from either side, unless it lies further. */
export const SEQUENCE = 0x01020304;

export function numberOf(protocol: Protocol): number {
  return typeof protocol === 'number' ? protocol : NUMBERS[protocol];
}

export function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (address === null) throw new Error(`${text} is no address`);
  return address;
}

export function macOf(text: string): Uint8Array {
  const mac = parseMac(text);
  if (mac === null) throw new Error(`${text} is no MAC`);
  return mac;
}

export function buildFrame(spec: FrameSpec): Uint8Array {
  const from = addressOf(spec.from);
  const l4 = buildL4(spec);
  const l3 = from.family === 4 ? buildIpv4(spec, l4.length) : buildIpv6(spec, l4.length);
  const type = from.family === 4 ? 0x0800 : 0x86dd;
  return join(macs(spec), tagged(spec.tags ?? [], type), l3, l4, new Uint8Array(spec.padding ?? 0));
}

/** As fairlead sends it on: what follows the packet is cut off, but for the padding of Ethernet's shortest frames. */
export function withoutTail(spec: FrameSpec): FrameSpec {
  return buildFrame(spec).length > 60 ? { ...spec, padding: 0 } : spec;
}

export function macs({ toMac, fromMac }: { toMac: string; fromMac: string }): Uint8Array {
  return join(macOf(toMac), macOf(fromMac));
}

/** The tags and the type behind the MACs. */
export function tagged(tags: readonly number[], type: number): Uint8Array {
  const words = tags.flatMap((tag, index) => [tags.length === 2 && index === 0 ? 0x88a8 : 0x8100, tag]);
  return wordsOf([...words, type]);
}

/** Where L4 begins: what csum_start says of an offloaded frame. */
export function l4OffsetOf(spec: FrameSpec): number {
  const l3 = 14 + 4 * (spec.tags?.length ?? 0);
  if (addressOf(spec.from).family === 4) return l3 + 20 + (spec.options?.length ?? 0);
  return l3 + 40 + (spec.extensions ?? []).reduce((sum, { octets }) => sum + octets.length, 0);
}

function buildIpv4(spec: FrameSpec, length: number): Uint8Array {
  const options = spec.options ?? [];
  const size = 20 + options.length;
  const { dontFragment = true, moreFragments = false, fragmentOffset = 0 } = spec;
  const fragment = (dontFragment ? 0x4000 : 0) | (moreFragments ? 0x2000 : 0) | fragmentOffset;
  const header = join(
    wordsOf([0x4000 | ((size / 4) << 8) | (spec.trafficClass ?? 0), size + length, spec.id ?? 0x1234, fragment]),
    wordsOf([((spec.ttl ?? 64) << 8) | numberOf(spec.protocol), 0]),
    addressOf(spec.from).bytes,
    addressOf(spec.to).bytes,
    Uint8Array.from(options),
  );
  put16(header, 10, checksumOf(header));
  return header;
}

function buildIpv6(spec: FrameSpec, length: number): Uint8Array {
  const extensions = spec.extensions ?? [];
  const numbers = [...extensions.map(({ number }) => number), numberOf(spec.protocol)];
  const chain = extensions.map(({ octets }, index) => Uint8Array.from([numbers[index + 1]!, ...octets.slice(1)]));
  const size = chain.reduce((sum, { length: octets }) => sum + octets, length);
  return join(
    wordsOf([0x6000 | ((spec.trafficClass ?? 0) << 4), 0, size, (numbers[0]! << 8) | (spec.ttl ?? 64)]),
    addressOf(spec.from).bytes,
    addressOf(spec.to).bytes,
    ...chain,
  );
}

function buildL4(spec: FrameSpec): Uint8Array {
  const payload = spec.payload ?? new Uint8Array(0);
  if (spec.protocol === 'tcp') {
    const options = Uint8Array.from(spec.tcpOptions ?? []);
    const offset = ((20 + options.length) / 4) << 12;
    const flags = flagsOf(spec.flags ?? 'A');
    const ports = [spec.fromPort ?? 0, spec.toPort ?? 0];
    const acknowledged = (SEQUENCE + (spec.acknowledges ?? 1)) >>> 0;
    const sequence = (SEQUENCE + (spec.further ?? 0)) >>> 0;
    const numbers = [sequence >>> 16, sequence & 0xffff, acknowledged >>> 16, acknowledged & 0xffff];
    const header = wordsOf([...ports, ...numbers, offset | flags, spec.window ?? 0xfaf0, 0, 0]);
    return withChecksum(spec, join(header, options, payload), 16);
  }
  if (spec.protocol === 'udp') {
    const header = wordsOf([spec.fromPort ?? 0, spec.toPort ?? 0, 8 + payload.length, 0]);
    const udp = withChecksum(spec, join(header, payload), 6);
    if (spec.checksum !== 'none' && get16(udp, 6) === 0) put16(udp, 6, 0xffff);
    return udp;
  }
  return spec.protocol === 'icmp' || spec.protocol === 'icmp6'
    ? withChecksum(spec, Uint8Array.from(payload), 2)
    : payload;
}

/** Each letter's place in FLAGS is its bit. */
function flagsOf(letters: string): number {
  return letters.split('').reduce((sum, letter) => sum + 2 ** FLAGS.indexOf(letter), 0);
}

function withChecksum(spec: FrameSpec, l4: Uint8Array, at: number): Uint8Array {
  if (spec.checksum === 'none') return l4;
  const [from, to] = [addressOf(spec.from), addressOf(spec.to)];
  const pseudo = spec.protocol === 'icmp' ? 0 : pseudoHeaderSum(from, to, numberOf(spec.protocol), l4.length);
  put16(l4, at, spec.checksum === 'partial' ? pseudo : checksumOf(l4, pseudo));
  return l4;
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  const octets = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    octets.set(part, at);
    at += part.length;
  }
  return octets;
}

export function wordsOf(words: readonly number[]): Uint8Array {
  return Uint8Array.from(words.flatMap((word) => [word >> 8, word & 0xff]));
}

export function put16(octets: Uint8Array, at: number, value: number): void {
  octets[at] = value >> 8;
  octets[at + 1] = value & 0xff;
}

export function get16(octets: Uint8Array, at: number): number {
  return (octets[at]! << 8) | octets[at + 1]!;
}

/** Of the IPv4 header of a frame without tags and options, whose checksum field is 0. */
export function checksumOfIpv4(octets: Uint8Array): number {
  return checksumOf(octets.subarray(14, 34));
}

/** Octets that count up: a payload in which nothing can be swapped unseen. */
export function payloadOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + 1) & 0xff);
}

/** For comparisons whose failure shows both sides. */
export function hex(frame: Uint8Array | null): string {
  return frame === null ? 'nothing' : Buffer.from(frame).toString('hex');
}
