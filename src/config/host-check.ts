// What only shows on the host where a configuration is to run: interfaces, local addresses, connected networks. Pure:
// whoever calls it brings a snapshot of the host.

import type { ConfigProblem } from '../base/errors.ts';
import type { Address } from '../net/address.ts';
import { sameAddress } from '../net/address.ts';
import { formatPrefix, networkOf, prefixContains } from '../net/prefix.ts';
import type { Config, ServiceConfig } from './config.ts';
import { checkNeighbours, checkTunnel } from './host-dsr.ts';
import { findConnected, type HostView } from './host-view.ts';
import { type Finding, type Path, positionsOf } from './positions.ts';
import { serverPath } from './server-path.ts';
import { nearest } from './suggest.ts';

/** Problems in the order of the file; warnings are those that some clients may never notice. */
export function checkAgainstHost(config: Config, host: HostView): ConfigProblem[] {
  const findings = [
    ...checkLinks(config, host),
    ...config.services.flatMap((service) => checkLocalAddresses(service, host)),
    ...config.services.flatMap((service) => checkReturnPath(service, config, host)),
    ...config.services.flatMap((service) => checkNeighbours(service, config, host)),
    ...config.services.flatMap((service) => checkTunnel(service, config, host)),
  ];
  return positionsOf(config).locate(findings);
}

function checkLinks(config: Config, host: HostView): Finding[] {
  return Object.entries(config.interfaces).flatMap(([side, name]): Finding[] => {
    const path = ['interfaces', side];
    const link = host.links.find((candidate) => candidate.name === name);
    if (link === undefined) {
      const names = host.links.map((candidate) => candidate.name).filter((candidate) => candidate !== 'lo');
      const near = nearest(name, names);
      const hint = near === undefined ? `this host has ${names.join(', ') || 'none'}` : `did you mean "${near}"?`;
      return [{ path, message: `there is no interface "${name}" on this host`, hint }];
    }
    if (name === 'lo') return [{ path, message: 'lo is the loopback interface, no client comes through it' }];
    if (link.isUp) return [];
    return [{ path, message: `interface ${name} is down`, hint: `bring it up: ip link set ${name} up` }];
  });
}

function checkLocalAddresses(service: ServiceConfig, host: HostView): Finding[] {
  const at: Path = ['services', service.name];
  const explain = (what: string, address: Address, path: Path, hint: string): Finding[] => {
    const local = host.addresses.find(({ prefix }) => sameAddress(prefix.address, address));
    if (local === undefined) return [];
    const message = `${what} ${address.text} is an address of this host, on ${local.link}`;
    const command = `ip addr del ${formatPrefix(local.prefix)} dev ${local.link}`;
    return [{ path, message, hint: hint.replace('COMMAND', command) }];
  };
  const alone = 'fairlead answers for it alone: COMMAND';
  return [
    ...service.listens.flatMap(({ vip }, i) => explain('VIP', vip, [...at, 'listen', i], alone)),
    ...service.sources.flatMap((source) => explain('source', source, [...at, 'source'], alone)),
    ...service.servers.flatMap((server) =>
      explain(
        `server "${server.name}" at`,
        server.address,
        [...serverPath(service, server), 'address'],
        'a server must be another host',
      ),
    ),
  ];
}

/**
 * With nat the server answers to the client's own address. Where both are in one network the answer goes straight to the
 * client, which has never heard of that server, and the connection fails.
 */
function checkReturnPath(service: ServiceConfig, config: Config, host: HostView): Finding[] {
  if (service.method !== 'nat') return [];
  const { outside, inside } = config.interfaces;
  return service.servers.flatMap((server): Finding[] => {
    const { name, address } = server;
    const path = [...serverPath(service, server), 'address'];
    const connected = findConnected(address, host, [outside, inside]);
    if (connected === undefined || connected.link !== outside) return [];
    const network = formatPrefix({ address: networkOf(connected.prefix), length: connected.prefix.length });
    if (inside !== undefined) {
      const message = `server "${name}" at ${address.text} is in ${network}, the clients' side (${outside}): with nat its answers would not pass here`;
      return [{ path, message, hint: `move it behind ${inside}, or use method full-nat` }];
    }
    if (service.hairpin === 'snat' || !service.listens.some(({ vip }) => prefixContains(connected.prefix, vip)))
      return [];
    const message = `server "${name}" at ${address.text} is in ${network} like its VIP: clients of that network are refused, and only clients behind a router work`;
    return [{ path, message, hint: 'leave "hairpin" out, or use method full-nat', severity: 'warning' }];
  });
}
