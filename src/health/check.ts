// One probe, repeated at a fixed rate, whose results go to all members: the targets that share it. A round that takes
// longer than the interval delays the next one; there is never more than one probe under way.
//
// Rounds lie on a grid of `everyMs` from the first one, each moved by a random tenth at most, so that checks of many
// servers neither run in step nor drift together. While a result contradicts the state of a member, or nothing is known
// of it, the next round comes after `fastEveryMs`.

import type { Clock, Timer } from '../base/clock.ts';
import type { Damping, DampingLimits, HealthState } from './dampener.ts';
import { dampen } from './dampener.ts';
import type { Advice, Probe, ProbeResult, ProbeTarget } from './probe.ts';

export interface CheckTarget extends ProbeTarget, DampingLimits {
  /** The caller's name for it. */
  readonly key: string;
  readonly everyMs: number;
  readonly fastEveryMs: number;
}

/** `doubted`: a predecessor left it as up, and since then no result has said so. */
export type MemberState = HealthState | 'doubted';

/** A target and what is known of it. */
export interface Member {
  target: CheckTarget;
  damping: Damping;
  isDoubted: boolean;
  /** When it entered the state, by the clock's nowMs. */
  sinceMs: number;
  /** Results it was told, those that could not be tried left out. */
  told: number;
  advice: Advice | null;
  warning: string | null;
}

export interface Listener {
  /** Called when a target has entered a state; `reason` is that of the result which decided. */
  onChange(key: string, state: MemberState, reason: string): void;
  /** A target was told its first result, which may have left its state as it was remembered. */
  onTold?(key: string): void;
  /** What the server says of its own use has changed; null: it says nothing. */
  onAdvice?(key: string, advice: Advice | null, reason: string): void;
  /** Something will go wrong soon, for the first time or in other words. */
  onWarning?(key: string, warning: string): void;
}

export interface LastResult extends ProbeResult {
  readonly atMs: number;
}

export interface Check {
  /** Results go to these from now on. One that is unknown need not wait for a round: it is told the last result soon. */
  setMembers(members: readonly Member[]): void;
  last(): LastResult | null;
  /** The last ten results, the newest at the end: + ok, - failed, ? could not be tried. */
  history(): string;
  /** Runs the first round after `delayMs`; call it once. */
  start(delayMs: number): void;
  /** Ends the check for good: its timers, and its probe if one is under way. */
  stop(): void;
}

export interface CheckSurroundings {
  readonly clock: Clock;
  readonly probe: Probe;
  readonly listener: Listener;
  /** 0 to 1; 0.5 moves nothing. */
  readonly random: () => number;
  readonly onResult: (result: ProbeResult) => void;
}

const REMEMBERED_RESULTS = 10;
/** Rounds are moved by up to half of this share of the interval either way. */
const JITTER = 0.1;
const SIGNS = { ok: '+', failed: '-', untried: '?' } as const;

export function stateOfMember({ damping, isDoubted }: Member): MemberState {
  return isDoubted ? 'doubted' : damping.state;
}

export function makeCheck(target: CheckTarget, surroundings: CheckSurroundings): Check {
  const { clock, probe, listener, random, onResult } = surroundings;
  const stopping = new AbortController();
  let members: readonly Member[] = [];
  let last: LastResult | null = null;
  let signs = '';
  let nextRound: Timer | null = null;
  let nextWelcome: Timer | null = null;
  let plannedMs = 0;

  const tell = (member: Member, result: ProbeResult): void => {
    if (result.outcome === 'untried') return;
    const isOk = result.outcome === 'ok';
    const before = stateOfMember(member);
    const isFirst = member.told++ === 0;
    member.damping = dampen(member.damping, isOk, member.target);
    member.isDoubted = !isOk && member.damping.state === 'up' && (member.isDoubted || (isFirst && before === 'up'));
    tellWarning(member, result);
    const state = stateOfMember(member);
    if (state !== before) {
      member.sinceMs = clock.nowMs();
      listener.onChange(member.target.key, state, result.reason);
    }
    tellAdvice(member, result);
    if (isFirst) listener.onTold?.(member.target.key);
  };

  const tellAdvice = (member: Member, { outcome, advice: given, reason }: ProbeResult): void => {
    if (outcome !== 'ok') return;
    const advice = given ?? null;
    const { weight = null, admin = null } = member.advice ?? {};
    if (weight === (advice?.weight ?? null) && admin === (advice?.admin ?? null)) return;
    member.advice = advice;
    listener.onAdvice?.(member.target.key, advice, reason);
  };

  const tellWarning = (member: Member, { outcome, warning: given }: ProbeResult): void => {
    const warning = given ?? null;
    if (outcome !== 'ok' || warning === member.warning) return;
    member.warning = warning;
    if (warning !== null) listener.onWarning?.(member.target.key, warning);
  };

  const tellAll = (result: ProbeResult, isMeant: (member: Member) => boolean): void => {
    // A listener may change the members: those that have left meanwhile are told nothing.
    for (const member of members.filter(isMeant)) if (members.includes(member)) tell(member, result);
  };

  const intervalMs = (): number => {
    const isChanging = members.some(({ damping }) => damping.against > 0 || damping.state === 'unknown');
    return isChanging ? target.fastEveryMs : target.everyMs;
  };

  const planNext = (): void => {
    if (stopping.signal.aborted) return;
    const everyMs = intervalMs();
    plannedMs = Math.max(plannedMs + everyMs, clock.nowMs());
    const jitterMs = (random() - 0.5) * JITTER * everyMs;
    nextRound = clock.setTimer(Math.max(0, plannedMs + jitterMs - clock.nowMs()), () => void runRound());
  };

  const runRound = async (): Promise<void> => {
    const result = await probe(target, stopping.signal).catch(describeFault);
    if (stopping.signal.aborted) return;
    last = { ...result, atMs: clock.nowMs() };
    signs = (signs + SIGNS[result.outcome]).slice(-REMEMBERED_RESULTS);
    onResult(result);
    tellAll(result, () => true);
    planNext();
  };

  const isUnknown = (member: Member): boolean => member.told === 0;

  return {
    setMembers: (next) => {
      members = next;
      nextWelcome?.cancel();
      if (last === null || !members.some(isUnknown)) return;
      const known = last;
      nextWelcome = clock.setTimer(0, () => tellAll(known, isUnknown));
    },
    last: () => last,
    history: () => signs,
    start: (delayMs) => {
      plannedMs = clock.nowMs() + delayMs;
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
