// What a real server's host is like, as far as direct server return depends on it.

import { join } from 'node:path';
import type { ServerConfig, ServiceConfig } from '../config/config.ts';
import { type Address, parseAddress } from '../net/address.ts';
import { parsePrefix, type Prefix } from '../net/prefix.ts';
import { askJson, type Ipv4Settings, readIpv4Settings, readText } from './ask-host.ts';
import { type Listener, parseListeners } from './listeners.ts';

export interface ServerFacts {
  readonly links: readonly LinkFact[];
  readonly addresses: readonly AddressFact[];
  readonly settings: ReadonlyMap<string, Ipv4Settings>;
  /** Links of default routes. */
  readonly defaultLinks: Readonly<Record<4 | 6, readonly string[]>>;
  readonly listeners: readonly Listener[];
  /** Null: fairlead-decap is not there, or may not look. */
  readonly unwrapping: readonly Unwrapping[] | null;
}

export interface LinkFact {
  readonly name: string;
  readonly isUp: boolean;
  readonly hasCarrier: boolean;
  /** Answers ARP and neighbour discovery. */
  readonly isEthernet: boolean;
  /** "veth", "gre"; physical cards have none. */
  readonly kind: string | null;
  readonly tunnel: KernelTunnel | null;
}

/** What the kernel's device unwraps. Null: anything. */
export interface KernelTunnel {
  readonly remote: string | null;
  readonly local: string | null;
  readonly key: number | null;
}

export interface AddressFact {
  readonly link: string;
  readonly prefix: Prefix;
  /** IPv6's duplicate address detection has not ended, or has found one. */
  readonly isTentative: boolean;
}

/** As `fairlead-decap list --json` prints it. */
export interface Unwrapping {
  readonly interface: string;
  readonly at: 'xdp' | 'tc';
  readonly generic: boolean;
  readonly services: readonly UnwrappedService[];
  readonly counts: Readonly<Record<string, { readonly frames: number; readonly octets: number }>>;
}

export interface UnwrappedService {
  readonly service: string;
  readonly tunnel: string;
  readonly local: string;
  readonly key?: number;
  readonly port?: number;
  readonly from: readonly string[];
  readonly vips: readonly string[];
}

interface IpLink {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly link_type: string;
  readonly linkinfo?: { readonly info_kind?: string; readonly info_data?: Readonly<Record<string, unknown>> };
  readonly addr_info?: readonly IpAddress[];
}

interface IpAddress {
  readonly local: string;
  readonly prefixlen: number;
  readonly tentative?: boolean;
  readonly dadfailed?: boolean;
}

/** `tools`: the folder of fairlead-decap, for when it is not on the PATH. */
export function gatherServerFacts(tools: string): ServerFacts {
  const addressed = (askJson('ip', '-j', 'address', 'show') ?? []) as IpLink[];
  const tables = (['tcp', 'udp'] as const).flatMap((protocol) =>
    ['', '6'].flatMap((family) => parseListeners(protocol, readText(`/proc/net/${protocol}${family}`) ?? '')),
  );
  return {
    links: ((askJson('ip', '-j', '-d', 'link', 'show') ?? []) as IpLink[]).map(linkFact),
    addresses: addressed.flatMap(({ ifname, addr_info: infos = [] }) =>
      infos.flatMap((info) => addressFact(ifname, info)),
    ),
    settings: readIpv4Settings(),
    defaultLinks: { 4: defaultLinks('-4'), 6: defaultLinks('-6') },
    listeners: tables,
    unwrapping: (askJson('fairlead-decap', 'list', '--json') ??
      askJson(join(tools, 'fairlead-decap'), 'list', '--json')) as Unwrapping[] | null,
  };
}

function linkFact({ ifname, flags, link_type: type, linkinfo }: IpLink): LinkFact {
  const data = linkinfo?.info_data;
  const isTunnel = data !== undefined && 'remote' in data;
  return {
    name: ifname,
    isUp: flags.includes('UP'),
    hasCarrier: flags.includes('LOWER_UP'),
    isEthernet: type === 'ether' && !flags.includes('NOARP'),
    kind: linkinfo?.info_kind ?? null,
    tunnel: isTunnel ? { remote: textOf(data.remote), local: textOf(data.local), key: keyOf(data.ikey) } : null,
  };
}

/** iproute2 writes "any" for what is not said. */
function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== 'any' ? value : null;
}

/** GRE's key, which iproute2 writes like an IPv4 address: "0.0.0.7". */
function keyOf(value: unknown): number | null {
  const bytes = typeof value === 'string' ? parseAddress(value)?.bytes : undefined;
  if (typeof value === 'number') return value;
  return bytes === undefined ? null : Buffer.from(bytes).readUInt32BE(0);
}

function addressFact(link: string, { local, prefixlen, tentative, dadfailed }: IpAddress): AddressFact[] {
  const prefix = parsePrefix(`${local}/${prefixlen}`);
  return prefix === null ? [] : [{ link, prefix, isTentative: tentative === true || dadfailed === true }];
}

function defaultLinks(family: string): string[] {
  const routes = askJson('ip', family, '-j', 'route', 'show', 'default') as
    | { dev?: string; nexthops?: { dev: string }[] }[]
    | null;
  return (routes ?? []).flatMap(({ dev, nexthops = [] }) => [
    ...(dev === undefined ? [] : [dev]),
    ...nexthops.map((hop) => hop.dev),
  ]);
}

/** Which of the service's servers this host is, and the link that carries its address. */
export interface Self {
  readonly server: ServerConfig;
  readonly address: Address;
  readonly link: string;
}

export function findSelf(service: ServiceConfig, { addresses }: ServerFacts): Self | null {
  for (const server of service.servers) {
    const own = addresses.find(({ prefix }) => prefix.address.text === server.address.text);
    if (own !== undefined) return { server, address: server.address, link: own.link };
  }
  return null;
}
