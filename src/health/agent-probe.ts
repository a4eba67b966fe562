// Asks an agent beside the server: it connects, says what is configured, if anything, and reads one line.

import type { AgentKind } from '../config/check.ts';
import { parseAgentWords } from './agent-words.ts';
import { attempt, type Attempt } from './attempt.ts';
import type { ProbeResult, ProbeTarget } from './probe.ts';
import { converse } from './stream.ts';
import type { Timers } from './timers.ts';
import { quote } from './words.ts';

const LINE_LIMIT = 512;

export function makeAgentProbe(timers: Timers) {
  return (target: ProbeTarget, { send }: AgentKind, signal: AbortSignal): Promise<ProbeResult> =>
    attempt(timers, target, signal, (own) => {
      let heard = '';
      return converse(
        own,
        { tls: null },
        {
          onOpen: (write) => {
            own.waitingFor('connected, but the agent said nothing');
            if (send !== null) write(send);
          },
          onText: (text) => {
            heard = (heard + text).slice(0, LINE_LIMIT);
            const end = heard.search(/[\r\n]/);
            if (end !== -1 || heard.length === LINE_LIMIT) judgeLine(own, end === -1 ? heard : heard.slice(0, end));
            else own.waitingFor(`the agent began ${quote(heard)}, but its line did not end`);
          },
          onEnd: () => judgeLine(own, heard),
        },
      );
    });
}

function judgeLine(own: Attempt, line: string): void {
  const words = parseAgentWords(line);
  if (words === null)
    own.fail(line === '' ? 'the agent said nothing' : `the agent said ${quote(line)}, which means nothing here`);
  else if (words.isUp) own.ok(`the agent says ${quote(words.said)}`, { advice: words.advice });
  else own.fail(`the agent says ${quote(words.said)}`);
}
