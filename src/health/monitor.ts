// Keeps the checks of a changing set of targets. Whoever decides hands in the whole wished set; what is unchanged goes
// on undisturbed. Targets that ask for the same probe (address, port, interval, time-out) share one check:
//
//     target ─┐                                  ┌─▶ damping of target ─▶ onChange(key, state, reason)
//     target ─┴─▶ check: a probe every everyMs ──┴─▶ damping of target ─▶ onChange(key, state, reason)

import type { Clock } from '../base/clock.ts';
import type { Check, CheckTarget, LastResult, Member, OnChange } from './check.ts';
import { makeCheck } from './check.ts';
import type { HealthState } from './dampener.ts';
import { UNKNOWN } from './dampener.ts';
import type { Probe } from './probe.ts';

export type { CheckTarget } from './check.ts';

export interface MonitorOptions {
  readonly clock: Clock;
  readonly probe: Probe;
  /** Never called from inside `update`, but may call it. */
  readonly onChange: OnChange;
}

export interface CheckReport {
  readonly target: CheckTarget;
  readonly state: HealthState;
  /** When it entered the state, by the clock's nowMs, as `atMs` in `last`. */
  readonly sinceMs: number;
  /** Null before the first result. */
  readonly last: LastResult | null;
}

export interface Monitor {
  /**
   * Replaces the set. A target keeps its state as long as its key, address and port stay; a new one is unknown and
   * checked at once. Throws a RangeError, and changes nothing, when two targets have the same key.
   */
  update(targets: readonly CheckTarget[]): void;
  /** `unknown` also for a key that is not in the set. */
  stateOf(key: string): HealthState;
  /** Null for a key that is not in the set. */
  reportOf(key: string): CheckReport | null;
  /** In the order of the set. */
  reports(): CheckReport[];
  /** Ends every check with its timer and its open probe. */
  stop(): void;
}

/** Up to so many new checks start at the same moment. */
const START_AT_ONCE = 50;
/** More are spread over this time, or over their interval if that is shorter. */
const START_SPREAD_MS = 1000;

export function makeMonitor({ clock, probe, onChange }: MonitorOptions): Monitor {
  let members = new Map<string, Member>();
  let checks = new Map<string, Check>();

  const update = (targets: readonly CheckTarget[]): void => {
    refuseRepeatedKeys(targets);
    members = new Map(
      targets.map((target) => [target.key, keepMember(members.get(target.key), target, clock.nowMs())]),
    );
    const groups = Map.groupBy(members.values(), ({ target }) => probeId(target));
    for (const [id, check] of checks) if (!groups.has(id)) check.stop();

    const kept = checks;
    const fresh = new Set([...groups.keys()].filter((id) => !kept.has(id)));
    checks = new Map();
    for (const [id, group] of groups) {
      const { target } = group[0]!;
      const check = kept.get(id) ?? makeCheck(target, clock, probe, onChange);
      checks.set(id, check);
      check.setMembers(group);
    }
    [...fresh].forEach((id, index) => {
      const { everyMs } = groups.get(id)![0]!.target;
      const spreadMs = fresh.size > START_AT_ONCE ? Math.min(START_SPREAD_MS, everyMs) : 0;
      checks.get(id)!.start((index / fresh.size) * spreadMs);
    });
  };

  const report = ({ target, damping, sinceMs }: Member): CheckReport => ({
    target,
    state: damping.state,
    sinceMs,
    last: checks.get(probeId(target))?.last() ?? null,
  });

  return {
    update,
    stateOf: (key) => members.get(key)?.damping.state ?? 'unknown',
    reportOf: (key) => {
      const member = members.get(key);
      return member === undefined ? null : report(member);
    },
    reports: () => Array.from(members.values(), report),
    stop: () => update([]),
  };
}

/** The member as it was, with new limits, if it is the same server; else one that nothing is known of. */
function keepMember(member: Member | undefined, target: CheckTarget, nowMs: number): Member {
  if (member === undefined || member.target.address !== target.address || member.target.port !== target.port) {
    return { target, damping: UNKNOWN, sinceMs: nowMs };
  }
  member.target = target;
  return member;
}

function probeId({ address, port, everyMs, timeoutMs }: CheckTarget): string {
  return `${address} ${port} ${everyMs} ${timeoutMs}`;
}

function refuseRepeatedKeys(targets: readonly CheckTarget[]): void {
  const seen = new Set<string>();
  for (const { key } of targets) {
    if (seen.has(key)) throw new RangeError(`two targets of health checks have the key ${key}`);
    seen.add(key);
  }
}
