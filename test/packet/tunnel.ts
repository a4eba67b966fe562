// What l3-dsr should make of a frame, built octet by octet from the RFCs' layouts: outer IP, GRE or UDP with GUE, and
// behind them the packet as it came.

import { addressOf, buildFrame, type FrameSpec, join, macs, put16, tagged, wordsOf } from './frame.ts';
import { checksumOf } from './checksum.ts';

export interface TunnelSpec {
  readonly type: 'gre' | 'ipip' | 'gue';
  readonly key?: number;
  readonly toMac: string;
  readonly fromMac: string;
  readonly from: string;
  readonly to: string;
  readonly ttl: number;
  readonly trafficClass: number;
  /** What spreads flows: 16 bits of each flow's own. */
  readonly tag: number;
}

/** The inner frame's packet in the tunnel, its tags where they were, its padding left behind. */
export function buildTunnel(spec: TunnelSpec, inner: FrameSpec): Uint8Array {
  const frame = buildFrame(inner);
  const l3 = 14 + 4 * (inner.tags?.length ?? 0);
  const isInner6 = addressOf(inner.from).family === 6;
  const packet = frame.subarray(l3, frame.length - (inner.padding ?? 0));
  const header = tunnelHeader(spec, isInner6, packet.length);
  const isOuter6 = addressOf(spec.from).family === 6;
  const ip = (isOuter6 ? outerIpv6 : outerIpv4)(spec, protocolOf(spec, isInner6), header.length + packet.length);
  const type = isOuter6 ? 0x86dd : 0x0800;
  return join(macs(spec), tagged(inner.tags ?? [], type), ip, header, packet);
}

function protocolOf({ type }: TunnelSpec, isInner6: boolean): number {
  if (type === 'gre') return 47;
  if (type === 'gue') return 17;
  return isInner6 ? 41 : 4;
}

/** RFC 2784 and 2890; RFC 768 and the four octets of GUE version 0. */
function tunnelHeader({ type, key, tag }: TunnelSpec, isInner6: boolean, length: number): Uint8Array {
  if (type === 'ipip') return new Uint8Array(0);
  if (type === 'gue') {
    const udp = wordsOf([49_152 | (tag & 0x3fff), 6080, 8 + 4 + length, 0]);
    return join(udp, Uint8Array.from([0, isInner6 ? 41 : 4, 0, 0]));
  }
  const type16 = isInner6 ? 0x86dd : 0x0800;
  return key === undefined ? wordsOf([0, type16]) : wordsOf([0x2000, type16, key >>> 16, key & 0xffff]);
}

/** RFC 791, never to be fragmented, so without an id (RFC 6864, section 4.1). */
function outerIpv4({ from, to, ttl, trafficClass }: TunnelSpec, protocol: number, length: number): Uint8Array {
  const header = join(
    wordsOf([0x4500 | trafficClass, 20 + length, 0, 0x4000, (ttl << 8) | protocol, 0]),
    addressOf(from).bytes,
    addressOf(to).bytes,
  );
  put16(header, 10, checksumOf(header));
  return header;
}

/** RFC 8200, its flow label the flow's own (RFC 6438). */
function outerIpv6({ from, to, ttl, trafficClass, tag }: TunnelSpec, protocol: number, length: number): Uint8Array {
  return join(
    wordsOf([0x6000 | (trafficClass << 4) | (tag & 15), tag, length, (protocol << 8) | ttl]),
    addressOf(from).bytes,
    addressOf(to).bytes,
  );
}
