// A probe through the path that clients use, and what its silence means. The host's own TCP speaks to the VIP; its packets
// go to the one server by the method's own rewriting, and the server answers directly.
//
// A server that says nothing may be dead, or alive and not the VIP's owner. So when half of the time is over without a
// word of it, it is asked directly whether it lives: an echo request, and a SYN to the same port at its own address.

import { protocolOf } from '../config/check-port.ts';
import { parseAddress } from '../net/address.ts';
import type { PathSocket, ProbePath } from '../net/probe-path.ts';
import type { RawProber, RawQuestion } from '../net/raw-prober.ts';
import type { Probe, ProbeResult, ProbeTarget, Via } from './probe.ts';
import type { Timers } from './timers.ts';

export interface PathProbeOptions {
  readonly timers: Timers;
  readonly path: () => ProbePath;
  readonly raw: () => RawProber;
  /** Asks through the socket that the target makes. */
  readonly ask: Probe;
}

export type PathTarget = ProbeTarget & { readonly via: Via };

export function makePathProbe({ timers, path, raw, ask }: PathProbeOptions) {
  return async (target: PathTarget, signal: AbortSignal): Promise<ProbeResult> => {
    let socket: PathSocket | null = null;
    const life = askLife({ timers, raw }, target);
    const result = await ask({ ...target, socket: () => (socket = openSocket(path(), target)).fd }, signal);
    const hindrance = (socket as PathSocket | null)?.end() ?? null;
    if (result.isUnheard === undefined) {
      life.cancel();
      if (isMute(target) && result.outcome === 'ok' && result.latencyMs === null) {
        return (await lacksVip({ path, raw, ask }, target, signal)) ? failedFor(vipWords(target.via)) : result;
      }
      return result;
    }
    if (hindrance !== null) {
      life.cancel();
      return { ...result, reason: hindrance };
    }
    return (await life.isAlive()) ? { ...result, reason: vipWords(target.via) } : result;
  };
}

/** Asks what may be left without an answer. */
function isMute({ kind }: PathTarget): boolean {
  return kind.type === 'udp' && kind.expect === null;
}

function failedFor(reason: string): ProbeResult {
  return { outcome: 'failed', reason, latencyMs: null };
}

/**
 * Where silence is good, it also comes from a server that lacks the VIP. A SYN is never left without an answer: whoever
 * answers one at its own address, and none at the same port of the VIP, does not have it. Where a firewall keeps SYNs away
 * nobody knows, and nothing is said.
 */
async function lacksVip(
  { path, raw, ask }: Pick<PathProbeOptions, 'path' | 'raw' | 'ask'>,
  target: PathTarget,
  signal: AbortSignal,
): Promise<boolean> {
  const syn: PathTarget = { ...target, kind: { type: 'tcp-half-open' }, timeoutMs: target.timeoutMs / 2 };
  const direct = askDirectly(raw, (prober) => prober.halfOpen(target.via.server, target.port ?? 0, syn.timeoutMs));
  let socket: PathSocket | null = null;
  const atVip = await ask({ ...syn, socket: () => (socket = openSocket(path(), syn)).fd }, signal);
  const hindrance = (socket as PathSocket | null)?.end() ?? null;
  if (atVip.isUnheard === undefined || hindrance !== null) {
    for (const question of direct) question.cancel();
    return false;
  }
  const outcomes = await Promise.all(direct.map(async ({ answer }) => (await answer).outcome));
  return outcomes.some((outcome) => outcome === 'answered' || outcome === 'refused');
}

function openSocket(path: ProbePath, { kind, via, address, port }: PathTarget): PathSocket {
  const [vip, server] = [parseAddress(address), parseAddress(via.server)];
  if (vip === null || server === null || port === null) throw new TypeError(`${address} cannot be asked`);
  const protocol = protocolOf(kind.type) ?? 'tcp';
  const isHalfOpen = kind.type === 'tcp-half-open';
  return path.open({ protocol, isHalfOpen, vip, port, server, identity: via.identity });
}

function vipWords({ isTunnel }: Via): string {
  return isTunnel
    ? 'the tunnel is not unwrapped, or the VIP is not configured on the server'
    : 'the VIP is not configured on the server';
}

interface Life {
  /** Did the server answer? Asks now if it has not been asked, and waits for as long as half of the time. */
  isAlive(): Promise<boolean>;
  /** Nobody wants to know. */
  cancel(): void;
}

function askLife({ timers, raw }: Pick<PathProbeOptions, 'timers' | 'raw'>, target: PathTarget): Life {
  const halfMs = target.timeoutMs / 2;
  let questions: readonly RawQuestion[] | null = null;
  const begin = (): readonly RawQuestion[] => (questions ??= directQuestions(raw, target, halfMs));
  const timer = timers.setTimer(halfMs, begin);
  return {
    isAlive: async () => {
      timer.cancel();
      const answers = begin().map(async ({ answer }) => {
        const { outcome, from } = await answer;
        if (outcome === 'answered' || outcome === 'refused') return true;
        if (outcome === 'unreachable' && from === target.via.server) return true;
        throw new Error('no sign of life');
      });
      return Promise.any(answers).catch(() => false);
    },
    cancel: () => {
      timer.cancel();
      for (const question of questions ?? []) question.cancel();
    },
  };
}

function directQuestions(raw: () => RawProber, { via, port }: PathTarget, timeoutMs: number): RawQuestion[] {
  return [
    ...askDirectly(raw, (prober) => prober.echo(via.server, timeoutMs)),
    ...askDirectly(raw, (prober) => prober.halfOpen(via.server, port ?? 0, timeoutMs)),
  ];
}

/** None where this host can send none: then nobody knows. */
function askDirectly(raw: () => RawProber, send: (prober: RawProber) => RawQuestion): RawQuestion[] {
  try {
    return [send(raw())];
  } catch {
    return [];
  }
}
