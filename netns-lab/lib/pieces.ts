// A UDP datagram over IPv4 in fragments, frame by frame, for senders that do not send them in order.

export interface Datagram {
  fromMac: string;
  toMac: string;
  from: string;
  to: string;
  fromPort: number;
  toPort: number;
  id: number;
  payload: string;
  /** Octets of the datagram in each fragment, a multiple of 8. */
  size: number;
}

const octetsOf = (text: string, separator: string, base: number) =>
  Buffer.from(text.split(separator).map((it) => Number.parseInt(it, base)));

/** RFC 1071. */
function checksumOf(octets: Buffer): number {
  let sum = 0;
  for (let at = 0; at < octets.length; at += 2) sum += octets.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function datagramInPieces({
  fromMac,
  toMac,
  from,
  to,
  fromPort,
  toPort,
  id,
  payload,
  size,
}: Datagram): Buffer[] {
  const header = Buffer.alloc(8); // a checksum of 0 is none (RFC 768)
  header.writeUInt16BE(fromPort, 0);
  header.writeUInt16BE(toPort, 2);
  header.writeUInt16BE(8 + payload.length, 4);
  const datagram = Buffer.concat([header, Buffer.from(payload)]);
  const ether = Buffer.concat([octetsOf(toMac, ':', 16), octetsOf(fromMac, ':', 16), Buffer.from([8, 0])]);
  return Array.from({ length: Math.ceil(datagram.length / size) }, (_, index) => {
    const piece = datagram.subarray(index * size, (index + 1) * size);
    const isLast = (index + 1) * size >= datagram.length;
    const ip = Buffer.from([
      0x45,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      64,
      17,
      0,
      0,
      ...octetsOf(from, '.', 10),
      ...octetsOf(to, '.', 10),
    ]);
    ip.writeUInt16BE(20 + piece.length, 2);
    ip.writeUInt16BE(id, 4);
    ip.writeUInt16BE((isLast ? 0 : 0x2000) | ((index * size) / 8), 6);
    ip.writeUInt16BE(checksumOf(ip), 10);
    return Buffer.concat([ether, ip, piece]);
  });
}
