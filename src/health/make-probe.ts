// All kinds of checks behind one door, with bounds on what they use at a time.

import { readFileSync } from 'node:fs';
import type { ProbePath } from '../net/probe-path.ts';
import type { RawProber } from '../net/raw-prober.ts';
import { makeAgentProbe } from './agent-probe.ts';
import { makeContentProbe } from './content-probe.ts';
import { makeDnsProbe } from './dns-probe.ts';
import { makeExecProbe } from './exec-probe.ts';
import { type Gate, makeGate } from './gate.ts';
import { makeHttpProbe } from './http-probe.ts';
import { makePathProbe } from './path-probe.ts';
import type { Probe, ProbeTarget } from './probe.ts';
import { makeRawProbes } from './raw-probes.ts';
import { makeTcpProbe } from './tcp-probe.ts';
import type { Timers } from './timers.ts';
import { makeUdpProbe } from './udp-probe.ts';

export interface ProbeOptions {
  readonly timers: Timers;
  readonly raw: () => RawProber;
  /** For checks of the VIP. */
  readonly path: () => ProbePath;
  /** Sockets and programs at a time. */
  readonly sockets?: number;
  readonly programs?: number;
}

export interface Prober {
  readonly probe: Probe;
  /** What is under way, and what waits for room. */
  load(): { readonly sockets: number; readonly programs: number; readonly waiting: number };
}

/** Enough for 4,000 checks at a time that all wait for dead servers; each is a descriptor. */
const SOCKETS = 4096;
/** A program is a process, perhaps a shell with children: more at a time would be a load of its own. */
const PROGRAMS = 64;

export function makeProber({
  timers,
  raw,
  path,
  sockets = roomForSockets(),
  programs = PROGRAMS,
}: ProbeOptions): Prober {
  const rawProbes = makeRawProbes(raw);
  const tcp = makeTcpProbe(timers);
  const halfOpenOnPath = makeTcpProbe(timers, 'SYN answered');
  const http = makeHttpProbe(timers);
  const content = makeContentProbe(timers);
  const udp = makeUdpProbe(timers);
  const dns = makeDnsProbe(timers);
  const exec = makeExecProbe(timers);
  const agent = makeAgentProbe(timers);
  const socketGate = makeGate(sockets);
  const programGate = makeGate(programs);

  const askBy: Probe = (target, signal) => {
    const { kind } = target;
    switch (kind.type) {
      case 'http':
        return http(target, kind, signal);
      case 'content':
        return content(target, kind, signal);
      case 'udp':
        return udp(target, kind, signal);
      case 'dns':
        return dns(target, kind, signal);
      case 'exec':
        return exec(target, kind, signal);
      case 'agent':
        return agent(target, kind, signal);
      case 'icmp':
        return rawProbes.icmp(target, signal);
      case 'tcp-half-open':
        return target.via === null ? rawProbes.halfOpen(target, signal) : halfOpenOnPath(target, signal);
      default:
        return tcp(target, signal);
    }
  };

  const pathProbe = makePathProbe({ timers, path, raw, ask: askBy });
  const ask: Probe = ({ via, ...target }, signal) =>
    via === null ? askBy({ ...target, via }, signal) : pathProbe({ ...target, via }, signal);

  /** Those over raw sockets share a few descriptors among all. */
  const gateOf = ({ kind: { type }, via }: ProbeTarget): Gate | null => {
    if (type === 'icmp' || (type === 'tcp-half-open' && via === null)) return null;
    return type === 'exec' ? programGate : socketGate;
  };

  return {
    probe: async (target, signal) => {
      const gate = gateOf(target);
      if (gate === null) return ask(target, signal);
      const leave = await gate.enter();
      try {
        return await ask(target, signal);
      } finally {
        leave();
      }
    },
    load: () => ({
      sockets: socketGate.inside(),
      programs: programGate.inside(),
      waiting: socketGate.waiting() + programGate.waiting(),
    }),
  };
}

/** At most half of the descriptors that this process may have. */
function roomForSockets(): number {
  const limits = readFileSync('/proc/self/limits', 'utf8');
  const descriptors = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 1024);
  return Math.min(SOCKETS, Math.max(16, Math.floor(descriptors / 2)));
}
