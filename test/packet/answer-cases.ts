// Frames that become fairlead's own answers: ARP, neighbour discovery, echo, and ICMP errors.

import type { PacketCase } from './cases.ts';
import { addressesOf, type Exchange, request, serviceOf } from './exchange.ts';
import { addressOf, buildFrame, type FrameSpec, join, macOf, macs, payloadOf, tagged, wordsOf } from './frame.ts';
import { CLIENT_MAC, INSIDE, INSIDE_MAC, OUTSIDE, OUTSIDE_MAC } from './stage.ts';

const tcp4: Exchange = { method: 'nat', protocol: 'tcp', family: 4 };
const udp4: Exchange = { ...tcp4, protocol: 'udp' };
const tcp6: Exchange = { ...tcp4, family: 6 };
const udp6: Exchange = { ...udp4, family: 6 };
const { client, vip } = addressesOf(tcp4);
const { client: client6, vip: vip6 } = addressesOf(tcp6);

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const NOBODY = '00:00:00:00:00:00';

interface Arp {
  readonly operation: number;
  readonly to?: string;
  readonly from?: string;
  readonly senderMac: string;
  readonly sender: string;
  readonly targetMac: string;
  readonly target: string;
  readonly tags?: readonly number[];
  readonly padding?: number;
}

function arp({ operation, to = BROADCAST, from = CLIENT_MAC, tags = [], padding = 0, ...ends }: Arp): Uint8Array {
  return join(
    macs({ toMac: to, fromMac: from }),
    tagged(tags, 0x0806),
    wordsOf([1, 0x0800, 0x0604, operation]),
    macOf(ends.senderMac),
    addressOf(ends.sender).bytes,
    macOf(ends.targetMac),
    addressOf(ends.target).bytes,
    new Uint8Array(padding),
  );
}

const question: Arp = { operation: 1, senderMac: CLIENT_MAC, sender: client, targetMac: NOBODY, target: vip };
const answer: Arp = {
  operation: 2,
  to: CLIENT_MAC,
  from: OUTSIDE_MAC,
  senderMac: OUTSIDE_MAC,
  sender: vip,
  targetMac: CLIENT_MAC,
  target: client,
};

const arpCases: readonly PacketCase[] = [
  { name: 'an ARP request for a VIP is answered', frame: arp(question), said: 'answered: arp-reply', out: arp(answer) },
  {
    name: 'an answer on the inside interface carries that interface’s MAC',
    frame: arp(question),
    send: { via: INSIDE },
    said: 'answered: arp-reply',
    out: arp({ ...answer, from: INSIDE_MAC, senderMac: INSIDE_MAC }),
    via: INSIDE,
  },
  {
    name: 'a padded ARP request behind a VLAN tag is answered behind the same tag',
    frame: arp({ ...question, tags: [9], padding: 14 }),
    said: 'answered: arp-reply',
    out: arp({ ...answer, tags: [9], padding: 14 }),
  },
  {
    name: 'what follows an ARP request in a longer frame is not sent back',
    frame: arp({ ...question, padding: 300 }),
    said: 'answered: arp-reply',
    out: arp(answer),
  },
  {
    name: 'an ARP probe (RFC 5227) for a VIP is answered, so that nobody takes the address',
    frame: arp({ ...question, sender: '0.0.0.0' }),
    said: 'answered: arp-reply',
    out: arp({ ...answer, target: '0.0.0.0' }),
  },
  {
    name: 'a gratuitous ARP for a VIP from another station is not answered',
    frame: arp({ ...question, sender: vip }),
    said: 'dropped: bad-source',
  },
  { name: 'an ARP reply passes', frame: arp({ ...question, operation: 2 }), said: 'passed: not-ours' },
  {
    name: 'an ARP request for another address passes',
    frame: arp({ ...question, target: '203.0.113.11' }),
    said: 'passed: not-ours',
  },
  {
    name: 'an ARP request from a group MAC is not answered',
    frame: arp({ ...question, senderMac: '03:00:00:00:00:01' }),
    said: 'dropped: bad-source',
  },
  {
    name: 'an ARP request with hardware that is no Ethernet passes',
    frame: arp(question).with(15, 6),
    said: 'passed: not-ours',
  },
  { name: 'an ARP request cut short is dropped', frame: arp(question).subarray(0, 41), said: 'dropped: short-frame' },
].map((one) => ({ ...one, services: serviceOf(tcp4) }));

/** The solicited-node group of RFC 4291 §2.7.1 and its MAC. */
const tail = addressOf(vip6).bytes.slice(13);
const GROUP = `ff02::1:ff${hex(tail[0]!)}:${hex(tail[1]!)}${hex(tail[2]!)}`;
const GROUP_MAC = `33:33:ff:${hex(tail[0]!)}:${hex(tail[1]!)}:${hex(tail[2]!)}`;

