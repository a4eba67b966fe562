// Every server of dsr services tried through the path that clients use, at each VIP: what `fairlead doctor` asks a daemon.

import { isDsr } from '../config/dsr-rules.ts';
import { tunnelOverhead } from '../config/tunnel.ts';
import type { Listen, ServiceConfig } from '../config/config.ts';
import type { PathTrial, TrialQuestion, TryPath } from '../health/path-trial.ts';
import { readHop } from '../plane/counters.ts';
import type { Plane } from '../plane/plane.ts';
import { interfaceNames } from './desired.ts';
import { viaOf } from './health.ts';
import type { ControlState, ServerState, ServiceState } from './state.ts';

/** At a time: enough to be done with a thousand dead servers while a client still waits. */
const ABREAST = 64;

export async function tryPaths(
  plane: Plane,
  state: ControlState,
  tryPath: TryPath,
  only?: string,
): Promise<readonly PathTrial[]> {
  const waiting = state.services
    .filter(({ config }) => isDsr(config) && (only === undefined || config.name === only))
    .flatMap(({ config, servers }) =>
      servers.flatMap((server) => vipsOf(config).map((listen) => ({ config, server, listen }))),
    );
  const trials: PathTrial[] = [];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { config, server, listen } = next;
      const question = questionOf(plane, state, config, server, listen);
      const { handshake, fullSize } = await tryPath(question);
      trials.push({
        service: config.name,
        server: server.config.name,
        vip: listen.vip.text,
        port: question.port,
        handshake: handshake === null ? null : { outcome: handshake.outcome, reason: handshake.reason },
        fullSize,
        size: question.size,
      });
    }
  };
  await Promise.all(Array.from({ length: ABREAST }, work));
  return trials;
}

/** Each VIP once, with a TCP port when it has one. */
function vipsOf({ listens }: ServiceConfig): readonly Listen[] {
  const sorted = listens.toSorted((a, b) => Number(a.protocol === 'tcp') - Number(b.protocol === 'tcp'));
  return [...new Map(sorted.map((listen) => [listen.vip.text, listen])).values()];
}

function questionOf(
  plane: Plane,
  { config, host }: ControlState,
  service: ServiceState['config'],
  server: ServerState,
  { vip, protocol, firstPort }: Listen,
): TrialQuestion {
  const name = interfaceNames(config)[readHop(plane, server.slot)?.interfaceId ?? 0];
  const mtu = host.links.find((link) => link.name === name)?.mtu ?? 1500;
  const size = service.tunnel === null ? mtu : mtu - tunnelOverhead(service.tunnel);
  const via = viaOf(service, server.config);
  return { vip, port: protocol === 'tcp' ? firstPort : null, server: server.config.address, via, size };
}
