// A thorough try of the path that clients use to one server, for whoever looks for faults: a handshake, and whether a
// packet of full size gets through undivided. The second is asked by a datagram to a port where nobody is: whoever owns
// the VIP refuses it, however large it is, and no program is disturbed.

import { createSocket } from 'node:dgram';
import type { Address } from '../net/address.ts';
import type { ProbePath } from '../net/probe-path.ts';
import { attempt } from './attempt.ts';
import type { Probe, ProbeResult, Via } from './probe.ts';
import type { Timers } from './timers.ts';

export interface TrialQuestion {
  readonly vip: Address;
  /** Null: the service has no TCP port. */
  readonly port: number | null;
  readonly server: Address;
  readonly via: Via;
  /** Of the largest packet, in octets. */
  readonly size: number;
}

export interface Trial {
  /** Null without a port. */
  readonly handshake: ProbeResult | null;
  /** `unknown`: not even a small packet is refused, so nothing follows. */
  readonly fullSize: 'through' | 'lost' | 'too-big' | 'unknown';
}

/** One of a service's servers tried at one of its VIPs, as plain data. */
export interface PathTrial {
  readonly service: string;
  readonly server: string;
  readonly vip: string;
  readonly port: number | null;
  /** In words; null without a TCP port. */
  readonly handshake: { readonly outcome: 'ok' | 'failed' | 'untried'; readonly reason: string } | null;
  readonly fullSize: Trial['fullSize'];
  /** Octets of the largest packet. */
  readonly size: number;
}

export interface TrialOptions {
  readonly timers: Timers;
  readonly path: () => ProbePath;
  readonly probe: Probe;
}

const TIMEOUT_MS = 1000;
/** RFC 863: discard; hardly anybody has it. */
const NOBODYS_PORT = 9;
const HEADERS = { 4: 28, 6: 48 } as const;
const SMALL = 64;

export type TryPath = (question: TrialQuestion) => Promise<Trial>;

export function makePathTrial({ timers, path, probe }: TrialOptions): TryPath {
  const signal = new AbortController().signal;

  /** `too big` also when nobody could tell this socket so. */
  const refuses = async ({ vip, server, via }: TrialQuestion, size: number): Promise<ProbeResult> => {
    const kind = { type: 'udp', send: '', expect: null } as const;
    const target = { kind, via, address: vip.text, port: NOBODYS_PORT, timeoutMs: TIMEOUT_MS };
    let hindrance: string | null = null;
    const result = await attempt(timers, target, signal, (own) => {
      const question = {
        protocol: 'udp',
        isHalfOpen: false,
        vip,
        port: NOBODYS_PORT,
        server,
        identity: via.identity,
      } as const;
      let hidden: ReturnType<ProbePath['open']>;
      try {
        hidden = path().open(question);
      } catch (error) {
        own.untried((error as Error).message);
        return () => undefined;
      }
      const socket = createSocket(vip.family === 6 ? 'udp6' : 'udp4');
      socket.bind({ fd: hidden.fd, exclusive: true });
      const judge = (code: string | undefined, message: string): void => {
        if (code === 'ECONNREFUSED') own.ok('refused');
        else own.fail(code === 'EMSGSIZE' ? TOO_BIG : message);
      };
      socket.on('error', ({ code, message }: NodeJS.ErrnoException) => judge(code, message));
      socket.on('message', () => own.ok('answered'));
      socket.connect(NOBODYS_PORT, vip.text, () => {
        socket.send(Buffer.alloc(Math.max(0, size - HEADERS[vip.family])), (error: NodeJS.ErrnoException | null) => {
          if (error !== null) judge(error.code, error.message);
        });
      });
      return () => {
        socket.close();
        hindrance = hidden.end();
      };
    });
    return hindrance === null ? result : { ...result, outcome: 'failed', reason: TOO_BIG };
  };

  const tryFullSize = async (question: TrialQuestion): Promise<Trial['fullSize']> => {
    if ((await refuses(question, SMALL)).outcome !== 'ok') return 'unknown';
    // Of refusals a host sends few a second: one may be missing, two are not.
    for (let round = 0; round < 2; round++) {
      const { outcome, reason } = await refuses(question, question.size);
      if (outcome === 'ok') return 'through';
      if (reason === TOO_BIG) return 'too-big';
    }
    return 'lost';
  };

  return async (question) => {
    const { vip, port, via } = question;
    const target = { kind: { type: 'tcp' }, via, address: vip.text, port, timeoutMs: TIMEOUT_MS } as const;
    const handshake = port === null ? null : await probe(target, signal);
    return { handshake, fullSize: await tryFullSize(question) };
  };
}

const TOO_BIG = 'too big';
