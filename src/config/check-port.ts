// Which checks a server has, and which port each of them goes to: its own, else the server's, else the first port that
// clients of the service use.

import type { CheckConfig, CheckPlan, CheckType } from './check.ts';
import type { Listen, Protocol, ServerConfig, ServiceConfig } from './config.ts';

/** Null: the server is taken to be up. */
export function checkPlanOf(service: ServiceConfig, server: ServerConfig): CheckPlan | null {
  return server.check === undefined ? service.check : server.check;
}

/** What a check needs a port of; null: of nothing. */
export function checkProtocol({ kind }: CheckConfig): Protocol | null {
  return protocolOf(kind.type);
}

export function protocolOf(type: CheckType): Protocol | null {
  if (type === 'icmp' || type === 'exec') return null;
  return type === 'udp' || type === 'dns' ? 'udp' : 'tcp';
}

/** Where a check through the path goes: to each VIP that clients use with its protocol, or else to all of them. */
export function checkVipsOf(service: ServiceConfig, check: CheckConfig): readonly Listen[] {
  const protocol = checkProtocol(check);
  const own = service.listens.filter((listen) => listen.protocol === protocol);
  const listens = own.length > 0 ? own : service.listens;
  return [...new Map(listens.toReversed().map((listen) => [listen.vip.text, listen])).values()].toReversed();
}

/** Null when there is none: the rules see to it that a check that needs a port has one. */
export function checkPortOf(service: ServiceConfig, server: ServerConfig, check: CheckConfig): number | null {
  if (check.kind.type === 'icmp') return null;
  const protocol = checkProtocol(check);
  const listen = service.listens.find((own) => own.protocol === protocol) ?? service.listens[0];
  return check.port ?? server.port ?? listen?.firstPort ?? null;
}
