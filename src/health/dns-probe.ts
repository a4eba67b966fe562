// A DNS question over UDP: the code of the reply must be among the wished ones, and the wished answer among its answers.

import { randomInt } from 'node:crypto';
import type { DnsKind } from '../config/check.ts';
import { parseAddress } from '../net/address.ts';
import { attempt, type Attempt } from './attempt.ts';
import { decodeReply, type DnsReply, encodeQuestion } from './dns-message.ts';
import type { ProbeResult, ProbeTarget } from './probe.ts';
import type { Timers } from './timers.ts';
import { sendDatagram } from './udp-probe.ts';
import { formatMs } from './words.ts';

export function makeDnsProbe(timers: Timers) {
  return (target: ProbeTarget, kind: DnsKind, signal: AbortSignal): Promise<ProbeResult> =>
    attempt(timers, target, signal, (own) => {
      const question = encodeQuestion(randomInt(0x10000), kind.name, kind.record);
      return sendDatagram(own, question, (message) => {
        const reply = decodeReply(message, question);
        if (reply === null) own.waitingFor('an answer, but none to the question,');
        else judge(own, kind, reply);
      });
    });
}

function judge(own: Attempt, { name, record, rcodes, answer }: DnsKind, { rcode, answers }: DnsReply): void {
  if (!rcodes.some((wanted) => wanted === rcode)) {
    own.fail(`${rcode} for ${name} ${record}`);
  } else if (answer !== null && !answers.some((given) => isSame(given, answer))) {
    own.fail(`the answers to ${name} ${record} lack ${answer}: ${answers.slice(0, 3).join(', ') || 'there are none'}`);
  } else {
    own.ok(`${rcode} for ${name} ${record} in ${formatMs(own.elapsedMs())}`);
  }
}

function isSame(given: string, wanted: string): boolean {
  const address = parseAddress(wanted);
  if (address !== null) return parseAddress(given)?.text === address.text;
  return given === wanted.toLowerCase().replace(/\.$/, '');
}
