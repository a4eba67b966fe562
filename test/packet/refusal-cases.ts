// Clients for whom there is no server, no service or no flow: each refusal octet for octet, and what is never refused.

import type { PacketCase } from './cases.ts';
import { addressesOf, type Content, type Exchange, request, serviceOf } from './exchange.ts';
import { buildFrame, type FrameSpec, join, payloadOf, SEQUENCE, wordsOf } from './frame.ts';
import { INSIDE, INSIDE_MAC, OUTSIDE_MAC } from './stage.ts';
import { withPrecedence } from './answer-cases.ts';

const tcp4: Exchange = { method: 'nat', protocol: 'tcp', family: 4 };
const udp4: Exchange = { ...tcp4, protocol: 'udp' };
const tcp6: Exchange = { ...tcp4, family: 6 };
const udp6: Exchange = { ...udp4, family: 6 };

const NO_SERVER = { weights: { 'web/one': 0 } };
const UNREACHABLE = { 4: [0x0303, 0, 0, 0], 6: [0x0104, 0, 0, 0] } as const;

/** The frame's way back: ends swapped, from this host, without a trace of the sender's own choices. */
function back(frame: FrameSpec, mac: string = OUTSIDE_MAC): FrameSpec {
  return {
    toMac: frame.fromMac,
    fromMac: mac,
    ...(frame.tags === undefined ? {} : { tags: frame.tags }),
    from: frame.to,
    to: frame.from,
    id: 0,
    protocol: frame.protocol,
  };
}

/** RFC 9293 §3.10.7.1, group 1: to what acknowledges nothing, a RST that acknowledges all of it. */
function rstAcknowledging(frame: FrameSpec, octets: number, mac?: string): FrameSpec {
  const ends = { fromPort: frame.toPort!, toPort: frame.fromPort! };
  return { ...back(frame, mac), ...ends, flags: 'RA', further: -SEQUENCE, acknowledges: octets, window: 0 };
}

/** The same, to what acknowledges something: a RST with just that number. */
function rstNumbered(frame: FrameSpec, number: number, mac?: string): FrameSpec {
  const ends = { fromPort: frame.toPort!, toPort: frame.fromPort! };
  return { ...back(frame, mac), ...ends, flags: 'R', further: number, acknowledges: -SEQUENCE, window: 0 };
}

/** Port unreachable, from where it was sent to, that quotes so much of the packet. */
function unreachable(frame: FrameSpec, quoted: number): FrameSpec | Uint8Array {
  const isV4 = !frame.from.includes(':');
  const packet = buildFrame(frame).subarray(14 + 4 * (frame.tags?.length ?? 0));
  const spec: FrameSpec = {
    ...back(frame),
    protocol: isV4 ? 'icmp' : 'icmp6',
    payload: join(wordsOf(UNREACHABLE[isV4 ? 4 : 6]), packet.subarray(0, quoted)),
  };
  return isV4 ? withPrecedence(spec) : spec;
}

interface Refusal {
  readonly title: string;
  readonly exchange: Exchange;
  readonly content?: Content;
  readonly out: (frame: FrameSpec) => FrameSpec | Uint8Array;
}

