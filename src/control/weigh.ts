// Decisions for every service of a configuration, and what a change of them means in an operator's words.

import type { Config, ServiceConfig } from '../config/config.ts';
import { serverId } from '../plane/identity.ts';
import type { TargetService } from '../plane/target.ts';
import { type Decision, decideService, type ServerInput } from './decide.ts';
import type { NewEvent } from './events.ts';
import type { Health } from './health.ts';
import { isOverdue, overrideOf, type Overrides, serverKeys } from './overrides.ts';
import type { SlowStart } from './slow-start.ts';

export interface Known {
  readonly nowMs: number;
  readonly overrides: Overrides;
  readonly health: Pick<Health, 'standingsOf'>;
  readonly slowStart: Pick<SlowStart, 'shareOf'>;
  /** By name, and by what it is: another server may have the name by now. */
  readonly isEjected: (server: string, id: bigint) => boolean;
}

/** What was decided of a service, and what of. */
export interface DecidedService extends Decision, TargetService {
  readonly inputs: readonly ServerInput[];
}

/**
 * In the order of the configuration. Where nothing has changed since `before`, the very decision of then: of thousands of
 * services a change concerns one, and whoever comes after sees by that which.
 */
export function decideAll(config: Config, known: Known, before: readonly DecidedService[] = []): DecidedService[] {
  return config.services.map((service, index) => {
    const was = before[index];
    const there = was?.config === service ? was : null;
    const inputs = inputsOf(service, known, there?.inputs ?? []);
    if (there !== null && inputs.every((input, at) => input === there.inputs[at])) return there;
    return { config: service, inputs, ...decideService(service, inputs) };
  });
}

/** Likewise the very input of before where nothing has changed. */
function inputsOf(service: ServiceConfig, known: Known, before: readonly ServerInput[]): ServerInput[] {
  const { nowMs, overrides, health, slowStart, isEjected } = known;
  const keys = serverKeys(service);
  const standings = health.standingsOf(service);
  return service.servers.map((server, index) => {
    const key = keys[index]!;
    const { state, advice } = standings[index]!;
    const override = overrideOf(overrides, key);
    const isOut = service.passive?.mode === 'eject' && isEjected(key, serverId(service, server));
    const isLate = isOverdue(override, nowMs);
    const share = slowStart.shareOf(key, service.slowStartMs);
    const was = before[index];
    const isSame =
      was?.override === override &&
      was.health === state &&
      was.advice?.weight === advice?.weight &&
      was.advice?.admin === advice?.admin &&
      was.isEjected === isOut &&
      was.isOverdue === isLate &&
      was.share === share;
    return isSame ? was : { override, health: state, advice, isEjected: isOut, isOverdue: isLate, share };
  });
}

/** Services that both have: those that came or went are told of by the reload. */
export function decisionEvents(before: readonly DecidedService[], after: readonly DecidedService[]): NewEvent[] {
  const other = before.filter((was, index) => was !== after[index]);
  const former = new Map(other.map((was) => [was.config.name, was]));
  const changed = after.filter((is, index) => is !== before[index]);
  return changed.flatMap((is): NewEvent[] => {
    const { name } = is.config;
    const was = former.get(name);
    if (was === undefined) return [];
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
