// Where a server stands in the file: among the servers of its service, or among the backups.

import type { ServerConfig, ServiceConfig } from './config.ts';
import type { Path } from './positions.ts';

export function serverPath(service: ServiceConfig, server: ServerConfig): Path {
  return ['services', service.name, server.isBackup ? 'backup' : 'servers', server.name];
}
