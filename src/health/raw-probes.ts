// The checks that need raw sockets: echo requests and half-open connections.

import type { RawAnswer, RawProber, RawQuestion } from '../net/raw-prober.ts';
import { describeError, formatMs } from './words.ts';
import type { ProbeResult, ProbeTarget } from './probe.ts';

/** `raw` makes the sockets on its first use, and may throw in words. */
export function makeRawProbes(raw: () => RawProber) {
  const ask = (send: (prober: RawProber) => RawQuestion, good: string, target: ProbeTarget, signal: AbortSignal) => {
    let question: RawQuestion;
    try {
      question = send(raw());
    } catch (error) {
      return Promise.resolve(describeError(error as NodeJS.ErrnoException));
    }
    const cancel = (): void => question.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    return question.answer.then((answer) => {
      signal.removeEventListener('abort', cancel);
      return judge(answer, good, target);
    });
  };
  return {
    icmp: (target: ProbeTarget, signal: AbortSignal): Promise<ProbeResult> =>
      ask((prober) => prober.echo(target.address, target.timeoutMs), 'echo reply', target, signal),
    halfOpen: (target: ProbeTarget, signal: AbortSignal): Promise<ProbeResult> =>
      ask(
        (prober) => prober.halfOpen(target.address, target.port ?? 0, target.timeoutMs),
        'SYN answered',
        target,
        signal,
      ),
  };
}

function judge({ outcome, latencyMs, from, words }: RawAnswer, good: string, target: ProbeTarget): ProbeResult {
  switch (outcome) {
    case 'answered':
      return { outcome: 'ok', reason: `${good} in ${formatMs(latencyMs)}`, latencyMs };
    case 'refused':
      return { outcome: 'failed', reason: 'connection refused', latencyMs: null };
    case 'unreachable':
      return { outcome: 'failed', reason: `${words}, says ${from ?? 'somebody'}`, latencyMs: null };
    default:
      return { outcome: 'failed', reason: `no answer within ${formatMs(target.timeoutMs)}`, latencyMs: null };
  }
}
