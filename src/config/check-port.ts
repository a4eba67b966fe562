// Which port a check connects to: its own, else the server's, else the first port that clients of the service use.

import type { ServerConfig, ServiceConfig } from './config.ts';

/** Null when the service has no check. The rules see to it that a service with a check has such a port. */
export function checkPortOf(service: ServiceConfig, server: ServerConfig): number | null {
  if (service.check === null) return null;
  const listen = service.listens.find(({ protocol }) => protocol === 'tcp') ?? service.listens[0];
  return service.check.port ?? server.port ?? listen?.firstPort ?? null;
}
