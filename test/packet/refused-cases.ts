// Frames that go no further, each for its own counted reason, and frames that are the host's business: whatever is
// malformed is dropped only when it was sent to an address of ours.

import type { PacketCase } from './cases.ts';
import { checksumOf } from './checksum.ts';
import { addressesOf, type Exchange, request, serviceOf } from './exchange.ts';
import { buildFrame, type FrameSpec, payloadOf, put16 } from './frame.ts';
import { CLIENT_MAC, OUTSIDE_MAC } from './stage.ts';

const tcp4: Exchange = { method: 'nat', protocol: 'tcp', family: 4 };
const udp4: Exchange = { ...tcp4, protocol: 'udp' };
const tcp6: Exchange = { ...tcp4, family: 6 };
const udp6: Exchange = { ...udp4, family: 6 };
const all: readonly Exchange[] = [tcp4, udp4, tcp6, udp6];
const { vip } = addressesOf(tcp4);
const { vip: vip6 } = addressesOf(tcp6);
const label = ({ protocol, family }: Exchange): string => `${protocol} over IPv${family}`;

const ELSEWHERE = '203.0.113.200';
const ELSEWHERE6 = '2001:db8::200';
const L3 = 14;
const L4_OF = { 4: L3 + 20, 6: L3 + 40 } as const;

/** The frame after somebody put their hands on it. */
function bent(spec: FrameSpec, bend: (octets: Uint8Array) => void): Uint8Array {
  const octets = buildFrame(spec);
  bend(octets);
  return octets;
}

/** An IPv4 frame whose header was bent, its header checksum made right again. */
function bent4(spec: FrameSpec, bend: (octets: Uint8Array) => void, header = 20): Uint8Array {
  return bent(spec, (octets) => {
    bend(octets);
    put16(octets, L3 + 10, 0);
    put16(octets, L3 + 10, checksumOf(octets.subarray(L3, L3 + header)));
  });
}

