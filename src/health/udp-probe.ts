// A datagram and perhaps an answer to it. With nothing expected, silence is good: UDP has no other way to say "I am here"
// than not to refuse. An ICMP error comes back through the connected socket and tells at once.

import { createSocket } from 'node:dgram';
import type { UdpKind } from '../config/check.ts';
import { formatPattern, matcherOf } from '../config/pattern.ts';
import { attempt, type Attempt } from './attempt.ts';
import type { ProbeResult, ProbeTarget } from './probe.ts';
import type { Timers } from './timers.ts';
import { formatMs, quote } from './words.ts';

export function makeUdpProbe(timers: Timers) {
  return (target: ProbeTarget, { send, expect }: UdpKind, signal: AbortSignal): Promise<ProbeResult> =>
    attempt(timers, target, signal, (own) => {
      if (expect === null) {
        const silence = timers.setTimer(Math.max(0, target.timeoutMs - 20), () =>
          own.ok(`nobody refused it within ${formatMs(target.timeoutMs)}`, { latencyMs: null }),
        );
        const end = sendDatagram(own, Buffer.from(send, 'latin1'), () =>
          own.ok(`answered in ${formatMs(own.elapsedMs())}`),
        );
        return () => {
          silence.cancel();
          end();
        };
      }
      const matches = matcherOf(expect);
      return sendDatagram(own, Buffer.from(send, 'latin1'), (answer) => {
        const text = answer.toString('latin1');
        if (matches(text)) own.ok(`got ${formatPattern(expect)} in ${formatMs(own.elapsedMs())}`);
        else own.waitingFor(`got ${quote(text)}, but not ${formatPattern(expect)}`);
      });
    });
}

/** Sends once and hands every answer on; returns how to end it. */
export function sendDatagram(own: Attempt, question: Buffer, onAnswer: (answer: Buffer) => void): () => void {
  const { address, port, socket: makeFd } = own.target;
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  let isClosed = false;
  try {
    // Bound by whoever made it.
    if (makeFd !== undefined) socket.bind({ fd: makeFd(), exclusive: true });
  } catch (error) {
    socket.close();
    own.untried((error as Error).message);
    return () => undefined;
  }
  socket.on('error', (error: NodeJS.ErrnoException) =>
    error.code === 'ECONNREFUSED' ? own.fail('port unreachable: nobody listens there') : own.explain(error),
  );
  socket.on('message', (answer) => {
    own.heard();
    onAnswer(answer);
  });
  socket.connect(port ?? 0, address, () => {
    if (isClosed) return;
    socket.send(question, (error) => {
      // A refusal may already come with the sending.
      if (error !== null) socket.emit('error', error);
    });
  });
  return () => {
    if (isClosed) return;
    isClosed = true;
    socket.close();
  };
}
