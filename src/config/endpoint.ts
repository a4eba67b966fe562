// The small grammars inside a configuration's texts: what a service listens on, where a server is, which addresses
// full-nat may use as sources. Each parser gives a value or says in words what is wrong.

import {
  type Address,
  addressFromBytes,
  compareAddresses,
  formatEndpoint,
  numberOf,
  parseAddress,
} from '../net/address.ts';
import type { Listen, Protocol } from './config.ts';
import { LIMITS } from './limits.ts';

export type Parsed<T> = { readonly value: T } | { readonly problem: string; readonly hint?: string };

/** "203.0.113.10:80/tcp", "[2001:db8::10]:53/udp", "10.0.0.1:8000-8099/tcp", "10.0.0.1:*\/tcp" (without the backslash). */
export function parseListen(text: string): Parsed<Listen> {
  const hint = 'write it like 203.0.113.10:80/tcp, [2001:db8::10]:53/udp, 10.0.0.1:8000-8099/tcp or 10.0.0.1:*/tcp';
  const match = /^(.*)\/([^/]*)$/.exec(text);
  if (match === null) return { problem: `listen "${text}" names no protocol`, hint };
  const protocol = match[2] ?? '';
  if (!isProtocol(protocol)) return { problem: `"${protocol}" in listen "${text}" is no protocol; tcp and udp are` };
  const split = splitEndpoint(match[1] ?? '');
  if (split === null || split.port === null) return { problem: `listen "${text}" names no port`, hint };
  const vip = parseAddress(split.address);
  if (vip === null) return { problem: `"${split.address}" in listen "${text}" is no IP address`, hint };
  const ports = parsePortRange(split.port);
  if (ports === null) return { problem: `"${split.port}" in listen "${text}" is no port, port range or *`, hint };
  const [firstPort, lastPort] = ports;
  if (firstPort > lastPort) return { problem: `port range ${split.port} in listen "${text}" runs backwards` };
  return { value: { vip, protocol, firstPort, lastPort } };
}

/** The writing that parseListen reads: "10.0.0.1:8000-8099/tcp". */
export function formatListen(listen: Listen): string {
  const { vip, protocol, firstPort, lastPort } = listen;
  if (firstPort === lastPort) return `${formatEndpoint(vip, firstPort)}/${protocol}`;
  const ports = firstPort === 1 && lastPort === LIMITS.port ? '*' : `${firstPort}-${lastPort}`;
  return `${vip.family === 4 ? vip.text : `[${vip.text}]`}:${ports}/${protocol}`;
}

export interface ServerEndpoint {
  readonly address: Address;
  readonly port: number | null;
}

/** "10.0.1.11:8080", "10.0.1.11", "[2001:db8::11]:80", "2001:db8::11". */
export function parseServerEndpoint(text: string): Parsed<ServerEndpoint> {
  const hint = 'write it like 10.0.1.11:8080, 10.0.1.11, [2001:db8::11]:8080 or 2001:db8::11';
  const split = splitEndpoint(text);
  const address = parseAddress(split?.address ?? text);
  if (address === null) return { problem: `"${split?.address ?? text}" is no IP address`, hint };
  if (split === null || split.port === null) return { value: { address, port: null } };
  const port = parsePort(split.port);
  return port === null ? { problem: `"${split.port}" in "${text}" is no port`, hint } : { value: { address, port } };
}

/** "192.0.2.1" or "192.0.2.1-192.0.2.8", both ends included. */
export function parseSources(text: string): Parsed<readonly Address[]> {
  const [first = '', last = first, ...more] = text.split('-');
  const from = parseAddress(first);
  const to = parseAddress(last);
  if (from === null || to === null || more.length > 0) {
    const hint = 'write it like vip, 192.0.2.1, 192.0.2.1-192.0.2.8 or a list of addresses';
    return { problem: `source "${text}" is no IP address or range of them`, hint };
  }
  if (from.family !== to.family) return { problem: `source "${text}" mixes IPv4 and IPv6` };
  if (compareAddresses(from, to) > 0) return { problem: `source "${text}" runs backwards` };
  const start = numberOf(from);
  const size = numberOf(to) - start + 1n;
  if (size > LIMITS.sources)
    return { problem: `source "${text}" has ${size} addresses; ${LIMITS.sources} are the most` };
  return { value: Array.from({ length: Number(size) }, (_, i) => addressOf(start + BigInt(i), from.bytes.length)) };
}

/** Takes the port from the end; a bare IPv6 address has none, its colons are its own. Null: brackets that do not pair. */
function splitEndpoint(text: string): { address: string; port: string | null } | null {
  if (text.startsWith('[')) {
    const match = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
    return match === null || !match[1]?.includes(':') ? null : { address: match[1], port: match[2] ?? null };
  }
  const [address = '', port, ...more] = text.split(':');
  return port === undefined || more.length > 0 ? { address: text, port: null } : { address, port };
}

function isProtocol(text: string): text is Protocol {
  return text === 'tcp' || text === 'udp';
}

function parsePort(text: string): number | null {
  const port = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : Number.NaN;
  return port <= LIMITS.port ? port : null;
}

function parsePortRange(text: string): [number, number] | null {
  if (text === '*') return [1, LIMITS.port];
  const [first = '', last = first, ...more] = text.split('-');
  const from = parsePort(first);
  const to = parsePort(last);
  return from === null || to === null || more.length > 0 ? null : [from, to];
}

function addressOf(number: bigint, length: number): Address {
  return addressFromBytes(
    Uint8Array.from({ length }, (_, i) => Number((number >> BigInt(8 * (length - 1 - i))) & 0xffn)),
  );
}