/** Every length that ends inside a header, and what the frame's own length fields then are. */
const truncated: readonly PacketCase[] = all.flatMap((exchange) => {
  const { family, protocol } = exchange;
  const whole = buildFrame(request(exchange, { payload: payloadOf(10) }));
  const l4 = protocol === 'tcp' ? 20 : 8;
  const cut = (length: number, said: string): PacketCase => ({
    name: `${label(exchange)} cut to ${length} octets is dropped`,
    services: serviceOf(exchange),
    frame: whole.subarray(0, length),
    said,
  });
  const shrunk = (length: number): PacketCase => ({
    name: `${label(exchange)} with only ${length} octets of L4, and an IP length that says so, is dropped`,
    services: serviceOf(exchange),
    frame: buildFrame({ ...request(exchange), protocol: protocol === 'tcp' ? 6 : 17, payload: payloadOf(length) }),
    said: 'dropped: short-frame',
  });
  return [
    ...range(0, L4_OF[family]).map((length) => cut(length, 'dropped: short-frame')),
    ...range(L4_OF[family], whole.length).map((length) => cut(length, 'dropped: bad-ip-header')),
    ...range(0, l4).map(shrunk),
  ];
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

const TYPE = 12;
const lies: readonly PacketCase[] = [
  {
    name: 'an IPv4 packet of version 5 is dropped',
    frame: bent4(request(tcp4), (octets) => (octets[L3] = 0x55)),
    said: 'dropped: bad-ip-header',
  },
  {
    name: 'an IPv4 header length below 20 is a lie',
    frame: bent4(request(tcp4), (octets) => (octets[L3] = 0x44), 16),
    said: 'dropped: bad-ip-header',
  },
  {
    name: 'an IPv4 header length beyond the packet is a lie',
    frame: bent4(request(tcp4), (octets) => (octets[L3] = 0x4f)),
    said: 'dropped: bad-ip-header',
  },
  {
    name: 'an IPv4 total length below the header is a lie',
    frame: bent4(request(tcp4), (octets) => put16(octets, L3 + 2, 19)),
    said: 'dropped: bad-ip-header',
  },
  {
    name: 'an IPv4 total length beyond the frame is a lie',
    frame: bent4(request(tcp4), (octets) => put16(octets, L3 + 2, 41)),
    said: 'dropped: bad-ip-header',
  },
  {
    name: 'a wrong IPv4 header checksum drops the frame',
    frame: bent(request(tcp4), (octets) => (octets[L3 + 10]! ^= 0x80)),
    said: 'dropped: bad-ip-checksum',
  },
  {
    name: 'a wrong checksum of an IPv4 header with options drops the frame',
    frame: bent(request(tcp4, { options: [1, 1, 1, 1] }), (octets) => (octets[L3 + 23] = 0)),
    said: 'dropped: bad-ip-checksum',
  },
  {
    name: 'an IPv6 packet of version 4 is dropped',
    services: serviceOf(tcp6),
    frame: bent(request(tcp6), (octets) => (octets[L3] = 0x40)),
    said: 'dropped: bad-ip-header',
  },
  {
    name: 'an IPv6 payload length beyond the frame is a lie',
    services: serviceOf(tcp6),
    frame: bent(request(tcp6), (octets) => put16(octets, L3 + 4, 21)),
    said: 'dropped: bad-ip-header',
  },
  {
    name: 'a TCP data offset below 5 is a lie',
    frame: bent(request(tcp4), (octets) => (octets[L4_OF[4] + 12] = 0x40)),
    said: 'dropped: bad-l4-header',
  },
  {
    name: 'a TCP data offset beyond the packet is a lie',
    frame: bent(request(tcp4), (octets) => (octets[L4_OF[4] + 12] = 0x60)),
    said: 'dropped: bad-l4-header',
  },
  {
    name: 'a UDP length below 8 is a lie',
    services: serviceOf(udp4),
    frame: bent(request(udp4), (octets) => put16(octets, L4_OF[4] + 4, 7)),
    said: 'dropped: bad-l4-header',
  },
  {
    name: 'a UDP length beyond the packet is a lie',
    services: serviceOf(udp4),
    frame: bent(request(udp4), (octets) => put16(octets, L4_OF[4] + 4, 9)),
    said: 'dropped: bad-l4-header',
  },
  {
    name: 'a UDP length of 0, a jumbogram’s, is a lie in a packet that is none',
    services: serviceOf(udp6),
    frame: bent(request(udp6), (octets) => put16(octets, L4_OF[6] + 4, 0)),
    said: 'dropped: bad-l4-header',
  },
  {
    name: 'a frame that ends inside its VLAN tag is dropped',
    frame: buildFrame(request(tcp4, { tags: [7] })).subarray(0, 17),
    said: 'dropped: short-frame',
  },
  {
    name: 'a frame that ends inside its second VLAN tag is dropped',
    frame: buildFrame(request(tcp4, { tags: [7, 8] })).subarray(0, 21),
    said: 'dropped: short-frame',
  },
].map((one) => ({ services: serviceOf(tcp4), ...one }));

const hop = { number: 0, octets: [0, 0, 1, 4, 0, 0, 0, 0] };
const destination = { number: 60, octets: [0, 0, 1, 4, 0, 0, 0, 0] };

const extensions: readonly PacketCase[] = [
  {
    name: 'routing header type 0 (RFC 5095) is forbidden',
    frame: request(tcp6, { extensions: [{ number: 43, octets: [0, 2, 0, 1, ...Array<number>(20).fill(0)] }] }),
    said: 'dropped: bad-extension',
  },
  {
    name: 'hop-by-hop options anywhere but first are an error',
    frame: request(tcp6, { extensions: [destination, hop] }),
    said: 'dropped: bad-extension',
  },
  {
    name: 'six extension headers are the most there may be',
    frame: request(tcp6, { extensions: Array.from({ length: 6 }, () => destination) }),
    said: 'forwarded: new-flow',
  },
  {
    name: 'seven extension headers are one too many',
    frame: request(tcp6, { extensions: Array.from({ length: 7 }, () => destination) }),
    said: 'dropped: bad-extension',
  },
  {
    name: 'an extension header that reaches beyond the packet is a lie',
    frame: request(tcp6, { extensions: [{ number: 60, octets: [0, 4, 1, 4, 0, 0, 0, 0] }] }),
    said: 'dropped: bad-extension',
  },
  {
    name: 'a chain that ends inside an extension header is a lie',
    frame: { ...request(tcp6), protocol: 60, payload: payloadOf(7) },
    said: 'dropped: bad-extension',
  },
].map((one) => ({ ...one, services: serviceOf(tcp6) }));

const options: readonly PacketCase[] = [
  ...([131, 137] as const).flatMap((route) => [
    { name: `a source route, option ${route}, is dropped`, options: [route, 7, 4, 203, 0, 113, 1, 0] },
    { name: `option ${route} is found behind others`, options: [1, 68, 4, 5, 0, route, 3, 4] },
  ]),
].map(({ name, options: octets }) => ({
  name,
  services: serviceOf(tcp4),
  frame: request(tcp4, { options: octets }),
  said: 'dropped: source-route',
}));

const passing: readonly PacketCase[] = [
  { name: 'record route passes', options: [7, 7, 4, 203, 0, 113, 9, 0] },
  { name: 'a timestamp passes', options: [68, 8, 5, 0, 0, 0, 0, 0] },
  { name: 'a number like a source route’s inside another option is none', options: [7, 7, 4, 131, 137, 131, 137, 0] },
  { name: 'what follows the end of the options is none', options: [0, 131, 3, 4] },
].map(({ name, options: octets }) => ({
  name,
  services: serviceOf(tcp4),
  frame: request(tcp4, { options: octets }),
  said: 'forwarded: new-flow',
}));

const FLAG_KINDS = { none: '', 'FIN alone': 'F', 'FIN, PSH and URG (XMAS)': 'FPU', 'SYN and FIN': 'SF' } as const;
const MORE_FLAGS = { 'SYN and RST': 'SR', 'URG alone': 'U', 'PSH alone': 'P', 'SYN, ACK and FIN': 'SAF' } as const;

const flags: readonly PacketCase[] = Object.entries({ ...FLAG_KINDS, ...MORE_FLAGS }).map(([kind, letters]) => ({
  name: `TCP flags that nobody sends are dropped: ${kind}`,
  services: serviceOf(tcp4),
  frame: request(tcp4, { flags: letters }),
  said: 'dropped: bad-flags',
}));

const sources: readonly PacketCase[] = [
  ...['0.0.0.0', '0.1.2.3', '127.0.0.1', '224.0.0.5', '239.1.1.1', '240.0.0.1', '255.255.255.255'].map((from) => ({
    name: `${from} cannot be a client`,
    services: serviceOf(tcp4),
    frame: { ...request(tcp4), from },
    said: 'dropped: bad-source',
  })),
  ...['::', '::1', '::198.51.100.7', '::ffff:198.51.100.7', 'ff02::1'].map((from) => ({
    name: `${from} cannot be a client`,
    services: serviceOf(tcp6),
    frame: { ...request(tcp6), from },
    said: 'dropped: bad-source',
  })),
  {
    name: 'a frame from one VIP to another has a forged source',
    services: serviceOf(tcp4) + serviceOf(udp4).replace('web:', 'dns:').replace(vip, ELSEWHERE),
    frame: { ...request(tcp4), from: ELSEWHERE },
    said: 'dropped: bad-source',
  },
  {
    name: 'a frame from a group MAC is dropped',
    services: serviceOf(tcp4),
    frame: { ...request(tcp4), fromMac: '01:00:5e:00:00:05' },
    said: 'dropped: bad-source',
  },
  {
    name: 'a unicast packet inside a broadcast frame is dropped',
    services: serviceOf(tcp4),
    frame: { ...request(tcp4), toMac: 'ff:ff:ff:ff:ff:ff' },
    said: 'dropped: bad-destination',
  },
  {
    name: 'a unicast packet inside a multicast frame is dropped',
    services: serviceOf(tcp6),
    frame: { ...request(tcp6), toMac: '33:33:00:00:00:01' },
    said: 'dropped: bad-destination',
  },
  {
    name: 'a land attack is dropped, whatever its ports',
    services: serviceOf(tcp4),
    frame: { ...request(tcp4), from: vip },
    said: 'dropped: land',
  },
  {
    name: 'a land attack over IPv6 is dropped',
    services: serviceOf(tcp6),
    frame: { ...request(tcp6), from: vip6, fromPort: 80 },
    said: 'dropped: land',
  },
];

const services: readonly PacketCase[] = [
  ...[1, 47, 50, 132].map((protocol) => ({
    name: `protocol ${protocol} to a VIP is not balanced`,
    services: serviceOf(tcp4),
    frame: { ...request(tcp4), protocol, payload: payloadOf(20) },
    said: 'dropped: unsupported',
  })),
  {
    name: 'ICMPv6 inside IPv4 is no ICMP',
    services: serviceOf(tcp4),
    frame: { ...request(tcp4), protocol: 58, payload: payloadOf(20) },
    said: 'dropped: unsupported',
  },
  {
    name: 'SYN with ECE and CWR (RFC 3168) begins a flow',
    services: serviceOf(tcp4),
    frame: bent(request(tcp4), (octets) => (octets[L4_OF[4] + 13] = 0xc2)),
    said: 'forwarded: new-flow',
  },
  {
    name: 'a server whose next hop is unknown gets no frames',
    services: serviceOf(tcp4),
    before: (stage) => stage.setHop('10.0.1.11', null),
    frame: request(tcp4),
    said: 'dropped: no-neighbour',
  },
  {
    name: 'a flow whose server’s next hop got lost waits for it',
    services: serviceOf(tcp4),
    before: (stage) => {
      stage.send(request(tcp4));
      stage.setHop('10.0.1.11', null);
    },
    frame: request(tcp4),
    said: 'dropped: no-neighbour',
  },
];

const others: readonly PacketCase[] = [
  { name: 'a frame to an address that is not ours passes', frame: { ...request(tcp4), to: ELSEWHERE } },
  {
    name: 'a frame to an IPv6 address that begins like a VIP passes',
    services: serviceOf(tcp4),
    frame: { ...request(tcp6), to: 'cb00:710a::' },
  },
  {
    name: 'a frame to a VIP sent to another station passes: it was only overheard',
    frame: { ...request(tcp4), toMac: '02:00:00:00:00:99' },
  },
  {
    name: 'a server’s frame of no flow passes',
    frame: { ...request(tcp4), from: '10.0.1.11', to: '198.51.100.7', fromPort: 8080, toPort: 40_001 },
  },
  {
    name: 'a wrong IPv4 checksum to somebody else is somebody else’s',
    frame: bent({ ...request(tcp4), to: ELSEWHERE }, (octets) => (octets[L3 + 10]! ^= 1)),
  },
  {
    name: 'a lying length to somebody else is somebody else’s',
    frame: bent({ ...request(tcp4), to: ELSEWHERE }, (octets) => put16(octets, L3 + 2, 2000)),
  },
  {
    name: 'a broken TCP header to somebody else is somebody else’s',
    frame: bent({ ...request(tcp4), to: ELSEWHERE }, (octets) => (octets[L4_OF[4] + 12] = 0)),
  },
  {
    name: 'routing header type 0 to somebody else is somebody else’s',
    services: serviceOf(tcp6),
    frame: {
      ...request(tcp6, { extensions: [{ number: 43, octets: [0, 0, 0, 0, 0, 0, 0, 0] }] }),
      to: ELSEWHERE6,
    },
  },
  {
    name: 'a fragment to somebody else is somebody else’s',
    frame: { ...request(tcp4, { moreFragments: true }), to: ELSEWHERE },
  },
  {
    name: 'a source from nowhere to somebody else is somebody else’s',
    frame: { ...request(tcp4), from: '0.0.0.0', to: ELSEWHERE },
  },
  {
    name: 'a frame of another protocol passes',
    frame: bent({ ...request(tcp4) }, (octets) => put16(octets, TYPE, 0x88cc)),
  },
  {
    name: 'a frame behind three VLAN tags passes unread',
    frame: bent(request(tcp4, { tags: [1, 2], payload: payloadOf(9) }), (octets) => put16(octets, 20, 0x8100)),
  },
].map((one) => ({ services: serviceOf(tcp4), said: 'passed: not-ours', ...one }));

const standby: readonly PacketCase[] = [
  { name: 'a node that is not active leaves a client’s frame alone', frame: request(tcp4) },
  {
    name: 'a node that is not active does not answer an echo request',
    frame: {
      toMac: OUTSIDE_MAC,
      fromMac: CLIENT_MAC,
      from: '198.51.100.7',
      to: vip,
      protocol: 'icmp',
      payload: Uint8Array.of(8, 0, 0, 0, 1, 2, 3, 4),
    } satisfies FrameSpec,
  },
  { name: 'a node that is not active drops nothing', frame: new Uint8Array(5) },
].map((one) => ({
  services: serviceOf(tcp4),
  before: (stage) => stage.setSetting('is_active', 0),
  said: 'passed: standby',
  ...one,
}));

export const refusedCases: Readonly<Record<string, readonly PacketCase[]>> = {
  'frames that end inside a header': truncated,
  'lengths that lie': lies,
  'IPv6 extension headers': extensions,
  'IPv4 options that choose a way': options,
  'IPv4 options that do not': passing,
  'TCP flags': flags,
  'ends that cannot be': sources,
  'what is not served': services,
  'what is somebody else’s': others,
  standby,
};
