// An HTTP check, plain or in TLS: the status must be among the wished ones, and the body, when one is asked for, must hold
// the text. A client of its own, because a check wants bounds and words for what is half, too long or no HTTP at all.

import type { HttpKind } from '../config/check.ts';
import { formatPattern, matcherOf } from '../config/pattern.ts';
import { attempt, type Attempt } from './attempt.ts';
import { BODY_LIMIT, type HttpAnswer, makeHttpAnswer } from './http-answer.ts';
import type { ProbeResult, ProbeTarget } from './probe.ts';
import { converse } from './stream.ts';
import type { Timers } from './timers.ts';
import { formatMs } from './words.ts';

export function makeHttpProbe(timers: Timers) {
  return (target: ProbeTarget, kind: HttpKind, signal: AbortSignal): Promise<ProbeResult> =>
    attempt(timers, target, signal, (own) => {
      const answer = makeHttpAnswer(kind.method === 'HEAD');
      let warning: string | null = null;
      own.waitingFor('no answer');
      return converse(own, kind, {
        onOpen: (write, itsWarning) => {
          warning = itsWarning;
          own.waitingFor('connected, but no HTTP answer');
          write(requestOf(target, kind));
        },
        onText: (text) => {
          answer.add(text);
          judge(own, kind, answer, warning, false);
        },
        onEnd: () => judge(own, kind, answer, warning, true),
      });
    });
}

function requestOf({ address, port }: ProbeTarget, { method, path, host, headers, tls }: HttpKind): string {
  const own = address.includes(':') ? `[${address}]` : address;
  const usualPort = tls === null ? 80 : 443;
  const named = new Set(headers.map(([name]) => name.toLowerCase()));
  const lines = [
    ['Host', host ?? (port === usualPort ? own : `${own}:${port}`)],
    ['User-Agent', 'fairlead'],
    ['Accept', '*/*'],
    ['Connection', 'close'],
  ].filter(([name = '']) => !named.has(name.toLowerCase()));
  return `${method} ${path} HTTP/1.1\r\n${[...lines, ...headers].map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
}

function judge(own: Attempt, kind: HttpKind, answer: HttpAnswer, warning: string | null, isEnded: boolean): void {
  const problem = answer.problem();
  const status = answer.status();
  if (problem !== null) {
    own.fail(problem);
    return;
  }
  if (status === null || !answer.headersAreWhole()) {
    const words = answer.hasBegun() ? 'the answer breaks off in its head' : 'connection closed without an answer';
    if (isEnded) own.fail(words);
    else own.waitingFor('the answer began, but its head did not end');
    return;
  }
  if (!kind.status.some(({ first, last }) => status >= first && status <= last)) {
    own.fail(`status ${status}`);
    return;
  }
  judgeBody(own, kind, answer, { status, warning, isEnded });
}

interface Facts {
  readonly status: number;
  readonly warning: string | null;
  readonly isEnded: boolean;
}

function judgeBody(own: Attempt, { body }: HttpKind, answer: HttpAnswer, { status, warning, isEnded }: Facts): void {
  if (body === null || matcherOf(body)(answer.body())) {
    const words = body === null ? '' : `, body has ${formatPattern(body)}`;
    own.ok(`status ${status}${words} in ${formatMs(own.elapsedMs())}`, warning === null ? {} : { warning });
  } else if (answer.bodyIsFull()) {
    own.fail(`status ${status}, the first ${BODY_LIMIT / 1024} KiB of the body lack ${formatPattern(body)}`);
  } else if (isEnded || answer.bodyIsWhole()) {
    own.fail(`status ${status}, body lacks ${formatPattern(body)}`);
  } else {
    own.waitingFor(`status ${status}, but the body did not bring ${formatPattern(body)}`);
  }
}
