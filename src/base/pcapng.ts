// A capture file in the format of Wireshark and tcpdump (draft-ietf-opsawg-pcapng), written block by block: a header, an
// interface for each name, packets with a comment. Little-endian, times in nanoseconds.

export interface PcapngPacket {
  readonly interfaceId: number;
  /** Since 1970. */
  readonly atNs: bigint;
  readonly direction: 'in' | 'out';
  /** Octets on the wire; data may hold fewer. */
  readonly length: number;
  readonly data: Uint8Array;
  readonly comment: string;
}

const BLOCK = { section: 0x0a0d0d0a, interface: 1, packet: 6 } as const;
const OPTION = { end: 0, comment: 1, name: 2, flags: 2, resolution: 9 } as const;
const BYTE_ORDER = 0x1a2b3c4d;
const LINKTYPE_ETHERNET = 1;
const NANOSECONDS = 9;

/** What a file begins with; the position of an interface is its id. */
export function pcapngHead(interfaces: readonly string[]): Uint8Array {
  const section = new Uint8Array(16);
  const view = new DataView(section.buffer);
  view.setUint32(0, BYTE_ORDER, true);
  view.setUint16(4, 1, true);
  view.setBigInt64(8, -1n, true);
  return concat([block(BLOCK.section, [section]), ...interfaces.map(interfaceBlock)]);
}

function interfaceBlock(name: string): Uint8Array {
  const fixed = new Uint8Array(8);
  new DataView(fixed.buffer).setUint16(0, LINKTYPE_ETHERNET, true);
  return block(BLOCK.interface, [
    fixed,
    option(OPTION.name, new TextEncoder().encode(name)),
    option(OPTION.resolution, Uint8Array.of(NANOSECONDS)),
    option(OPTION.end, new Uint8Array()),
  ]);
}

export function pcapngPacket({ interfaceId, atNs, direction, length, data, comment }: PcapngPacket): Uint8Array {
  const fixed = new Uint8Array(20);
  const view = new DataView(fixed.buffer);
  view.setUint32(0, interfaceId, true);
  view.setUint32(4, Number(atNs >> 32n), true);
  view.setUint32(8, Number(atNs & 0xffff_ffffn), true);
  view.setUint32(12, data.length, true);
  view.setUint32(16, length, true);
  const flags = new Uint8Array(4);
  flags[0] = direction === 'in' ? 1 : 2;
  return block(BLOCK.packet, [
    fixed,
    padded(data),
    option(OPTION.comment, new TextEncoder().encode(comment)),
    option(OPTION.flags, flags),
    option(OPTION.end, new Uint8Array()),
  ]);
}

function option(code: number, value: Uint8Array): Uint8Array {
  const head = new Uint8Array(4);
  const view = new DataView(head.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, value.length, true);
  return concat([head, padded(value)]);
}

function block(type: number, parts: readonly Uint8Array[]): Uint8Array {
  const body = concat(parts);
  const whole = new Uint8Array(body.length + 12);
  const view = new DataView(whole.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, whole.length, true);
  whole.set(body, 8);
  view.setUint32(whole.length - 4, whole.length, true);
  return whole;
}

function padded(data: Uint8Array): Uint8Array {
  const whole = new Uint8Array((data.length + 3) & ~3);
  whole.set(data);
  return whole;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
