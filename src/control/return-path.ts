// Watches for nat servers whose answers take another way. Such a connection shows in the flow table: its SYN went to the
// server, the server is well, and seconds later still nothing has come back through here. Two reasons are told apart:
//
//   the client is in the server's own network, which answers it directly     (said of a client)
//   the server's route to everybody leads around this host                   (said of a server that answers no one)
//
// The table is walked a batch each second, a pass after the other, so that millions of flows cost a hundredth of a core
// at most. TCP alone: a datagram need not be answered.

import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { findConnected } from '../config/host-view.ts';
import { formatPrefix, networkOf, prefixContains } from '../net/prefix.ts';
import { readTraffic } from '../plane/counters.ts';
import { type FlowRecord, readFlows } from '../plane/flow-reader.ts';
import type { Plane } from '../plane/plane.ts';
import { interfaceNames } from './desired.ts';
import { serverKey } from './overrides.ts';
import type { ControlState, ServerState } from './state.ts';

export interface ReturnPathOptions {
  readonly plane: Plane;
  readonly state: () => ControlState;
  readonly clock: Clock;
  readonly log: Logger;
  /** The data plane's time, for tests. */
  readonly tick?: () => number;
}

const EVERY_MS = 1000;
/** A SYN is sent again after 1 s and 3 s; a server that answers at all has done so by then. */
const UNANSWERED_MS = 3000;
/** So many connections without an answer are no accident. */
const MANY = 5;
const QUIET_MS = 600_000;

export function watchReturnPath(options: ReturnPathOptions): { stop(): void } {
  const { plane, state, clock, log } = options;
  const said = new Map<string, number>();
  let pass: Pass | null = null;
  let timer: Timer;

  const warn = (why: 'beside' | 'silent', server: string, text: string): void => {
    const key = `${why} ${server}`;
    if (clock.nowMs() - (said.get(key) ?? Number.NEGATIVE_INFINITY) < QUIET_MS) return;
    said.set(key, clock.nowMs());
    log.warn({ server }, text);
  };

  const lookAtFlow = ({ watched, state }: Pass, flow: FlowRecord): void => {
    const found = watched.get(flow.serverSlot);
    if (found === undefined || flow.ageMs < UNANSWERED_MS) return;
    const network = sharedNetwork(flow, state);
    if (network === null) found.unanswered++;
    else warn('beside', found.key, besideWords(found.key, flow, network));
  };

  const endPass = ({ watched }: Pass): void => {
    for (const { key, server, unanswered, outFrames } of watched.values()) {
      if (unanswered < MANY || readTraffic(plane, server.slot).outFrames > outFrames) continue;
      warn('silent', key, silentWords(key, unanswered));
    }
  };

  const look = (): void => {
    pass ??= beginPass(plane, state(), options.tick);
    const next = pass.batches.next();
    if (next.done === true) {
      endPass(pass);
      pass = null;
    } else {
      for (const flow of next.value) lookAtFlow(pass, flow);
    }
    timer = clock.setTimer(EVERY_MS, look);
  };
  timer = clock.setTimer(EVERY_MS, look);
  return { stop: () => timer.cancel() };
}

interface Watched {
  readonly key: string;
  readonly server: ServerState;
  /** When the pass began. */
  readonly outFrames: number;
  unanswered: number;
}

interface Pass {
  /** As it began. */
  readonly state: ControlState;
  /** By slot. */
  readonly watched: ReadonlyMap<number, Watched>;
  readonly batches: Iterator<FlowRecord[], unknown, undefined>;
}

/** Servers that are down answer nobody, which their checks have said. */
function beginPass(plane: Plane, state: ControlState, tick?: () => number): Pass {
  const watched = state.services
    .filter(({ config }) => config.method === 'nat')
    .flatMap(({ config, servers }) =>
      servers
        .filter(({ health }) => health.state === 'up' || health.state === 'unchecked')
        .map((server): [number, Watched] => {
          const { outFrames } = readTraffic(plane, server.slot);
          return [server.slot, { key: serverKey(config, server.config), server, outFrames, unanswered: 0 }];
        }),
    );
  const slots = new Map(watched);
  const filter = { serverSlots: new Set(slots.keys()), state: 'syn-sent' as const };
  return { state, watched: slots, batches: readFlows(plane, filter, tick) };
}

/** The connected network that holds both ends, or null. */
function sharedNetwork({ client, server }: FlowRecord, { config, host }: ControlState): string | null {
  const connected = findConnected(server, host, interfaceNames(config));
  if (connected === undefined || !prefixContains(connected.prefix, client)) return null;
  return formatPrefix({ address: networkOf(connected.prefix), length: connected.prefix.length });
}

function besideWords(key: string, { client }: FlowRecord, network: string): string {
  return (
    `client ${client.text} is in ${network} like server ${key}, which answers it directly: with nat such a connection ` +
    'fails; use method full-nat for clients in the network of the servers'
  );
}

function silentWords(key: string, unanswered: number): string {
  return (
    `server ${key} is up, but no answer of it passes here (${unanswered} connections wait for one): with nat its way to ` +
    'the clients must lead through this host; set its default route so, or use method full-nat'
  );
}
