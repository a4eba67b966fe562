// What a process leaves to its successor: operators' words, what checks found, who is ejected. In here times are the
// controller's clock's, in the state file milliseconds since 1970.

import type { Clock } from '../base/clock.ts';
import type { Memory as CheckMemory } from '../health/monitor.ts';
import type { Overrides } from './overrides.ts';
import type { Ejection } from './passive.ts';
import type { SavedState } from './state-file.ts';

export interface Memory {
  readonly overrides: Overrides;
  /** By check. */
  readonly health: ReadonlyMap<string, CheckMemory>;
  /** By server. */
  readonly ejections: ReadonlyMap<string, Ejection>;
}

export type SavedMemory = Pick<SavedState, 'overrides' | 'health' | 'ejections'>;

export function parseMemory({ overrides, health, ejections = {} }: SavedMemory, clock: Clock): Memory {
  const onClock = (since: number): number => clock.nowMs() - (Date.now() - since);
  return {
    overrides: mapOf(overrides, ({ until, ...more }) =>
      until === undefined ? more : { ...more, endsAtMs: onClock(until) },
    ),
    health: mapOf(health, ({ state, since }) => ({ state, sinceMs: onClock(since) })),
    ejections: mapOf(ejections, ({ until, ...more }) => ({ ...more, untilMs: onClock(until) })),
  };
}

export function formatMemory({ overrides, health, ejections }: Memory, clock: Clock): SavedMemory {
  const onCalendar = (ms: number): number => Math.round(Date.now() - (clock.nowMs() - ms));
  return {
    ejections: recordOf(ejections, ({ untilMs, ...more }) => ({ ...more, until: onCalendar(untilMs) })),
    overrides: recordOf(overrides, ({ endsAtMs, ...more }) =>
      endsAtMs === undefined ? more : { ...more, until: onCalendar(endsAtMs) },
    ),
    health: recordOf(health, ({ state, sinceMs }) => ({ state, since: onCalendar(sinceMs) })),
  };
}

function mapOf<From, To>(record: Readonly<Record<string, From>>, make: (from: From) => To): Map<string, To> {
  return new Map(Object.entries(record).map(([key, from]) => [key, make(from)]));
}

function recordOf<From, To>(map: ReadonlyMap<string, From>, make: (from: From) => To): Record<string, To> {
  return Object.fromEntries(Array.from(map, ([key, from]) => [key, make(from)]));
}
