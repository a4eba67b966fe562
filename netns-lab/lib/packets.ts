// Frames octet by octet, for what no program would send: TCP segments of any flags and numbers, datagrams, ICMP errors that
// quote as much as they like. Every checksum is computed anew, and can be verified in what comes back.

export interface Ends {
  from: string;
  to: string;
  fromMac: string;
  toMac: string;
  ttl?: number;
}

export interface Segment extends Ends {
  fromPort: number;
  toPort: number;
  /** Of SYN, ACK, FIN, RST, PSH, URG their first letters: "SA"; "" for none. */
  flags: string;
  sequence: number;
  acknowledged: number;
  payload?: string;
}

export interface Datagram extends Ends {
  fromPort: number;
  toPort: number;
  payload: string;
}

export interface IcmpError extends Ends {
  type: number;
  code: number;
  /** The four octets behind the checksum: an MTU, a pointer. */
  rest?: number;
  /** The packet that it is about, from its IP header on. */
  quoted: Buffer;
}

const etherHeader = 14;
const protocols = { tcp: 6, udp: 17, icmp: 1, icmp6: 58 } as const;
const flagLetters = 'FSRPAU';

export const isIpv6 = (address: string) => address.includes(':');

function octetsOfIpv6(address: string): Buffer {
  const [head = '', tail] = address.split('::');
  const words = (text: string) => text.split(':').filter(Boolean);
  const [first, last] = [words(head), words(tail ?? '')];
  const all = [...first, ...Array.from({ length: 8 - first.length - last.length }, () => '0'), ...last];
  return Buffer.from(all.flatMap((word) => [Number.parseInt(word, 16) >> 8, Number.parseInt(word, 16) & 0xff]));
}

export function octetsOf(address: string): Buffer {
  return isIpv6(address) ? octetsOfIpv6(address) : Buffer.from(address.split('.').map(Number));
}

const macOf = (text: string) => Buffer.from(text.replaceAll(':', ''), 'hex');