function hex(octet: number): string {
  return octet.toString(16).padStart(2, '0');
}

function neighbourMessage(type: number, flags: number, target: string, option: readonly number[]): Uint8Array {
  return join(wordsOf([type << 8, 0, flags << 8, 0]), addressOf(target).bytes, Uint8Array.from(option));
}

const solicitation: FrameSpec = {
  toMac: GROUP_MAC,
  fromMac: CLIENT_MAC,
  from: client6,
  to: GROUP,
  ttl: 255,
  protocol: 'icmp6',
  payload: neighbourMessage(135, 0, vip6, [1, 1, ...macOf(CLIENT_MAC)]),
};

const advertisement: FrameSpec = {
  toMac: CLIENT_MAC,
  fromMac: OUTSIDE_MAC,
  from: vip6,
  to: client6,
  ttl: 255,
  protocol: 'icmp6',
  payload: neighbourMessage(136, 0x60, vip6, [2, 1, ...macOf(OUTSIDE_MAC)]),
};

const probe6 = { ...solicitation, from: '::', payload: neighbourMessage(135, 0, vip6, []) };
const wrongChecksum = buildFrame(solicitation);
wrongChecksum[57]! ^= 1;

const ndpCases: readonly PacketCase[] = [
  {
    name: 'a neighbour solicitation for a VIP is answered',
    frame: solicitation,
    said: 'answered: ndp-reply',
    out: advertisement,
  },
  {
    name: 'a solicitation without the sender’s link-layer address is answered',
    frame: { ...solicitation, payload: neighbourMessage(135, 0, vip6, []) },
    said: 'answered: ndp-reply',
    out: advertisement,
  },
  {
    name: 'a solicitation sent straight to the VIP and this MAC is answered',
    frame: { ...solicitation, to: vip6, toMac: OUTSIDE_MAC },
    said: 'answered: ndp-reply',
    out: advertisement,
  },
  {
    name: 'a solicitation behind two VLAN tags is answered behind the same tags',
    frame: { ...solicitation, tags: [3, 4] },
    said: 'answered: ndp-reply',
    out: { ...advertisement, tags: [3, 4] },
  },
  {
    name: 'a probe for a VIP (duplicate address detection) is answered to all nodes',
    frame: probe6,
    said: 'answered: ndp-reply',
    out: {
      ...advertisement,
      toMac: '33:33:00:00:00:01',
      to: 'ff02::1',
      payload: neighbourMessage(136, 0x20, vip6, [2, 1, ...macOf(OUTSIDE_MAC)]),
    },
  },
  {
    name: 'a solicitation for another address passes',
    frame: { ...solicitation, payload: neighbourMessage(135, 0, '2001:db8::99', []) },
    said: 'passed: not-ours',
  },
  {
    name: 'a solicitation that came over a router is dropped: its hop limit is not 255',
    frame: { ...solicitation, ttl: 254 },
    said: 'dropped: bad-l4-header',
  },
  {
    name: 'a solicitation with a code is dropped',
    frame: { ...solicitation, payload: neighbourMessage(135, 0, vip6, []).with(1, 1) },
    said: 'dropped: bad-l4-header',
  },
  { name: 'a solicitation with a wrong checksum is dropped', frame: wrongChecksum, said: 'dropped: bad-l4-header' },
  {
    name: 'a solicitation behind extension headers is dropped',
    frame: { ...solicitation, extensions: [{ number: 0, octets: [0, 0, 5, 2, 0, 0, 1, 0] }] },
    said: 'dropped: bad-l4-header',
  },
  {
    name: 'a solicitation cut short inside its target is dropped',
    frame: { ...solicitation, payload: neighbourMessage(135, 0, vip6, []).subarray(0, 23) },
    said: 'dropped: short-frame',
  },
  {
    name: 'an advertisement passes',
    frame: { ...solicitation, payload: neighbourMessage(136, 0, vip6, []) },
    said: 'passed: not-ours',
  },
].map((one) => ({ ...one, services: serviceOf(tcp6) }));

function echo(family: 4 | 6, octets: Uint8Array, isReply = false): Uint8Array {
  const types = family === 4 ? [8, 0] : [128, 129];
  return join(wordsOf([types[isReply ? 1 : 0]! << 8, 0]), octets);
}

