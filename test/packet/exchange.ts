// One exchange between a client and a server through a VIP, in four frames: the request as it comes and as it leaves,
// the reply as it comes and as it leaves.

import assert from 'node:assert/strict';
import type { FrameSpec } from './frame.ts';
import { CLIENT_MAC, INSIDE_MAC, OUTSIDE_MAC, serverMac, type Stage } from './stage.ts';

export interface Exchange {
  readonly method: 'nat' | 'full-nat';
  readonly protocol: 'tcp' | 'udp';
  readonly family: 4 | 6;
}

export const exchanges: readonly Exchange[] = (['nat', 'full-nat'] as const).flatMap((method) =>
  (['tcp', 'udp'] as const).flatMap((protocol) => ([4, 6] as const).map((family) => ({ method, protocol, family }))),
);

export function nameOf({ method, protocol, family }: Exchange): string {
  return `${method}, ${protocol}, IPv${family}`;
}

interface Addresses {
  readonly client: string;
  readonly vip: string;
  readonly server: string;
}

export const CLIENT_PORT = 40_000;
export const VIP_PORT = 80;
export const SERVER_PORT = 8080;

export function addressesOf({ family }: Pick<Exchange, 'family'>): Addresses {
  return family === 4
    ? { client: '198.51.100.7', vip: '203.0.113.10', server: '10.0.1.11' }
    : { client: '2001:db8:c::7', vip: '2001:db8::10', server: 'fd00::a00:10b' };
}

/** One service with one server behind another port. */
export function serviceOf({ method, protocol, family }: Exchange, more: readonly string[] = []): string {
  const { vip, server } = addressesOf({ family });
  const quote = (address: string): string => (family === 6 ? `[${address}]` : address);
  return [
    '  web:',
    `    listen: "${quote(vip)}:${VIP_PORT}/${protocol}"`,
    `    method: ${method}`,
    '    scheduler: rr',
    '    check: none',
    `    servers: { one: "${quote(server)}:${SERVER_PORT}" }`,
    ...more.map((line) => `    ${line}`),
    '',
  ].join('\n');
}

/** What the frame carries besides its ends. */
export type Content = Partial<Omit<FrameSpec, 'toMac' | 'fromMac' | 'from' | 'to' | 'fromPort' | 'toPort'>>;

export function request(exchange: Exchange, content: Content = {}): FrameSpec {
  const { client, vip } = addressesOf(exchange);
  return {
    toMac: OUTSIDE_MAC,
    fromMac: CLIENT_MAC,
    from: client,
    to: vip,
    fromPort: CLIENT_PORT,
    toPort: VIP_PORT,
    protocol: exchange.protocol,
    ...(exchange.protocol === 'tcp' ? { flags: 'S' } : {}),
    ...content,
  };
}

/** Full-nat's source; with nat the client's own end. */
export interface Local {
  readonly address: string;
  readonly port: number;
}

/** Of the only flow, or of the first. */
export function localOf(stage: Stage): Local {
  const [flow] = stage.flows();
  assert.ok(flow, 'there is a flow');
  return { address: (flow.local ?? flow.client).text, port: flow.localPort };
}

export function requestOut(exchange: Exchange, local: Local, content: Content = {}): FrameSpec {
  const { server } = addressesOf(exchange);
  const came = request(exchange, content);
  return {
    ...came,
    toMac: serverMac(server),
    fromMac: INSIDE_MAC,
    from: local.address,
    fromPort: local.port,
    to: server,
    toPort: SERVER_PORT,
    ttl: (came.ttl ?? 64) - 1,
  };
}

export function reply(exchange: Exchange, local: Local, content: Content = {}): FrameSpec {
  const { server } = addressesOf(exchange);
  return {
    toMac: INSIDE_MAC,
    fromMac: serverMac(server),
    from: server,
    fromPort: SERVER_PORT,
    to: local.address,
    toPort: local.port,
    protocol: exchange.protocol,
    ...(exchange.protocol === 'tcp' ? { flags: 'SA' } : {}),
    ...content,
  };
}

export function replyOut(exchange: Exchange, content: Content = {}): FrameSpec {
  const { client, vip } = addressesOf(exchange);
  const came = reply(exchange, { address: client, port: CLIENT_PORT }, content);
  return {
    ...came,
    toMac: CLIENT_MAC,
    fromMac: OUTSIDE_MAC,
    from: vip,
    fromPort: VIP_PORT,
    ttl: (came.ttl ?? 64) - 1,
  };
}