/** The sum of RFC 1071, folded. */
function sumOf(octets: Buffer, first = 0): number {
  let sum = first;
  for (let at = 0; at < octets.length; at += 2) sum += ((octets[at] ?? 0) << 8) | (octets[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

function pseudoHeader(from: Buffer, to: Buffer, protocol: number, length: number): number {
  return protocol === protocols.icmp ? 0 : sumOf(Buffer.concat([from, to]), protocol + length);
}

function packet({ from, to, ttl = 64 }: Ends, protocol: number, l4: Buffer, checksumAt: number): Buffer {
  const [source, target] = [octetsOf(from), octetsOf(to)];
  l4.writeUInt16BE(0, checksumAt);
  const sum = ~sumOf(l4, pseudoHeader(source, target, protocol, l4.length)) & 0xffff;
  l4.writeUInt16BE(sum === 0 && protocol === protocols.udp ? 0xffff : sum, checksumAt);
  if (isIpv6(from)) {
    const head = Buffer.from([0x60, 0, 0, 0, 0, 0, protocol, ttl]);
    head.writeUInt16BE(l4.length, 4);
    return Buffer.concat([head, source, target, l4]);
  }
  const head = Buffer.concat([Buffer.from([0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, ttl, protocol, 0, 0]), source, target]);
  head.writeUInt16BE(head.length + l4.length, 2);
  head.writeUInt16BE(~sumOf(head) & 0xffff, 10);
  return Buffer.concat([head, l4]);
}

function framed(ends: Ends, content: Buffer): Buffer {
  const type = isIpv6(ends.from) ? [0x86, 0xdd] : [8, 0];
  return Buffer.concat([macOf(ends.toMac), macOf(ends.fromMac), Buffer.from(type), content]);
}

export function segmentFrame(segment: Segment): Buffer {
  const { fromPort, toPort, flags, sequence, acknowledged, payload = '' } = segment;
  const head = Buffer.alloc(20);
  head.writeUInt16BE(fromPort, 0);
  head.writeUInt16BE(toPort, 2);
  head.writeUInt32BE(sequence >>> 0, 4);
  head.writeUInt32BE(acknowledged >>> 0, 8);
  head[12] = 0x50;
  head[13] = flags.split('').reduce((sum, letter) => sum + 2 ** flagLetters.indexOf(letter), 0);
  head.writeUInt16BE(0xfaf0, 14);
  return framed(segment, packet(segment, protocols.tcp, Buffer.concat([head, Buffer.from(payload)]), 16));
}

export function datagramFrame(datagram: Datagram): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(datagram.fromPort, 0);
  head.writeUInt16BE(datagram.toPort, 2);
  head.writeUInt16BE(8 + datagram.payload.length, 4);
  return framed(datagram, packet(datagram, protocols.udp, Buffer.concat([head, Buffer.from(datagram.payload)]), 6));
}

export function errorFrame(error: IcmpError): Buffer {
  const head = Buffer.from([error.type, error.code, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(error.rest ?? 0, 4);
  const protocol = isIpv6(error.from) ? protocols.icmp6 : protocols.icmp;
  return framed(error, packet(error, protocol, Buffer.concat([head, error.quoted]), 2));
}

/** The packet of a frame, cut to its IP header and so many octets of what follows. */
export function quote(frame: Buffer, octets = frame.length): Buffer {
  const head = frame[etherHeader]! >> 4 === 6 ? 40 : 20;
  return frame.subarray(etherHeader, etherHeader + head + octets);
}

export interface Parsed {
  /** The IP header's own addresses, in hexadecimal. */
  from: string;
  to: string;
  protocol: number;
  head: Buffer;
  l4: Buffer;
}

/** A frame's IP packet; null: it has none. */
export function parseFrame(frame: Buffer): Parsed | null {
  const type = frame.readUInt16BE(12);
  if (type !== 0x0800 && type !== 0x86dd) return null;
  const isV6 = type === 0x86dd;
  const ip = frame.subarray(etherHeader);
  const length = isV6 ? 40 + ip.readUInt16BE(4) : ip.readUInt16BE(2);
  const head = ip.subarray(0, isV6 ? 40 : (ip[0]! & 15) * 4);
  const [source, size] = isV6 ? [8, 16] : [12, 4];
  const address = (at: number) => ip.subarray(at, at + size).toString('hex');
  return {
    from: address(source),
    to: address(source + size),
    protocol: ip[isV6 ? 6 : 9]!,
    head,
    l4: ip.subarray(head.length, length),
  };
}

/** Do the checksums of its IP header and of what that carries verify? */
export function isRight(frame: Buffer): boolean {
  const parsed = parseFrame(frame);
  if (parsed === null) return false;
  const [from, to] = [Buffer.from(parsed.from, 'hex'), Buffer.from(parsed.to, 'hex')];
  const pseudo = pseudoHeader(from, to, parsed.protocol, parsed.l4.length);
  return sumOf(parsed.l4, pseudo) === 0xffff && (from.length === 16 || sumOf(parsed.head) === 0xffff);
}

/**
 * The same ICMP error as if this address had sent it, without what a host chooses for itself: IPv4's identification and
 * whether it may be cut, IPv6's flow label.
 */
export function errorFrom(frame: Buffer, from: string): Buffer {
  const parsed = parseFrame(frame);
  if (parsed === null) throw new Error('no ICMP error');
  const ip = frame.subarray(etherHeader);
  const isV6 = isIpv6(from);
  const ends = { from, to: formatAddress(parsed.to), ttl: ip[isV6 ? 7 : 8]!, fromMac: '', toMac: '' };
  const made = packet(ends, parsed.protocol, Buffer.from(parsed.l4), 2);
  if (isV6) {
    made[1] = ip[1]! & 0xf0;
  } else {
    made[1] = ip[1]!;
    made.writeUInt32BE(0, 4);
    made.writeUInt16BE(0, 10);
    made.writeUInt16BE(~sumOf(made.subarray(0, 20)) & 0xffff, 10);
  }
  return Buffer.concat([frame.subarray(0, etherHeader), made]);
}

function formatAddress(hex: string): string {
  return hex.length === 8 ? [...Buffer.from(hex, 'hex')].join('.') : hex.match(/.{4}/g)!.join(':');
}

/** A frame as a router sends it on that changes nothing of the packet but its hops. */
export function routed(frame: Buffer, fromMac: string, toMac: string): Buffer {
  const made = Buffer.concat([macOf(toMac), macOf(fromMac), frame.subarray(12)]);
  const ip = made.subarray(etherHeader);
  if (ip[0]! >> 4 === 6) {
    ip[7]! -= 1;
    return made;
  }
  ip[8]! -= 1;
  ip.writeUInt16BE(0, 10);
  ip.writeUInt16BE(~sumOf(ip.subarray(0, 20)) & 0xffff, 10);
  return made;
}