const ping: FrameSpec = {
  toMac: OUTSIDE_MAC,
  fromMac: CLIENT_MAC,
  from: client,
  to: vip,
  protocol: 'icmp',
  payload: echo(4, payloadOf(60)),
  ttl: 17,
};
const pong: FrameSpec = {
  ...ping,
  toMac: CLIENT_MAC,
  fromMac: OUTSIDE_MAC,
  from: vip,
  to: client,
  payload: echo(4, payloadOf(60), true),
  ttl: 64,
};
const ping6: FrameSpec = { ...ping, from: client6, to: vip6, protocol: 'icmp6', payload: echo(6, payloadOf(60)) };
const pong6: FrameSpec = { ...pong, from: vip6, to: client6, protocol: 'icmp6', payload: echo(6, payloadOf(60), true) };

const echoCases: readonly PacketCase[] = [
  { name: 'an echo request to a VIP is answered', frame: ping, said: 'answered: echo-reply', out: pong },
  {
    name: 'an echo request with options behind a VLAN tag is answered in kind',
    frame: { ...ping, tags: [5], options: [1, 1, 1, 0] },
    said: 'answered: echo-reply',
    out: { ...pong, tags: [5], options: [1, 1, 1, 0] },
  },
  {
    name: 'an echo request with TTL 1 arrived, so it is answered',
    frame: { ...ping, ttl: 1 },
    said: 'answered: echo-reply',
    out: pong,
  },
  {
    name: 'an echo request as long as the MTU is answered whole',
    frame: { ...ping, payload: echo(4, payloadOf(1476)) },
    said: 'answered: echo-reply',
    out: { ...pong, payload: echo(4, payloadOf(1476), true) },
  },
  {
    name: 'what follows an echo request in its frame is not sent back',
    frame: { ...ping, padding: 300 },
    said: 'answered: echo-reply',
    out: pong,
  },
  {
    name: 'an echo request of nothing but zeros gets FFFF as the checksum of its reply, not the other zero',
    frame: { ...ping, payload: echo(4, new Uint8Array(32)) },
    said: 'answered: echo-reply',
    out: { ...pong, payload: echo(4, new Uint8Array(32), true) },
  },
  {
    name: 'an echo request over IPv6 is answered',
    services: serviceOf(tcp6),
    frame: ping6,
    said: 'answered: echo-reply',
    out: pong6,
  },
  {
    name: 'an echo reply to a VIP is for nobody',
    frame: { ...ping, payload: echo(4, payloadOf(60), true) },
    said: 'dropped: unsupported',
  },
  {
    name: 'an echo request with a code is for nobody',
    frame: { ...ping, payload: echo(4, payloadOf(60)).with(1, 1) },
    said: 'dropped: unsupported',
  },
  {
    name: 'an echo request to another address passes',
    frame: { ...ping, to: '203.0.113.11' },
    said: 'passed: not-ours',
  },
].map((one) => ({ services: serviceOf(tcp4), ...one }));

/** The error about a frame: its IP packet is quoted as it came, as far as `quoted` octets. */
function icmpError(about: FrameSpec, head: readonly number[], from: string, via = OUTSIDE): FrameSpec {
  const packet = buildFrame(about).subarray(14 + 4 * (about.tags?.length ?? 0));
  const isV4 = addressOf(about.from).family === 4;
  return {
    toMac: about.fromMac,
    fromMac: via === OUTSIDE ? OUTSIDE_MAC : INSIDE_MAC,
    ...(about.tags === undefined ? {} : { tags: about.tags }),
    from,
    to: about.from,
    ttl: 64,
    id: 0,
    protocol: isV4 ? 'icmp' : 'icmp6',
    payload: join(wordsOf(head), packet.subarray(0, QUOTED)),
  };
}

const QUOTED = 128;

/** Internetwork control (RFC 1812 §4.3.2.5): the IPv4 type of service of an ICMP error, which the builder leaves 0. */
export function withPrecedence(spec: FrameSpec): Uint8Array {
  const octets = buildFrame(spec);
  const at = 14 + 4 * (spec.tags?.length ?? 0);
  octets[at + 1] = 0xc0;
  // One word grew by 0x00c0, so the checksum shrinks by as much, with the borrow brought around.
  const checksum = ((octets[at + 10]! << 8) | octets[at + 11]!) - 0xc0;
  const wrapped = checksum < 0 ? checksum + 0xffff : checksum;
  octets[at + 10] = wrapped >> 8;
  octets[at + 11] = wrapped & 0xff;
  return octets;
}

const TIME_EXCEEDED = [0x0b00, 0, 0, 0];
const TIME_EXCEEDED6 = [0x0300, 0, 0, 0];
const TOO_BIG = [0x0304, 0, 0, 1500];
const TOO_BIG6 = [0x0200, 0, 0, 1500];
const HOST = '203.0.113.1';
const HOST6 = '2001:db8::1';

