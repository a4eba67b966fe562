// Configuration, decisions about weights and host, put together: what the data plane shall do. Pure.

import type { Config } from '../config/config.ts';
import type { HostView } from '../config/host-view.ts';
import { parseAddress, type Address } from '../net/address.ts';
import { parseMac } from '../net/mac.ts';
import { type Prefix, prefixContains } from '../net/prefix.ts';
import { serverIdentity } from '../plane/identity.ts';
import type { Target, TargetInterface, TargetService } from '../plane/target.ts';

/** `services` are those of the configuration, decided. */
export function makeTarget(config: Config, services: readonly TargetService[], host: HostView): Target {
  const { timeouts, onNoService } = config;
  return { timeouts, onNoService, interfaces: targetInterfaces(config, host), services };
}

/**
 * With the servers of another configuration beside their own, which get no flows, and with its other services, which own no
 * address yet: so that next hops are known, and checks through the path can ask them.
 */
export function withUpcoming(target: Target, { services }: Config): Target {
  const former = new Map(target.services.map(({ config }) => [config.name, config]));
  const upcoming = new Map(services.map((service) => [service.name, service]));
  const grown = target.services.map((service) => {
    const { config, weights, reserves, ends } = service;
    const there = new Set(config.servers.map((server) => serverIdentity(config, server)));
    const next = upcoming.get(config.name);
    // Of another method they would be other servers under the service's old name.
    const isSame = next?.method === config.method;
    const more = isSame ? next.servers.filter((server) => !there.has(serverIdentity(next, server))) : [];
    if (more.length === 0) return service;
    return {
      config: { ...config, servers: [...config.servers, ...more] },
      weights: [...weights, ...more.map(() => 0)],
      reserves: [...reserves, ...more.map(() => 0)],
      ends: [...ends, ...more.map(() => 'no' as const)],
    };
  });
  const fresh = services
    .filter(({ name }) => !former.has(name))
    .map((config) => {
      const none = config.servers.map(() => 0);
      const ends = config.servers.map(() => 'no' as const);
      return { config: { ...config, listens: [] }, weights: none, reserves: none, ends };
    });
  return { ...target, services: [...grown, ...fresh] };
}

/** Names in the order of their ids. */
export function interfaceNames(config: Config): string[] {
  const { outside, inside } = config.interfaces;
  return inside === undefined ? [outside] : [outside, inside];
}

export function targetInterfaces(config: Config, host: HostView): TargetInterface[] {
  return interfaceNames(config).map((name) => {
    const link = host.links.find((candidate) => candidate.name === name);
    const prefixes = host.addresses.filter((address) => address.link === name).map(({ prefix }) => prefix);
    const addresses = prefixes.map(({ address }) => address);
    const ofFamily = (family: 4 | 6): Address[] => addresses.filter((address) => address.family === family);
    return {
      name,
      ifindex: link?.index ?? 0,
      mtu: link?.mtu ?? 0,
      mac: parseMac(link?.mac ?? '') ?? new Uint8Array(6),
      networks: prefixes,
      address4: ofFamily(4)[0] ?? null,
      // An ICMPv6 error from a link-local address would not get past the first router.
      address6: ofFamily(6).find((address) => !prefixContains(LINK_LOCAL, address)) ?? ofFamily(6)[0] ?? null,
    };
  });
}

const LINK_LOCAL: Prefix = { address: parseAddress('fe80::')!, length: 10 };
