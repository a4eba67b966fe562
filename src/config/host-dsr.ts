// What direct server return asks of the host where the balancer runs: neighbours for l2-dsr, an own address and room in
// the packets for l3-dsr.

import type { Address } from '../net/address.ts';
import { prefixContains } from '../net/prefix.ts';
import type { Config, ServiceConfig, TunnelConfig } from './config.ts';
import { findConnected, type HostLink, type HostView } from './host-view.ts';
import type { Finding } from './positions.ts';
import { serverPath } from './server-path.ts';
import { formatTunnelSource, tunnelOverhead } from './tunnel.ts';

/** The least MTU of IPv6's links (RFC 8200, section 5), and what every IPv4 host takes (RFC 791, section 3.2). */
const LEAST_MTU = { 4: 576, 6: 1280 } as const;

export function checkNeighbours(service: ServiceConfig, config: Config, host: HostView): Finding[] {
  if (service.method !== 'l2-dsr') return [];
  const names = Object.values(config.interfaces);
  // Of an interface that is missing at the moment nobody knows the networks.
  if (names.some((name) => linkOf(host, name) === undefined)) return [];
  return service.servers.flatMap((server): Finding[] => {
    const { name, address } = server;
    if (findConnected(address, host, names) !== undefined) return [];
    const path = [...serverPath(service, server), 'address'];
    const message = `server "${name}" at ${address.text} is in no network that ${names.join(' or ')} is connected to: l2-dsr reaches servers by their MAC only`;
    return [{ path, message, hint: 'use method l3-dsr for servers behind routers' }];
  });
}

export function checkTunnel(service: ServiceConfig, config: Config, host: HostView): Finding[] {
  const { tunnel } = service;
  return tunnel === null ? [] : [...checkSource(service, tunnel, host), ...checkRoom(service, tunnel, config, host)];
}

function checkSource(service: ServiceConfig, { source }: TunnelConfig, host: HostView): Finding[] {
  if (host.addresses.some(({ prefix }) => prefixContains(source, prefix.address))) return [];
  const path = ['services', service.name, 'tunnel', 'source'];
  const { family } = source.address;
  const own = host.addresses
    .filter(({ link, prefix }) => link !== 'lo' && prefix.address.family === family)
    .map(({ link, prefix }) => `${prefix.address.text} (${link})`);
  const hint = `this host has ${own.join(', ') || `no IPv${family} address`}`;
  const single = source.length === source.address.bytes.length * 8;
  const message = single ? 'is no address of this host' : 'holds no address of this host';
  return [{ path, message: `tunnel source ${formatTunnelSource(source)} ${message}`, hint }];
}

function checkRoom(service: ServiceConfig, tunnel: TunnelConfig, config: Config, host: HostView): Finding[] {
  const family = service.listens[0]?.vip.family ?? 4;
  const overhead = tunnelOverhead(tunnel);
  const links = new Set(service.servers.map(({ address }) => wayTo(address, config, host)));
  return [...links].flatMap((link): Finding[] => {
    if (link === undefined || link.mtu - overhead >= LEAST_MTU[family]) return [];
    const message = `interface ${link.name} has MTU ${link.mtu}, of which ${tunnel.type} over IPv${tunnel.source.address.family} leaves ${link.mtu - overhead} octets: IPv${family} needs ${LEAST_MTU[family]}`;
    const hint = `raise it: ip link set ${link.name} mtu ${LEAST_MTU[family] + overhead}, or more`;
    return [{ path: ['services', service.name, 'tunnel'], on: 'key', message, hint }];
  });
}

/** The link whose network holds the address; of a server behind a router the inside, else the only link there is. */
function wayTo(address: Address, config: Config, host: HostView): HostLink | undefined {
  const { outside, inside } = config.interfaces;
  const name = findConnected(address, host, [outside, inside])?.link ?? inside ?? outside;
  return linkOf(host, name);
}

/** Undefined while it is not there: a reload puts a link without an index in its place. */
function linkOf(host: HostView, name: string): HostLink | undefined {
  return host.links.find((link) => link.name === name && link.index > 0);
}
