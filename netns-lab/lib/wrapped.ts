// What a frame in a tunnel looks like on the wire, as a filter of tcpdump: every octet of the outer headers that RFC 2784
// and 2890, RFC 2003, 4213 and 2473, and GUE leave no choice about.
import type { Wrapping } from './stand-in.ts';

export interface Ends {
  /** The balancer's address. */
  source: string;
  /** The server's own. */
  target: string;
  vip: string;
}

const hex = (number: number) => `0x${(number >>> 0).toString(16)}`;

/** An address as 32-bit words. */
function words(address: string): number[] {
  if (!address.includes(':')) return [address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0)];
  const [head = '', tail = ''] = address.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)));
  const middle = Array<number>(8 - groups(head).length - groups(tail).length).fill(0);
  const all = [...groups(head), ...middle, ...groups(tail)];
  return [0, 2, 4, 6].map((at) => (all[at] ?? 0) * 65536 + (all[at + 1] ?? 0));
}

/** Takes frames that go to a server in this tunnel, and carry a packet to the VIP. */
export function asWrapped({ type, key, port = 6080, outer, inner }: Wrapping, { source, target, vip }: Ends): string {
  const [ip, header, protocolAt] = outer === 4 ? (['ip', 20, 9] as const) : (['ip6', 40, 6] as const);
  const is = (at: number, size: 1 | 2 | 4, value: number) => `${ip}[${at}:${size}] = ${hex(value)}`;
  const innerProtocol = inner === 4 ? 4 : 41;
  const tunnels = {
    gre: {
      protocol: 47,
      size: key === undefined ? 4 : 8,
      filters: [
        is(header, 2, key === undefined ? 0 : 0x2000),
        is(header + 2, 2, inner === 4 ? 0x0800 : 0x86dd),
        ...(key === undefined ? [] : [is(header + 4, 4, key)]),
      ],
    },
    ipip: { protocol: innerProtocol, size: 0, filters: [] },
    gue: {
      protocol: 17,
      size: 12,
      // A source port of the dynamic ones, no checksum (RFC 6935), version 0 without options.
      filters: [
        `${ip}[${header}:2] >= 49152`,
        is(header + 2, 2, port),
        is(header + 6, 2, 0),
        is(header + 8, 4, innerProtocol << 16),
      ],
    },
  };
  const { protocol, size, filters } = tunnels[type];
  const inside = header + size;
  return [
    `src host ${source} and dst host ${target}`,
    is(protocolAt, 1, protocol),
    // Nobody on the way may fragment it.
    ...(outer === 4 ? [is(0, 1, 0x45), is(6, 2, 0x4000)] : []),
    ...filters,
    `${ip}[${inside}] & 0xf0 = ${hex(inner << 4)}`,
    ...words(vip).map((word, index) => is(inside + (inner === 4 ? 16 : 24) + 4 * index, 4, word)),
  ].join(' and ');
}