const noServer: readonly PacketCase[] = (
  [
    { title: 'a SYN', exchange: tcp4, out: (frame) => rstAcknowledging(frame, 1) },
    { title: 'a SYN over IPv6', exchange: tcp6, out: (frame) => rstAcknowledging(frame, 1) },
    {
      title: 'a SYN with options and data behind two VLAN tags',
      exchange: tcp4,
      content: { tcpOptions: [2, 4, 5, 180, 1, 1, 4, 2], payload: payloadOf(11), tags: [7, 8] },
      out: (frame) => rstAcknowledging(frame, 12),
    },
    {
      title: 'a SYN behind IPv4 options, padded',
      exchange: tcp4,
      content: { options: [1, 1, 1, 0], padding: 6 },
      out: (frame) => rstAcknowledging(frame, 1),
    },
    {
      title: 'a SYN over IPv6 behind an extension header and a VLAN tag',
      exchange: tcp6,
      content: { extensions: [{ number: 60, octets: [0, 0, 1, 4, 0, 0, 0, 0] }], tags: [9] },
      out: (frame) => rstAcknowledging(frame, 1),
    },
    {
      title: 'a datagram',
      exchange: udp4,
      content: { payload: payloadOf(300) },
      out: (frame) => unreachable(frame, 128),
    },
    {
      title: 'a datagram of middling length, which is not outgrown by its answer,',
      exchange: udp4,
      content: { payload: payloadOf(60) },
      out: (frame) => unreachable(frame, 60),
    },
    { title: 'an empty datagram', exchange: udp4, content: { padding: 18 }, out: (frame) => unreachable(frame, 28) },
    {
      title: 'a datagram over IPv6',
      exchange: udp6,
      content: { payload: payloadOf(300) },
      out: (frame) => unreachable(frame, 128),
    },
    {
      title: 'an empty datagram over IPv6 behind a VLAN tag',
      exchange: udp6,
      content: { tags: [5] },
      out: (frame) => unreachable(frame, 48),
    },
  ] satisfies Refusal[]
).map(({ title, exchange, content, out }: Refusal) => {
  const frame = request(exchange, content);
  return {
    name: `${title} for a service without a server is refused`,
    services: serviceOf(exchange),
    configure: NO_SERVER,
    frame,
    said: 'answered: refused-no-server',
    out: out(frame),
  };
});

const noFlow: readonly PacketCase[] = (
  [
    { title: 'an ACK', exchange: tcp4, content: { flags: 'A' }, out: (frame) => rstNumbered(frame, 1) },
    {
      title: 'data over IPv6 behind a VLAN tag',
      exchange: tcp6,
      content: { flags: 'PA', acknowledges: 77, payload: payloadOf(5), tags: [4] },
      out: (frame) => rstNumbered(frame, 77),
    },
    { title: 'a SYN+ACK', exchange: tcp4, content: { flags: 'SA' }, out: (frame) => rstNumbered(frame, 1) },
    {
      title: 'a FIN',
      exchange: tcp4,
      content: { flags: 'FA', acknowledges: 0x7fff_ffff },
      out: (frame) => rstNumbered(frame, 0x7fff_ffff),
    },
  ] satisfies Refusal[]
).map(({ title, exchange, content, out }: Refusal) => {
  const frame = request(exchange, content);
  return {
    name: `${title} of no known flow is refused`,
    services: serviceOf(exchange),
    frame,
    said: 'answered: refused-no-flow',
    out: out(frame),
  };
});

const toNoPort = { ...request(tcp4), toPort: 81 };
const toNoPort6 = { ...request(udp6, { payload: payloadOf(200) }), toPort: 81 };
const fromServer: FrameSpec = {
  ...request({ ...tcp4, method: 'full-nat' }, { flags: 'FA' }),
  toMac: INSIDE_MAC,
  fromMac: '02:00:00:00:00:51',
  from: addressesOf(tcp4).server,
  fromPort: 8080,
  toPort: 40_123,
};

const large = request(tcp4, { flags: 'PA', checksum: 'partial', payload: payloadOf(3000) });

const noService: readonly PacketCase[] = [
  {
    name: 'a super-frame that owes its checksum, of no known flow, is refused by one RST',
    services: serviceOf(tcp4),
    frame: large,
    send: { gsoSize: 1460, csumStart: 34 },
    said: 'answered: refused-no-flow',
    out: rstNumbered(large, 1),
  },
  {
    name: 'UDP to a port where only TCP is served is refused',
    services: serviceOf(tcp4),
    frame: request(udp4, { payload: payloadOf(28) }),
    said: 'answered: refused-no-service',
    out: unreachable(request(udp4, { payload: payloadOf(28) }), 28),
  },
  {
    name: 'a SYN to a port of a VIP on which no service listens is refused',
    services: serviceOf(tcp4),
    frame: toNoPort,
    said: 'answered: refused-no-service',
    out: rstAcknowledging(toNoPort, 1),
  },
  {
    name: 'a datagram over IPv6 to a port of a VIP on which no service listens is refused',
    services: serviceOf(udp6),
    frame: toNoPort6,
    said: 'answered: refused-no-service',
    out: unreachable(toNoPort6, 128),
  },
  {
    name: 'what a full-nat server says when its flow is forgotten is refused to the server',
    services: serviceOf({ ...tcp4, method: 'full-nat' }),
    frame: fromServer,
    send: { via: INSIDE },
    said: 'answered: refused-no-service',
    out: rstNumbered(fromServer, 1, INSIDE_MAC),
    via: INSIDE,
  },
  {
    name: 'with "on-no-service: drop" nobody is told of a port without a service',
    services: serviceOf(tcp4),
    configure: { head: 'on-no-service: drop' },
    frame: toNoPort,
    said: 'dropped: no-service',
  },
];