const dying = request(udp4, { ttl: 1, payload: payloadOf(300) });
const dying6 = request(udp6, { ttl: 1, payload: payloadOf(300) });
const dyingShort = request(tcp4, { ttl: 0, tags: [12] });
const large = request(tcp4, { payload: payloadOf(1461) });
const large6 = request(tcp6, { payload: payloadOf(1441) });
const enter =
  (exchange: Exchange): NonNullable<PacketCase['before']> =>
  (stage) =>
    stage.send(request(exchange));

const errorCases: readonly PacketCase[] = [
  {
    name: 'a client’s frame whose TTL ends here is answered with time exceeded, which quotes it',
    services: serviceOf(udp4),
    frame: dying,
    said: 'answered: time-exceeded',
    out: withPrecedence(icmpError(dying, TIME_EXCEEDED, HOST)),
  },
  {
    name: 'a frame of a flow whose TTL ends here is answered as well, and the quote is whole when it is short',
    services: serviceOf(tcp4),
    before: enter(tcp4),
    frame: dyingShort,
    said: 'answered: time-exceeded',
    out: withPrecedence(icmpError(dyingShort, TIME_EXCEEDED, HOST)),
  },
  {
    name: 'a hop limit that ends here is answered over IPv6',
    services: serviceOf(udp6),
    frame: dying6,
    said: 'answered: time-exceeded',
    out: icmpError(dying6, TIME_EXCEEDED6, HOST6),
  },
  {
    name: 'a frame too big for the next link with DF is answered with the MTU',
    services: serviceOf(tcp4),
    frame: large,
    said: 'answered: too-big',
    out: withPrecedence(icmpError(large, TOO_BIG, HOST)),
  },
  {
    name: 'a frame too big for the next link without DF is dropped: fairlead does not fragment',
    services: serviceOf(tcp4),
    frame: { ...large, dontFragment: false },
    said: 'dropped: oversize',
  },
  {
    name: 'a frame too big for the next link over IPv6 is answered with the MTU',
    services: serviceOf(tcp6),
    frame: large6,
    said: 'answered: too-big',
    out: icmpError(large6, TOO_BIG6, HOST6),
  },
  {
    name: 'a super-frame whose segments are too big for the next link is answered with the MTU',
    services: serviceOf(tcp4),
    frame: request(tcp4, { payload: payloadOf(3000) }),
    send: { gsoSize: 1461 },
    said: 'answered: too-big',
    out: withPrecedence(icmpError(request(tcp4, { payload: payloadOf(3000) }), TOO_BIG, HOST)),
  },
  {
    name: 'a packet that fits, in a frame padded beyond the MTU, is no big packet',
    services: serviceOf(tcp4),
    frame: request(tcp4, { payload: payloadOf(1460), padding: 40 }),
    said: 'forwarded: new-flow',
  },
  {
    name: 'an ICMP error quotes nothing of what follows the packet',
    services: serviceOf(udp4),
    frame: request(udp4, { ttl: 1, payload: payloadOf(20), padding: 60 }),
    said: 'answered: time-exceeded',
    out: withPrecedence(icmpError(request(udp4, { ttl: 1, payload: payloadOf(20) }), TIME_EXCEEDED, HOST)),
  },
  {
    name: 'a server’s frame whose TTL ends here is answered to the server',
    services: serviceOf(udp4),
    before: enter(udp4),
    frame: serverDying(),
    send: { via: INSIDE },
    said: 'answered: time-exceeded',
    out: withPrecedence(icmpError(serverDying(), TIME_EXCEEDED, '10.0.1.1', INSIDE)),
    via: INSIDE,
  },
  {
    name: 'an ICMP error over the limit of this tick is not sent, and counted',
    services: serviceOf(udp4),
    before: (stage) => {
      stage.setSetting('icmp_per_tick', 2);
      stage.send(dying);
      stage.send(dying);
    },
    frame: dying,
    said: 'dropped: icmp-limited',
  },
  {
    name: 'the next tick has its own budget of ICMP errors',
    services: serviceOf(udp4),
    before: (stage) => {
      stage.setSetting('icmp_per_tick', 1);
      stage.send(dying);
      stage.send(dying);
      stage.wait(0.2);
    },
    frame: dying,
    said: 'answered: time-exceeded',
    out: withPrecedence(icmpError(dying, TIME_EXCEEDED, HOST)),
  },
];

function serverDying(): FrameSpec {
  return {
    ...request(udp4, { ttl: 1, payload: payloadOf(10) }),
    toMac: INSIDE_MAC,
    fromMac: '02:00:00:00:00:51',
    from: addressesOf(udp4).server,
    fromPort: 8080,
    to: client,
    toPort: 40_000,
  };
}

export const answerCases: readonly PacketCase[] = [...arpCases, ...ndpCases, ...echoCases, ...errorCases];
