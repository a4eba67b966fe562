// Datagrams cut into fragments, as a router does it (RFC 791 §3.2, RFC 8200 §4.5), from frames that were built whole.

import { checksumOf } from './checksum.ts';
import { join, put16, wordsOf } from './frame.ts';

export interface Cut {
  /** Where each fragment but the first begins, in octets of what follows the IP header. */
  readonly at: readonly number[];
  readonly id: number;
  /** Octets of the Ethernet header and its tags; 14 by default. */
  readonly l3?: number;
}

/** An untagged frame's, or one with so many octets before the packet. */
function isIpv6(frame: Uint8Array, l3: number): boolean {
  return frame[l3]! >> 4 === 6;
}

export function cutFrame(frame: Uint8Array, { at, id, l3 = 14 }: Cut): Uint8Array[] {
  const header = isIpv6(frame, l3) ? 40 : (frame[l3]! & 15) * 4;
  const body = frame.subarray(l3 + header);
  const starts = [0, ...at];
  return starts.map((from, index) => {
    const to = starts[index + 1] ?? body.length;
    return fragmentOf(frame, { l3, header, id, from, isLast: to === body.length }, body.subarray(from, to));
  });
}

interface Place {
  readonly l3: number;
  readonly header: number;
  readonly id: number;
  readonly from: number;
  readonly isLast: boolean;
}

function fragmentOf(frame: Uint8Array, { l3, header, id, from, isLast }: Place, piece: Uint8Array): Uint8Array {
  const head = frame.slice(0, l3 + header);
  if (isIpv6(frame, l3)) {
    const next = head[l3 + 6]!;
    head[l3 + 6] = 44;
    put16(head, l3 + 4, 8 + piece.length);
    const offset = ((from / 8) << 3) | (isLast ? 0 : 1);
    return join(head, wordsOf([next << 8, offset, id >>> 16, id & 0xffff]), piece);
  }
  put16(head, l3 + 2, header + piece.length);
  put16(head, l3 + 4, id);
  put16(head, l3 + 6, (from / 8) | (isLast ? 0 : 0x2000));
  put16(head, l3 + 10, 0);
  put16(head, l3 + 10, checksumOf(head.subarray(l3)));
  return join(head, piece);
}

/** The id that a fragment has. */
export function idOf(frame: Uint8Array, l3 = 14): number {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  return isIpv6(frame, l3) ? view.getUint32(l3 + 44) : view.getUint16(l3 + 4);
}
