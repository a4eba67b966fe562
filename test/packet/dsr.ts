// Direct server return: services with one server, by MAC or in a tunnel, and the frames that they get.

import assert from 'node:assert/strict';
import { layout } from '../../src/native/layout.ts';
import type { Engine } from './engines.ts';
import { type FrameSpec, hex, l4OffsetOf, payloadOf } from './frame.ts';
import { CLIENT_MAC, INSIDE_MAC, openStage, OUTSIDE_MAC, serverMac, type Stage } from './stage.ts';
import type { TunnelSpec } from './tunnel.ts';

export type Family = 4 | 6;

export const ENDS = {
  4: { client: '198.51.100.7', vip: '203.0.113.10', server: '10.0.1.11', source: '10.0.1.1' },
  6: { client: '2001:db8:c::7', vip: '2001:db8::10', server: 'fd00::a00:10b', source: 'fd00::1' },
} as const;

interface Service {
  readonly inner: Family;
  readonly outer?: Family;
  readonly protocol?: 'tcp' | 'udp';
  readonly tunnel?: string;
  readonly scheduler?: string;
}

export function serviceOf({ inner, outer = inner, protocol = 'tcp', tunnel, scheduler = 'rr' }: Service): string {
  const quote = (address: string): string => (address.includes(':') ? `[${address}]` : address);
  return [
    '  web:',
    `    listen: "${quote(ENDS[inner].vip)}:80/${protocol}"`,
    `    method: ${tunnel === undefined ? 'l2-dsr' : 'l3-dsr'}`,
    ...(tunnel === undefined ? [] : [`    tunnel: { ${tunnel}, source: "${ENDS[outer].source}" }`]),
    `    scheduler: ${scheduler}`,
    '    check: none',
    `    servers: { one: "${ENDS[outer].server}" }`,
    '',
  ].join('\n');
}

export function request(inner: Family, content: Partial<FrameSpec> = {}): FrameSpec {
  const { client, vip } = ENDS[inner];
  const ends = { from: client, to: vip, fromPort: 40_000, toPort: 80 };
  return { toMac: OUTSIDE_MAC, fromMac: CLIENT_MAC, ...ends, protocol: 'tcp', flags: 'S', ...content };
}

/** Of the only flow there is. */
export function tagOf({ plane }: Stage): number {
  const { octets, control, tag } = layout.fl_flow;
  const flows = new DataView(plane.section('flows'));
  for (let at = 0; at < flows.byteLength; at += octets) {
    if ((flows.getUint32(at + control, true) & 0xff) > 1) return flows.getUint16(at + tag, true);
  }
  throw new Error('there is no flow');
}

export function tunnelOf(
  stage: Stage,
  outer: Family,
  type: TunnelSpec['type'],
  more: Partial<TunnelSpec> = {},
): TunnelSpec {
  const { server, source } = ENDS[outer];
  const ends = { toMac: serverMac(server), fromMac: INSIDE_MAC, from: source, to: server };
  return { type, ...ends, ttl: 64, trafficClass: 0, tag: tagOf(stage), ...more };
}

export function assertFrame(actual: Uint8Array | null, expected: Uint8Array): void {
  assert.equal(hex(actual), hex(expected));
}

export function open(t: Parameters<typeof openStage>[0], engine: Engine, service: Service | string): Stage {
  const stage = openStage(t, engine);
  stage.configure(typeof service === 'string' ? service : serviceOf(service));
  return stage;
}

/** 24 octets: destination options, and an atomic fragment. */
export const CHAIN = [
  { number: 60, octets: [0, 1, 1, 12, ...Array<number>(12).fill(0)] },
  { number: 44, octets: [0, 0, 0, 0, 1, 2, 3, 4] },
] as const;

interface Dress {
  readonly name: string;
  readonly content: Partial<FrameSpec>;
  readonly gsoSize?: number;
  readonly family?: Family;
}

const dresses: readonly Dress[] = [
  { name: 'empty', content: {} },
  { name: 'with an odd number of octets', content: { payload: payloadOf(333) } },
  { name: 'padded to Ethernet’s shortest', content: { padding: 6 } },
  { name: 'with a trailer', content: { payload: payloadOf(30), padding: 40 } },
  { name: 'with one VLAN tag', content: { tags: [100], payload: payloadOf(20) } },
  { name: 'with two VLAN tags', content: { tags: [100, 7], payload: payloadOf(20) } },
  { name: 'with its last TTL', content: { ttl: 1 } },
  { name: 'with marks for quality and congestion', content: { trafficClass: 0xb9, payload: payloadOf(5) } },
  { name: 'with IPv4 options', content: { options: [0x1e, 4, 0, 7], payload: payloadOf(9) }, family: 4 },
  {
    name: 'with an IPv6 extension header',
    content: { extensions: [{ number: 60, octets: [0, 0, 1, 4, 0, 0, 0, 0] }], payload: payloadOf(9) },
    family: 6,
  },
  { name: 'with the checksum left to the card', content: { checksum: 'partial', payload: payloadOf(500) } },
  { name: 'as a super-frame', content: { checksum: 'partial', payload: payloadOf(60_000) }, gsoSize: 1380 },
  { name: 'as a super-frame with its checksum', content: { payload: payloadOf(3000) }, gsoSize: 1380 },
];

export const tunnels = [
  { type: 'gre', text: 'type: gre' },
  { type: 'gre', text: 'type: gre, key: 3735928559', key: 0xdead_beef },
  { type: 'ipip', text: 'type: ipip' },
  { type: 'gue', text: 'type: gue' },
] as const;

export const FAMILIES: readonly Family[] = [4, 6];
export const PROTOCOLS = ['tcp', 'udp'] as const;

/** The frames that the engine takes, in every dress. */
export function worn(engine: Engine, inner: Family, protocol: 'tcp' | 'udp') {
  return dresses
    .filter(({ family, content, gsoSize = 0 }) => {
      if (family !== undefined && family !== inner) return false;
      return engine.takes({ gsoSize, csumStart: content.checksum === 'partial' ? 1 : 0 });
    })
    .map(({ name, content, gsoSize = 0 }) => {
      const frame = (flags: string): FrameSpec => request(inner, { ...content, protocol, flags });
      const csumStart = content.checksum === 'partial' ? l4OffsetOf(frame('S')) : 0;
      return { name, frame, options: { gsoSize, csumStart } };
    });
}
