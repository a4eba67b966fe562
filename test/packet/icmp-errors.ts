// ICMP errors about nat and full-nat flows, both ways: as they come, and as they have to leave.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Engine } from './engines.ts';
import {
  addressesOf,
  type Content,
  type Exchange,
  type Local,
  localOf,
  reply,
  replyOut,
  request,
  requestOut,
  serviceOf,
} from './exchange.ts';
import { buildFrame, type FrameSpec, hex, join, payloadOf, put16, wordsOf } from './frame.ts';
import { CLIENT_MAC, INSIDE_MAC, openStage, OUTSIDE_MAC, serverMac, type Stage } from './stage.ts';

export const ROUTERS = { 4: '192.0.2.77', 6: '2001:db8:77::1' } as const;

type Kind = readonly [number, number, number];

/** Type, code and the four octets behind the checksum. */
export const KINDS: Record<4 | 6, Record<string, Kind>> = {
  4: {
    'port unreachable': [0x0303, 0, 0],
    'fragmentation needed': [0x0304, 0, 1280],
    'time exceeded': [0x0b00, 0, 0],
    'parameter problem': [0x0c00, 0x1400, 0],
  },
  6: {
    'port unreachable': [0x0104, 0, 0],
    'packet too big': [0x0200, 0, 1280],
    'time exceeded': [0x0300, 0, 0],
    'parameter problem': [0x0400, 0, 40],
  },
};

const TOO_BIG: Record<4 | 6, Kind> = { 4: [0x0304, 0, 1280], 6: [0x0200, 0, 1280] };

interface Error {
  readonly kind?: Kind;
  /** Octets of the quoted packet; all of it by default. */
  readonly quoted?: number;
}

export function errorOf(
  { family }: Exchange,
  ends: Pick<FrameSpec, 'toMac' | 'fromMac' | 'from' | 'to'>,
  about: Uint8Array,
  { kind = TOO_BIG[family], quoted }: Error,
  more: Content = {},
): FrameSpec {
  const tags = more.tags?.length ?? 0;
  const packet = about.subarray(14 + 4 * tags);
  return {
    ...ends,
    protocol: family === 4 ? 'icmp' : 'icmp6',
    payload: join(wordsOf([kind[0], 0, kind[1], kind[2]]), packet.subarray(0, quoted ?? packet.length)),
    ...more,
  };
}

export function open(t: TestContext, engine: Engine, exchange: Exchange) {
  const stage = openStage(t, engine);
  stage.configure(serviceOf(exchange));
  stage.send(request(exchange));
  return { stage, local: localOf(stage), ...addressesOf(exchange) };
}

/** An error of `from`'s about a packet with this content, its own frame with more: as it comes, and as it has to leave. */
type Way = (
  exchange: Exchange,
  local: Local,
  from: string,
  error: Error,
  content?: Content,
  more?: Content,
) => { came: FrameSpec; left: FrameSpec };

/** From the servers' side, about what went to the server. */
export const toClient: Way = (exchange, local, from, error, content = {}, more = {}) => {
  const { client, vip, server } = addressesOf(exchange);
  const sent = { ...requestOut(exchange, local, content), ...more };
  const seen = { ...request(exchange, content), ttl: sent.ttl ?? 63, ...more };
  const came = { toMac: INSIDE_MAC, fromMac: serverMac(server), from, to: local.address };
  const outer = exchange.method === 'full-nat' || from === server ? vip : from;
  const left = { toMac: CLIENT_MAC, fromMac: OUTSIDE_MAC, from: outer, to: client };
  return {
    came: errorOf(exchange, came, buildFrame(sent), error, more),
    left: errorOf(exchange, left, buildFrame(seen), error, { ...more, ttl: 63 }),
  };
};

/** From the clients' side, about what went to the client. */
export const toServer: Way = (exchange, local, from, error, content = {}, more = {}) => {
  const { vip, server } = addressesOf(exchange);
  const sent = { ...replyOut(exchange, content), ...more };
  const seen = { ...reply(exchange, local, content), ttl: sent.ttl ?? 63, ...more };
  const came = { toMac: OUTSIDE_MAC, fromMac: CLIENT_MAC, from, to: vip };
  const outer = exchange.method === 'full-nat' ? local.address : from;
  const left = { toMac: serverMac(server), fromMac: INSIDE_MAC, from: outer, to: server };
  return {
    came: errorOf(exchange, came, buildFrame(sent), error, more),
    left: errorOf(exchange, left, buildFrame(seen), error, { ...more, ttl: 63 }),
  };
};

export const ways = { 'to the client': toClient, 'to the server': toServer } as const;
export const DATA: Content = { payload: payloadOf(64) };
export const about = ({ protocol }: Exchange): Content => ({ ...DATA, ...(protocol === 'tcp' ? { flags: 'A' } : {}) });

/** It goes to the other side, as it has to leave, and changes nothing of its flow. */
export function assertTranslated(
  stage: Stage,
  via: number,
  came: FrameSpec | Uint8Array,
  left: FrameSpec | Uint8Array,
): void {
  const before = stage.flows();
  const outcome = stage.send(came, { via });
  assert.equal(outcome.said, 'forwarded: icmp-error');
  assert.equal(hex(outcome.frame), hex(left instanceof Uint8Array ? left : buildFrame(left)));
  assert.equal(outcome.via, 1 - via);
  assert.deepEqual(stage.flows(), before, 'an error changes nothing of its flow');
}

/** Adds to a checksum as ones' complement does. */
export function bend(octets: Uint8Array, at: number, by: number): void {
  const sum = ((octets[at]! << 8) | octets[at + 1]!) + by;
  put16(octets, at, (sum & 0xffff) + (sum >>> 16));
}
