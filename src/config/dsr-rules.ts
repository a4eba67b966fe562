// What direct server return asks of one service, whatever host it runs on: servers see the client's packet as it was,
// so nothing in it can be translated, and a tunnel has two ends of one family.

import { sameAddress } from '../net/address.ts';
import { prefixContains } from '../net/prefix.ts';
import type { ServiceConfig } from './config.ts';
import { unusableKind } from './address-kind.ts';
import { formatListen } from './endpoint.ts';
import type { Finding, Path } from './positions.ts';
import { serverPath } from './server-path.ts';
import { formatTunnelSource } from './tunnel.ts';

export function isDsr({ method }: { readonly method: string }): boolean {
  return method === 'l2-dsr' || method === 'l3-dsr';
}

export function samePorts(service: ServiceConfig): Finding[] {
  if (!isDsr(service)) return [];
  return service.servers.flatMap((server): Finding[] => {
    const other = service.listens.find(
      ({ firstPort, lastPort }) => server.port !== null && (firstPort !== server.port || lastPort !== server.port),
    );
    if (other === undefined) return [];
    return [
      {
        path: [...serverPath(service, server), 'port'],
        elsewhere: [[...serverPath(service, server), 'address']],
        message: `server "${server.name}" has port ${server.port}, but ${formatListen(other)} is another: ${service.method} translates no ports`,
        hint: "leave the server's port out and let it listen on the service's, or use nat",
      },
    ];
  });
}

export function tunnelEnds(service: ServiceConfig, path: Path): Finding[] {
  const { tunnel, servers, listens } = service;
  if (tunnel === null) return [];
  const at = [...path, 'tunnel', 'source'];
  const { address } = tunnel.source;
  const text = formatTunnelSource(tunnel.source);
  const kind = unusableKind(address);
  if (kind !== null) return [{ path: at, message: `tunnel source ${text} cannot be used: it is ${kind}` }];
  const vip = listens.find((listen) => prefixContains(tunnel.source, listen.vip));
  if (vip !== undefined) {
    const message = `tunnel source ${text} holds VIP ${vip.vip.text}, from which the servers answer clients`;
    return [{ path: at, message, hint: 'use an address of this host' }];
  }
  return servers.flatMap((server): Finding[] => {
    const place = [...serverPath(service, server), 'address'];
    if (server.address.family !== address.family) {
      const message = `server "${server.name}" at ${server.address.text} is IPv${server.address.family}, but tunnel source ${text} is IPv${address.family}`;
      return [
        { path: place, message, hint: 'both ends of a tunnel are of one family; what is inside may be of another' },
      ];
    }
    if (!prefixContains(tunnel.source, server.address)) return [];
    const what = sameAddress(server.address, address) ? 'is' : 'holds';
    return [{ path: at, message: `tunnel source ${text} ${what} the address of server "${server.name}"` }];
  });
}
