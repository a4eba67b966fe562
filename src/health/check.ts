// One probe, repeated at a fixed rate, whose results go to all members: the targets that share it. A round that takes
// longer than the interval delays the next one; there is never more than one probe under way.

import type { Clock, Timer } from '../base/clock.ts';
import type { Damping, DampingLimits, HealthState } from './dampener.ts';
import { dampen } from './dampener.ts';
import type { Probe, ProbeResult, ProbeTarget } from './probe.ts';

export interface CheckTarget extends ProbeTarget, DampingLimits {
  /** The caller's name for it. */
  readonly key: string;
  readonly everyMs: number;
}

/** A target and what is known of it. */
export interface Member {
  target: CheckTarget;
  damping: Damping;
  /** When it entered the state, by the clock's nowMs. */
  sinceMs: number;
}

/** Called when a target has entered `up` or `down`; `reason` is that of the result which decided. */
export type OnChange = (key: string, state: HealthState, reason: string) => void;

export interface LastResult extends ProbeResult {
  readonly atMs: number;
}

export interface Check {
  /** Results go to these from now on. One that is unknown need not wait for a round: it is told the last result soon. */
  setMembers(members: readonly Member[]): void;
  last(): LastResult | null;
  /** Runs the first round after `delayMs`; call it once. */
  start(delayMs: number): void;
  /** Ends the check for good: its timers, and its probe if one is under way. */
  stop(): void;
}

export function makeCheck(target: CheckTarget, clock: Clock, probe: Probe, onChange: OnChange): Check {
  const stopping = new AbortController();
  let members: readonly Member[] = [];
  let last: LastResult | null = null;
  let nextRound: Timer | null = null;
  let nextWelcome: Timer | null = null;

  const tell = (member: Member, { outcome, reason }: ProbeResult): void => {
    if (outcome === 'untried') return;
    const { state } = member.damping;
    member.damping = dampen(member.damping, outcome === 'ok', member.target);
    if (member.damping.state === state) return;
    member.sinceMs = clock.nowMs();
    onChange(member.target.key, member.damping.state, reason);
  };

  const tellAll = (result: ProbeResult, isMeant: (member: Member) => boolean): void => {
    // onChange may change the members: those that have left meanwhile are told nothing.
    for (const member of members.filter(isMeant)) if (members.includes(member)) tell(member, result);
  };

  const runRound = async (): Promise<void> => {
    const startedMs = clock.nowMs();
    const result = await probe(target, stopping.signal).catch(describeFault);
    if (stopping.signal.aborted) return;
    last = { ...result, atMs: clock.nowMs() };
    nextRound = clock.setTimer(Math.max(0, startedMs + target.everyMs - clock.nowMs()), () => void runRound());
    tellAll(result, () => true);
  };

  const isUnknown = (member: Member): boolean => member.damping.state === 'unknown';

  return {
    setMembers: (next) => {
      members = next;
      nextWelcome?.cancel();
      if (last === null || !members.some(isUnknown)) return;
      const known = last;
      nextWelcome = clock.setTimer(0, () => tellAll(known, isUnknown));
    },
    last: () => last,
    start: (delayMs) => {
      nextRound = clock.setTimer(delayMs, () => void runRound());
    },
    stop: () => {
      members = [];
      nextRound?.cancel();
      nextWelcome?.cancel();
      stopping.abort();
    },
  };
}

function describeFault(error: unknown): ProbeResult {
  return { outcome: 'untried', reason: `the check itself broke: ${String(error)}`, latencyMs: null };
}
