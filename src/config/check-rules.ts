// What must hold for the checks of one service and its servers: times that fit each other, and a port to ask.

import type { CheckConfig, CheckPlan } from './check.ts';
import { checkPlanOf, checkProtocol } from './check-port.ts';
import type { ServiceConfig } from './config.ts';
import { formatDuration } from './duration.ts';
import { LIMITS } from './limits.ts';
import type { Finding, Path } from './positions.ts';
import { serverPath } from './server-path.ts';

type Rule = (service: ServiceConfig, path: Path) => Finding[];

export const CHECK_RULES: readonly Rule[] = [checkTimes, checkPort];

const DEFAULTS: Path = ['defaults', 'check'];

function checkTimes(service: ServiceConfig, path: Path): Finding[] {
  const plans = [
    { plan: service.check, at: [...path, 'check'] },
    ...service.servers.map((server) => ({ plan: server.check ?? null, at: [...serverPath(service, server), 'check'] })),
  ];
  return plans.flatMap(({ plan, at }) =>
    (plan?.checks ?? []).flatMap((check, index) => [
      ...timeoutFits(check, at, index),
      ...fastIsFaster(check, at, index),
    ]),
  );
}

function timeoutFits({ everyMs, timeoutMs }: CheckConfig, at: Path, index: number): Finding[] {
  if (timeoutMs <= everyMs) return [];
  const [path = at, ...elsewhere] = [at, DEFAULTS].flatMap((place) => [
    ...placesOf(place, index, 'timeout'),
    ...placesOf(place, index, 'every'),
  ]);
  const message = `the check's timeout of ${formatDuration(timeoutMs)} is above its interval of ${formatDuration(everyMs)}`;
  return [{ path, elsewhere, message }];
}

function fastIsFaster({ everyMs, fastEveryMs }: CheckConfig, at: Path, index: number): Finding[] {
  if (fastEveryMs <= everyMs) return [];
  const [path = at, ...elsewhere] = [at, DEFAULTS].flatMap((place) => placesOf(place, index, 'fast-every'));
  const message = `the check's fast-every of ${formatDuration(fastEveryMs)} is above its interval of ${formatDuration(everyMs)}`;
  return [{ path, elsewhere, message }];
}

/** Where a key of the check at `index` of a plan may stand: in the check alone, in a list, under all or under any. */
function placesOf(at: Path, index: number, key: string): Path[] {
  return [
    [...at, key],
    [...at, index, key],
    [...at, 'all', index, key],
    [...at, 'any', index, key],
  ];
}

function checkPort(service: ServiceConfig, path: Path): Finding[] {
  const shared = service.servers.some((server) => server.check === undefined && server.port === null);
  const findings = shared && service.check !== null ? portFindings(service, service.check, path) : [];
  const own = service.servers.flatMap((server) => {
    if (server.check === undefined || server.check === null || server.port !== null) return [];
    return portFindings(service, checkPlanOf(service, server) ?? server.check, serverPath(service, server));
  });
  return [...findings, ...own];
}

function portFindings(service: ServiceConfig, plan: CheckPlan, path: Path): Finding[] {
  const lacking = plan.checks.find((check) => check.port === null && checkProtocol(check) !== null);
  if (lacking === undefined) return [];
  const protocol = checkProtocol(lacking);
  const listen = service.listens.find((own) => own.protocol === protocol);
  const hint = 'write check: { port: N } or check: none';
  if (listen === undefined) {
    const verb = protocol === 'tcp' ? 'connect to' : 'ask';
    const message = `service "${service.name}" has no ${protocol === 'tcp' ? 'TCP' : 'UDP'} port that a check could ${verb}`;
    return [{ path: [...path, 'check'], on: 'key', message, hint }];
  }
  if (listen.firstPort > 1 || listen.lastPort < LIMITS.port) return [];
  const message = `service "${service.name}" listens on every port, so its check must be told one`;
  const elsewhere = [['services', service.name, 'listen']];
  return [{ path: [...path, 'check'], elsewhere, on: 'key', message, hint }];
}
