// Decisions for every service of a configuration, and what a change of them means in an operator's words.

import type { Config } from '../config/config.ts';
import { serverId } from '../plane/identity.ts';
import { type Decision, decideService } from './decide.ts';
import type { NewEvent } from './events.ts';
import type { Health } from './health.ts';
import { isOverdue, overrideOf, type Overrides, serverKey } from './overrides.ts';
import type { SlowStart } from './slow-start.ts';

export interface Known {
  readonly nowMs: number;
  readonly overrides: Overrides;
  readonly health: Health;
  readonly slowStart: SlowStart;
  /** By name, and by what it is: another server may have the name by now. */
  readonly isEjected: (server: string, id: bigint) => boolean;
}

export function decideAll(config: Config, { nowMs, overrides, health, slowStart, isEjected }: Known): Decision[] {
  return config.services.map((service) =>
    decideService(
      service,
      service.servers.map((server) => {
        const key = serverKey(service, server);
        const { state, advice } = health.reportOf(service, server);
        const isOut = service.passive?.mode === 'eject' && isEjected(key, serverId(service, server));
        const share = slowStart.shareOf(key, service.slowStartMs);
        const override = overrideOf(overrides, key);
        return {
          override,
          health: state,
          advice,
          isEjected: isOut,
          isOverdue: isOverdue(override, nowMs),
          share,
        };
      }),
    ),
  );
}

export interface Decided {
  readonly config: Config;
  readonly decisions: readonly Decision[];
}

/** Services that both have: those that came or went are told of by the reload. */
export function decisionEvents(before: Decided, after: Decided): NewEvent[] {
  const former = new Map(before.config.services.map(({ name }, index) => [name, before.decisions[index]]));
  return after.config.services.flatMap(({ name }, index): NewEvent[] => {
    const [was, is] = [former.get(name), after.decisions[index]];
    if (was === undefined || is === undefined) return [];
    const event = (kind: NewEvent['kind'], reason: string): NewEvent => ({ kind, service: name, server: null, reason });
    const events: NewEvent[] = [];
    const [usedBefore, used] = [countUsed(was), countUsed(is)];
    if (usedBefore > 0 && used === 0) events.push(event('service-down', 'no server is left'));
    if (usedBefore === 0 && used > 0) events.push(event('service-up', `${used} of its servers can be used`));
    if (!was.areBackupsUsed && is.areBackupsUsed) events.push(event('backup-used', 'too few servers are up'));
    if (was.areBackupsUsed && !is.areBackupsUsed) events.push(event('backup-rests', 'enough servers are up'));
    if (!was.isPanic && is.isPanic) events.push(event('panic', 'too few servers are up: all are used'));
    if (was.isPanic && !is.isPanic) events.push(event('panic-over', 'enough servers are up'));
    return events;
  });
}

function countUsed({ weights }: Decision): number {
  return weights.filter((weight) => weight > 0).length;
}
