// What must hold inside one service, whatever host it runs on. Each rule looks at one thing and gives its findings.

import { type Address, formatEndpoint, sameAddress } from '../net/address.ts';
import { unusableKind } from './address-kind.ts';
import type { Listen, ServerConfig, ServiceConfig } from './config.ts';
import { CHECK_RULES } from './check-rules.ts';
import { samePorts, tunnelEnds } from './dsr-rules.ts';
import { formatListen } from './endpoint.ts';
import { LIMITS } from './limits.ts';
import type { Finding, Path } from './positions.ts';
import { RESERVE_RULES } from './reserve-rules.ts';
import { serverPath } from './server-path.ts';

type Rule = (service: ServiceConfig, path: Path) => Finding[];

const RULES: readonly Rule[] = [
  usableAddresses,
  oneFamily,
  someServers,
  distinctServers,
  keptPorts,
  samePorts,
  tunnelEnds,
  usefulWeights,
  ...CHECK_RULES,
  ...RESERVE_RULES,
  sourcePool,
];

export function checkService(service: ServiceConfig): Finding[] {
  const path = ['services', service.name];
  return RULES.flatMap((rule) => rule(service, path));
}

export function checkInterfaces(interfaces: { outside: string; inside?: string | undefined }): Finding[] {
  if (interfaces.inside !== interfaces.outside) return [];
  const hint = 'leave "inside" out when there is one interface only';
  return [{ path: ['interfaces', 'inside'], message: 'inside is the same interface as outside', hint }];
}

function usableAddresses(service: ServiceConfig, path: Path): Finding[] {
  const explain = (what: string, address: Address, at: Path): Finding[] => {
    const kind = unusableKind(address);
    return kind === null ? [] : [{ path: at, message: `${what} ${address.text} cannot be used: it is ${kind}` }];
  };
  return [
    ...service.listens.flatMap(({ vip }, i) => explain('VIP', vip, [...path, 'listen', i])),
    ...service.servers.flatMap((server) =>
      explain(`server "${server.name}" at`, server.address, [...serverPath(service, server), 'address']),
    ),
    ...service.sources.flatMap((source) => explain('source', source, [...path, 'source'])),
  ];
}

function oneFamily(service: ServiceConfig, path: Path): Finding[] {
  const [first] = service.listens;
  if (first === undefined) return [];
  const { family, text } = first.vip;
  const explain = (what: string, address: Address, at: Path): Finding[] =>
    address.family === family
      ? []
      : [{ path: at, message: `${what} is IPv${address.family}, but VIP ${text} is IPv${family}` }];
  return [
    ...service.listens.flatMap(({ vip }, i) => explain(`VIP ${vip.text}`, vip, [...path, 'listen', i])),
    // In a tunnel the servers' family is that of its source: see tunnelEnds.
    ...(service.tunnel === null ? service.servers : []).flatMap((server) =>
      explain(`server "${server.name}" at ${server.address.text}`, server.address, [
        ...serverPath(service, server),
        'address',
      ]),
    ),
    ...service.sources.flatMap((source) => explain(`source ${source.text}`, source, [...path, 'source'])),
  ];
}

function someServers(service: ServiceConfig, path: Path): Finding[] {
  if (service.servers.some(({ isBackup }) => !isBackup)) return [];
  return [{ path: [...path, 'servers'], on: 'key', message: `service "${service.name}" has no server` }];
}

function distinctServers(service: ServiceConfig): Finding[] {
  const [first] = service.listens;
  const isOnePort = service.listens.every(
    ({ firstPort, lastPort }) => firstPort === first?.firstPort && firstPort === lastPort,
  );
  const owners = new Map<string, ServerConfig>();
  return service.servers.flatMap((server) => {
    const port = server.port ?? (isOnePort ? (first?.firstPort ?? null) : null);
    const endpoint = port === null ? server.address.text : formatEndpoint(server.address, port);
    const owner = owners.get(endpoint);
    if (owner === undefined) owners.set(endpoint, server);
    if (owner === undefined) return [];
    const message = `server "${server.name}" is at ${endpoint}, where server "${owner.name}" is already`;
    return [{ path: [...serverPath(service, server), 'address'], message, see: serverPath(service, owner) }];
  });
}

function keptPorts(service: ServiceConfig): Finding[] {
  const range = service.listens.find(isRange);
  if (range === undefined) return [];
  return service.servers
    .filter((server) => server.port !== null)
    .map((server) => ({
      path: [...serverPath(service, server), 'port'],
      elsewhere: [[...serverPath(service, server), 'address']],
      message: `server "${server.name}" has port ${server.port}, but ${formatListen(range)} is a range of ports`,
      hint: "leave the server's port out to keep the client's",
    }));
}

function usefulWeights(service: ServiceConfig): Finding[] {
  const { scheduler, servers } = service;
  if (scheduler !== 'rr' && scheduler !== 'lc') return [];
  const active = servers.filter(({ weight }) => weight > 0);
  const odd = active.find(({ weight }) => weight !== active[0]?.weight);
  if (odd === undefined) return [];
  const message = `server "${odd.name}" has weight ${odd.weight} and server "${active[0]?.name}" has ${active[0]?.weight}, which scheduler ${scheduler} ignores`;
  // Named at a weight that was written: a server in its short form has none.
  const elsewhere = active.map((server) => [...serverPath(service, server), 'weight']);
  return [{ path: [...serverPath(service, odd), 'weight'], elsewhere, message, hint: `use w${scheduler}` }];
}

function sourcePool(service: ServiceConfig, path: Path): Finding[] {
  const { sources } = service;
  const at = { path: [...path, 'source'] };
  if (sources.length > LIMITS.sources) {
    return [{ ...at, message: `the source pool has ${sources.length} addresses; ${LIMITS.sources} are the most` }];
  }
  const twice = sources.find((source, i) => sources.findIndex((other) => sameAddress(source, other)) < i);
  if (twice !== undefined) return [{ ...at, message: `source ${twice.text} is in the pool twice` }];
  const server = service.servers.find(({ address }) => sources.some((source) => sameAddress(source, address)));
  if (server === undefined) return [];
  return [{ ...at, message: `source ${server.address.text} is the address of server "${server.name}"` }];
}

function isRange(listen: Listen): boolean {
  return listen.firstPort < listen.lastPort;
}