const silent: readonly PacketCase[] = [
  {
    name: 'a RST of no known flow is not answered',
    services: serviceOf(tcp4),
    frame: request(tcp4, { flags: 'R' }),
    said: 'dropped: no-flow',
  },
  {
    name: 'a RST for a service without a server is not answered',
    services: serviceOf(tcp4),
    configure: NO_SERVER,
    frame: request(tcp4, { flags: 'RA' }),
    said: 'dropped: no-flow',
  },
  {
    name: 'a RST to a port without a service is not answered',
    services: serviceOf(tcp4),
    frame: { ...request(tcp4, { flags: 'R' }), toPort: 81 },
    said: 'dropped: no-service',
  },
  {
    name: 'with "on-no-server: drop" a SYN for which there is no server gets no answer',
    services: serviceOf(tcp4, ['on-no-server: drop']),
    configure: NO_SERVER,
    frame: request(tcp4),
    said: 'dropped: no-server',
  },
  {
    name: 'with "on-no-server: drop" an ACK of no known flow gets no answer',
    services: serviceOf(tcp4, ['on-no-server: drop']),
    frame: request(tcp4, { flags: 'A' }),
    said: 'dropped: no-flow',
  },
  {
    name: 'a client for whom no server has room gets no answer: there may be room when it asks again',
    services: serviceOf(tcp4, ['max-flows: 1']),
    before: (stage) => stage.send(request(tcp4, {})),
    frame: { ...request(tcp4), fromPort: 40_001 },
    said: 'dropped: servers-full',
  },
  {
    name: 'with "on-servers-full: refuse" a client for whom no server has room is told so',
    services: serviceOf(tcp4, ['max-flows: 1', 'on-servers-full: refuse']),
    before: (stage) => stage.send(request(tcp4)),
    frame: { ...request(tcp4), fromPort: 40_001 },
    said: 'answered: refused-servers-full',
    out: rstAcknowledging({ ...request(tcp4), fromPort: 40_001 }, 1),
  },
  {
    name: 'a RST over the limit of this tick is not sent, and counted',
    services: serviceOf(tcp4),
    configure: NO_SERVER,
    before: (stage) => {
      stage.setSetting('rst_per_tick', 1);
      stage.send(request(tcp4));
    },
    frame: request(tcp4),
    said: 'dropped: rst-limited',
  },
  {
    name: 'the next tick has its own budget of RSTs',
    services: serviceOf(tcp4),
    configure: NO_SERVER,
    before: (stage) => {
      stage.setSetting('rst_per_tick', 1);
      stage.send(request(tcp4));
      stage.wait(0.2);
    },
    frame: request(tcp4),
    said: 'answered: refused-no-server',
    out: rstAcknowledging(request(tcp4), 1),
  },
  {
    name: 'port unreachable comes out of the budget of ICMP errors',
    services: serviceOf(udp4),
    configure: NO_SERVER,
    before: (stage) => {
      stage.setSetting('icmp_per_tick', 1);
      stage.send(request(udp4));
    },
    frame: request(udp4),
    said: 'dropped: icmp-limited',
  },
];

export const refusalCases: Record<string, readonly PacketCase[]> = {
  'clients without a server': noServer,
  'TCP without a flow': noFlow,
  'ports without a service': noService,
  'what is not refused': silent,
};
