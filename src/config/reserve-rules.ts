// What must hold for what steps in and what comes back: backups, the least number of servers, slow start.

import type { ServiceConfig } from './config.ts';
import type { Finding, Path } from './positions.ts';
import { serverPath } from './server-path.ts';

type Rule = (service: ServiceConfig, path: Path) => Finding[];

export const RESERVE_RULES: readonly Rule[] = [distinctNames, reachableMinimum, growingWeights];

function distinctNames(service: ServiceConfig): Finding[] {
  const ordinary = service.servers.filter(({ isBackup }) => !isBackup);
  return service.servers.flatMap((server): Finding[] => {
    const other = server.isBackup ? ordinary.find(({ name }) => name === server.name) : undefined;
    if (other === undefined) return [];
    const message = `backup "${server.name}" has the name of a server`;
    return [{ path: serverPath(service, server), on: 'key', message, see: serverPath(service, other) }];
  });
}

function reachableMinimum({ minUp, servers, name }: ServiceConfig, path: Path): Finding[] {
  const ordinary = servers.filter(({ isBackup }) => !isBackup).length;
  if (minUp <= Math.max(1, ordinary)) return [];
  const has = `${ordinary} server${ordinary === 1 ? '' : 's'}`;
  return [{ path: [...path, 'min-up'], message: `"min-up" is ${minUp}, but service "${name}" has ${has}` }];
}

function growingWeights({ scheduler, slowStartMs }: ServiceConfig, path: Path): Finding[] {
  if (slowStartMs === 0 || (scheduler !== 'rr' && scheduler !== 'lc')) return [];
  const message = `"slow-start" makes weights grow, which scheduler ${scheduler} ignores`;
  return [{ path: [...path, 'slow-start'], on: 'key', message, hint: `use w${scheduler}` }];
}
