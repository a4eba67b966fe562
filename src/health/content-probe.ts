// A conversation in one step over TCP or TLS: say something or nothing, and hear a text within the first 64 KiB.

import type { ContentKind } from '../config/check.ts';
import { formatPattern, matcherOf } from '../config/pattern.ts';
import { attempt } from './attempt.ts';
import type { ProbeResult, ProbeTarget } from './probe.ts';
import { converse } from './stream.ts';
import type { Timers } from './timers.ts';
import { formatMs, quote } from './words.ts';

const LIMIT = 65_536;

export function makeContentProbe(timers: Timers) {
  return (target: ProbeTarget, kind: ContentKind, signal: AbortSignal): Promise<ProbeResult> =>
    attempt(timers, target, signal, (own) => {
      const matches = matcherOf(kind.expect);
      const wanted = formatPattern(kind.expect);
      let heard = '';
      let warning: string | null = null;
      const lacks = (): string =>
        heard === '' ? 'connection closed without a word' : `got ${quote(heard)}, not ${wanted}`;
      return converse(own, kind, {
        onOpen: (write, itsWarning) => {
          warning = itsWarning;
          own.waitingFor('connected, but not a word');
          if (kind.send !== null) write(kind.send);
        },
        onText: (text) => {
          heard = (heard + text).slice(0, LIMIT);
          if (matches(heard)) {
            own.ok(`got ${wanted} in ${formatMs(own.elapsedMs())}`, warning === null ? {} : { warning });
          } else if (heard.length >= LIMIT) {
            own.fail(`the first ${LIMIT / 1024} KiB lack ${wanted}`);
          } else {
            own.waitingFor(`got ${quote(heard)}, but not ${wanted}`);
          }
        },
        onEnd: () => own.fail(lacks()),
      });
    });
}
