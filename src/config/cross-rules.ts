// What must hold between services: who owns a listen, that no server is a VIP, that none is sent packets in its own name,
// and the sizes of the whole.

import { formatListen } from './endpoint.ts';
import type { Listen, ServiceConfig } from './config.ts';
import { LIMITS } from './limits.ts';
import { isDsr } from './dsr-rules.ts';
import type { Finding, Path } from './positions.ts';
import { serverPath } from './server-path.ts';

interface OwnedListen {
  readonly listen: Listen;
  readonly service: string;
  readonly path: Path;
}

export function checkAcrossServices(services: readonly ServiceConfig[]): Finding[] {
  const listens = services.flatMap((service) =>
    service.listens.map((listen, i) => ({
      listen,
      service: service.name,
      path: ['services', service.name, 'listen', i],
    })),
  );
  return [
    ...checkSizes(services, listens),
    ...checkListens(listens),
    ...checkNoServerIsVip(services, listens),
    ...checkNoServerMeetsItself(services),
  ];
}

function checkSizes(services: readonly ServiceConfig[], listens: readonly OwnedListen[]): Finding[] {
  const sizes = [
    ['services', services.length, LIMITS.services],
    ['servers', services.reduce((sum, service) => sum + service.servers.length, 0), LIMITS.servers],
    ['listens', listens.length, LIMITS.listens],
  ] as const;
  return sizes
    .filter(([, size, most]) => size > most)
    .map(([what, size, most]) => ({
      path: ['services'],
      on: 'key' as const,
      message: `there are ${size} ${what}; ${most} are the most`,
    }));
}

/**
 * Of two ranges on one VIP and protocol the narrower wins inside the wider, and an exact port wins over all; so they may
 * lie inside one another, but neither be equal nor overlap in part.
 */
function checkListens(listens: readonly OwnedListen[]): Finding[] {
  const byVip = Map.groupBy(listens, ({ listen }) => listen.vip.text);
  return [...byVip.values()].flatMap((group) => {
    const ranges = group.filter(({ listen }) => listen.firstPort < listen.lastPort);
    return [...findEqual(group), ...(tooManyRanges(ranges) ?? findOverlaps(ranges))];
  });
}

function findEqual(group: readonly OwnedListen[]): Finding[] {
  const owners = new Map<string, OwnedListen>();
  return group.flatMap((own) => {
    const text = formatListen(own.listen);
    const owner = owners.get(text);
    if (owner === undefined) owners.set(text, own);
    return owner === undefined
      ? []
      : [{ path: own.path, message: `${text} belongs to ${nameOwner(owner, own)} already`, see: owner.path }];
  });
}

function tooManyRanges(ranges: readonly OwnedListen[]): Finding[] | null {
  const extra = ranges[LIMITS.rangesPerVip];
  if (extra === undefined) return null;
  const message = `VIP ${extra.listen.vip.text} has ${ranges.length} port ranges; ${LIMITS.rangesPerVip} are the most`;
  return [{ path: extra.path, message }];
}

function findOverlaps(ranges: readonly OwnedListen[]): Finding[] {
  return ranges.flatMap((own, i) =>
    ranges
      .slice(0, i)
      .filter((other) => overlapInPart(own.listen, other.listen))
      .map((other) => ({
        path: own.path,
        message: `${formatListen(own.listen)} overlaps ${formatListen(other.listen)} of ${nameOwner(other, own)} in part`,
        see: other.path,
        hint: 'a range may lie inside another, the narrower wins',
      })),
  );
}

function overlapInPart(a: Listen, b: Listen): boolean {
  if (a.protocol !== b.protocol) return false;
  const [low, high] = a.firstPort < b.firstPort ? [a, b] : [b, a];
  return low.firstPort < high.firstPort && high.firstPort <= low.lastPort && low.lastPort < high.lastPort;
}

function nameOwner(owner: OwnedListen, own: OwnedListen): string {
  return owner.service === own.service ? 'this service' : `service "${owner.service}"`;
}

function checkNoServerIsVip(services: readonly ServiceConfig[], listens: readonly OwnedListen[]): Finding[] {
  const owners = new Map(listens.map((own) => [own.listen.vip.text, own]));
  return services.flatMap((service) =>
    service.servers.flatMap((server) => {
      const { name, address } = server;
      const owner = owners.get(address.text);
      if (owner === undefined) return [];
      const message = `server "${name}" is at ${address.text}, which is a VIP of service "${owner.service}"`;
      return [{ path: [...serverPath(service, server), 'address'], message, see: owner.path }];
    }),
  );
}

/** A server of direct server return has the VIP on lo, and takes what comes from its own address for forged. */
function checkNoServerMeetsItself(services: readonly ServiceConfig[]): Finding[] {
  const owners = new Map(
    services
      .filter(isDsr)
      .flatMap((service) =>
        service.servers.flatMap((server) =>
          service.listens.map(({ vip }) => [`${server.address.text} ${vip.text}`, { service, server }] as const),
        ),
      ),
  );
  return services
    .filter(({ method }) => method === 'full-nat')
    .flatMap((service) =>
      service.servers.flatMap((server): Finding[] => {
        const sources = service.sources.length > 0 ? service.sources : service.listens.map(({ vip }) => vip);
        const source = sources.find(({ text }) => owners.has(`${server.address.text} ${text}`));
        const owner = owners.get(`${server.address.text} ${source?.text}`);
        if (source === undefined || owner === undefined) return [];
        return [
          {
            path: [...serverPath(service, server), 'address'],
            message: `server "${server.name}" has ${source.text} on lo for service "${owner.service.name}", and drops what comes to it from there`,
            see: [...serverPath(owner.service, owner.server), 'address'],
            hint: 'give this service another "source": an address that is no VIP of its servers',
          },
        ];
      }),
    );
}
