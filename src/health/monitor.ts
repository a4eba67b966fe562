// Keeps the checks of a changing set of targets. Whoever decides hands in the whole wished set; what is unchanged goes
// on undisturbed. Targets that ask the same of the same server at the same times share one check:
//
//     target ─┐                                  ┌─▶ damping of target ─▶ onChange(key, state, reason)
//     target ─┴─▶ check: a probe every everyMs ──┴─▶ damping of target ─▶ onChange(key, state, reason)

import type { Clock } from '../base/clock.ts';
import {
  type Check,
  type CheckTarget,
  type LastResult,
  type Listener,
  makeCheck,
  type Member,
  type MemberState,
  stateOfMember,
} from './check.ts';
import { UNKNOWN } from './dampener.ts';
import type { Advice, Probe, ProbeResult } from './probe.ts';

export type { CheckTarget, MemberState } from './check.ts';

/** What a predecessor left of a target. */
export interface Memory {
  readonly state: 'up' | 'down';
  /** By the clock's nowMs; may lie before its beginning. */
  readonly sinceMs: number;
}

export interface MonitorOptions extends Listener {
  readonly clock: Clock;
  readonly probe: Probe;
  /** What was known of a key before this process; asked when a target is new. */
  readonly recall?: (key: string) => Memory | undefined;
  readonly random?: () => number;
}

export interface CheckReport {
  readonly target: CheckTarget;
  readonly state: MemberState;
  /** When it entered the state, by the clock's nowMs, as `atMs` in `last`. */
  readonly sinceMs: number;
  /** Null before the first result. */
  readonly last: LastResult | null;
  /** The last ten results: + ok, - failed, ? could not be tried. */
  readonly history: string;
  readonly advice: Advice | null;
  readonly warning: string | null;
}

/** Results since the start, by outcome, each probe once however many share it. */
export type ResultCounts = Readonly<Record<ProbeResult['outcome'], number>>;

/**
 * None of the listener's functions is ever called from inside `update`, but all may call it.
 */
export interface Monitor {
  /**
   * Replaces the set. A target keeps its state as long as its key, its address and port and what is asked stay; a new
   * one is unknown and checked at once. Throws a RangeError, and changes nothing, when two targets have the same key.
   */
  update(targets: readonly CheckTarget[]): void;
  /** `unknown` also for a key that is not in the set. */
  stateOf(key: string): MemberState;
  /** Null for a key that is not in the set. */
  standingOf(key: string): Pick<CheckReport, 'state' | 'advice'> | null;
  /** Whether a result was told since it came in: a remembered state is none. */
  isTold(key: string): boolean;
  /** Null for a key that is not in the set. */
  reportOf(key: string): CheckReport | null;
  /** In the order of the set. */
  reports(): CheckReport[];
  counts(): ResultCounts;
  /** Ends every check with its timer and its open probe. */
  stop(): void;
}

/** Up to so many new checks start at the same moment. */
const START_AT_ONCE = 50;
/** More are spread over this time, or over their interval if that is shorter. */
const START_SPREAD_MS = 1000;

interface Placed extends Member {
  /** What the target asks, where and when: targets with equal ones share a check. */
  question: string;
  check: Check | null;
}

export function makeMonitor(options: MonitorOptions): Monitor {
  const { clock, probe, recall = () => undefined, random = Math.random } = options;
  const counts = { ok: 0, failed: 0, untried: 0 };
  const surroundings = {
    clock,
    probe,
    random,
    listener: options,
    onResult: ({ outcome }: ProbeResult) => {
      counts[outcome]++;
    },
  };
  let members = new Map<string, Placed>();
  let checks = new Map<string, Check>();

  const place = (target: CheckTarget): Placed => {
    const member = members.get(target.key);
    if (member?.target === target) return member;
    const question = questionOf(target);
    if (member !== undefined && isSameServer(member.target, target)) {
      member.target = target;
      member.question = question;
      return member;
    }
    const memory = recall(target.key);
    return {
      target,
      question,
      check: null,
      damping: memory === undefined ? UNKNOWN : { state: memory.state, against: 0 },
      isDoubted: false,
      sinceMs: memory?.sinceMs ?? clock.nowMs(),
      told: 0,
      advice: null,
      warning: null,
    };
  };

  const update = (targets: readonly CheckTarget[]): void => {
    refuseRepeatedKeys(targets);
    if (targets.length === members.size && targets.every((target) => members.get(target.key)?.target === target))
      return;
    members = new Map(targets.map((target) => [target.key, place(target)]));
    const groups = Map.groupBy(members.values(), ({ question }) => question);
    for (const [question, check] of checks) if (!groups.has(question)) check.stop();

    const kept = checks;
    const fresh = [...groups.keys()].filter((question) => !kept.has(question));
    checks = new Map();
    for (const [question, group] of groups) {
      const check = kept.get(question) ?? makeCheck(group[0]!.target, surroundings);
      checks.set(question, check);
      for (const member of group) member.check = check;
      check.setMembers(group);
    }
    for (const [index, question] of fresh.entries()) {
      const { everyMs } = groups.get(question)![0]!.target;
      const spreadMs = fresh.length > START_AT_ONCE ? Math.min(START_SPREAD_MS, everyMs) : 0;
      checks.get(question)!.start((index / fresh.length) * spreadMs);
    }
  };

  const report = (member: Placed): CheckReport => ({
    target: member.target,
    state: stateOfMember(member),
    sinceMs: member.sinceMs,
    last: member.check?.last() ?? null,
    history: member.check?.history() ?? '',
    advice: member.advice,
    warning: member.warning,
  });

  return {
    update,
    stateOf: (key) => {
      const member = members.get(key);
      return member === undefined ? 'unknown' : stateOfMember(member);
    },
    standingOf: (key) => {
      const member = members.get(key);
      return member === undefined ? null : { state: stateOfMember(member), advice: member.advice };
    },
    isTold: (key) => (members.get(key)?.told ?? 0) > 0,
    reportOf: (key) => {
      const member = members.get(key);
      return member === undefined ? null : report(member);
    },
    reports: () => Array.from(members.values(), report),
    counts: () => ({ ...counts }),
    stop: () => update([]),
  };
}

function questionOf({ kind, via, address, port, everyMs, fastEveryMs, timeoutMs }: CheckTarget): string {
  return JSON.stringify([address, port, via, kind, everyMs, fastEveryMs, timeoutMs]);
}

function isSameServer(a: CheckTarget, b: CheckTarget): boolean {
  return (
    a.address === b.address &&
    a.port === b.port &&
    a.via?.identity === b.via?.identity &&
    (a.kind === b.kind || JSON.stringify(a.kind) === JSON.stringify(b.kind))
  );
}

function refuseRepeatedKeys(targets: readonly CheckTarget[]): void {
  const seen = new Set<string>();
  for (const { key } of targets) {
    if (seen.has(key)) throw new RangeError(`two targets of health checks have the key ${key}`);
    seen.add(key);
  }
}
