// What happens is told twice: in the log, and as an event, for whoever follows, asks later or has a hook.

import type { Logger } from '../base/log.ts';
import { formatDuration } from '../config/duration.ts';
import { type Change, formatChange } from './change.ts';
import { type Events, type NewEvent, partsOf } from './events.ts';
import type { HealthChange } from './health.ts';
import { type AdminState, type OverrideChange, serverKey } from './overrides.ts';

/** Servers by their key. */
export interface Teller {
  /** That servers are found to be up is no news while the first look at all of them is under way. */
  healthChanged(change: HealthChange, isFirstLook: boolean): void;
  /** An agent's wish. */
  advised(server: string, reason: string): void;
  warned(server: string, warning: string): void;
  drainOver(server: string, openFlows: number): void;
  overridden(server: string, change: OverrideChange): void;
  /** What became of a service, or of a server by passive checks, as it is. */
  happened(event: NewEvent): void;
  reloaded(generation: number, changes: readonly Change[]): void;
}

export function makeTeller(log: Logger, events: Events): Teller {
  return {
    healthChanged: ({ server, before, state, reason }, isFirstLook) => {
      if (state === 'down') log.warn({ server }, `server ${server} is down: ${reason}`);
      else if (state === 'doubted') log.warn({ server }, `server ${server} was up, and is doubted now: ${reason}`);
      else log.info({ server }, `server ${server} is ${state}: ${reason}`);
      const isNews = state === 'down' || (state === 'up' && before !== 'doubted' && !isFirstLook);
      if (isNews) events.add({ kind: state === 'up' ? 'server-up' : 'server-down', ...partsOf(server), reason });
    },
    advised: (server, reason) => {
      log.info({ server }, `server ${server}: ${reason}`);
      events.add({ kind: 'server-advice', ...partsOf(server), reason });
    },
    warned: (server, warning) => {
      log.warn({ server }, `server ${server}: ${warning}`);
      events.add({ kind: 'server-warning', ...partsOf(server), reason: warning });
    },
    drainOver: (server, openFlows) => {
      const reason = `the time to drain is over, ${openFlows} open flows end`;
      log.info({ server }, `server ${server}: ${reason}`);
      events.add({ kind: 'server-drain-over', ...partsOf(server), reason });
    },
    overridden: (server, change) => {
      const reason = wordsOf(change);
      log.info({ server }, `server ${server} ${reason}`);
      events.add({ kind: kindOf(change), ...partsOf(server), reason });
    },
    happened: (event) => {
      const service = event.service ?? '';
      const words = `${event.kind}: ${event.reason}`;
      if (event.server === null) log.warn({ service }, `service ${service}: ${words}`);
      else {
        const server = serverKey(service, event.server);
        log[event.kind === 'server-returned' ? 'info' : 'warn']({ server }, `server ${server}: ${words}`);
      }
      events.add(event);
    },
    reloaded: (generation, changes) => {
      const reason = changes.length === 0 ? 'nothing changed' : changes.map(formatChange).join('; ');
      log.info({ generation }, `reloaded: ${reason}`);
      events.add({ kind: 'reloaded', service: null, server: null, reason });
    },
  };
}

const WORDS: Readonly<Record<AdminState, string>> = {
  enabled: 'was enabled by an operator',
  drained: 'was drained by an operator; its flows go on',
  maintenance: 'was put into maintenance by an operator; its flows go on, its checks rest',
};

function wordsOf({ admin = 'enabled', weight, deadlineMs }: OverrideChange): string {
  if (admin === 'drained' && typeof deadlineMs === 'number') {
    return `was drained by an operator; its flows end in ${formatDuration(deadlineMs)} at the latest`;
  }
  return weight === undefined ? WORDS[admin] : `was given weight ${weight} by an operator`;
}

function kindOf({ admin = 'enabled', weight }: OverrideChange) {
  return weight === undefined ? (`server-${admin}` as const) : 'server-weight';
}
