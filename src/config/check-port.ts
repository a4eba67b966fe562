// Which checks a server has, and which port each of them goes to: its own, else the server's, else the first port that
// clients of the service use.

import type { CheckConfig, CheckPlan } from './check.ts';
import type { Protocol, ServerConfig, ServiceConfig } from './config.ts';

/** Null: the server is taken to be up. */
export function checkPlanOf(service: ServiceConfig, server: ServerConfig): CheckPlan | null {
  return server.check === undefined ? service.check : server.check;
}

/** What a check needs a port of; null: of nothing. */
export function checkProtocol({ kind }: CheckConfig): Protocol | null {
  if (kind.type === 'icmp' || kind.type === 'exec') return null;
  return kind.type === 'udp' || kind.type === 'dns' ? 'udp' : 'tcp';
}

/** Null when there is none: the rules see to it that a check that needs a port has one. */
export function checkPortOf(service: ServiceConfig, server: ServerConfig, check: CheckConfig): number | null {
  if (check.kind.type === 'icmp') return null;
  const protocol = checkProtocol(check);
  const listen = service.listens.find((own) => own.protocol === protocol) ?? service.listens[0];
  return check.port ?? server.port ?? listen?.firstPort ?? null;
}
