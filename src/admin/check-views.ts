// What `fairlead checks` shows: a line for each check of each server.

import { formatKind } from '../config/format-check.ts';
import { endpointOf } from '../control/plan.ts';
import type { ControlState, ServerState } from '../control/state.ts';
import { formatEndpoint, parseAddress } from '../net/address.ts';

export interface CheckView {
  readonly service: string;
  readonly server: string;
  /** "http GET /healthz" */
  readonly check: string;
  /** Which path it takes. */
  readonly target: string;
  /** What it asks: an address, with a port if it needs one. */
  readonly address: string;
  readonly state: string;
  /** For how long it has been so, in milliseconds. */
  readonly forMs: number;
  /** In words, or null before the first. */
  readonly lastResult: string | null;
  readonly lastOutcome: 'ok' | 'failed' | 'untried' | null;
  readonly lastAgoMs: number | null;
  readonly latencyMs: number | null;
  /** The last ten: + ok, - failed, ? could not be tried; the newest at the end. */
  readonly history: string;
  readonly warning: string | null;
}

export function viewChecks(state: ControlState, nowMs: number, service?: string): CheckView[] {
  return state.services
    .filter(({ config }) => service === undefined || config.name === service)
    .flatMap(({ config, servers }) =>
      servers.flatMap((server) => [
        ...server.health.reports.map(({ target, state: its, sinceMs, last, history, warning }): CheckView => {
          const address = parseAddress(target.address);
          return {
            service: config.name,
            server: server.config.name,
            check: formatKind(target.kind),
            target: target.via === null ? 'server' : 'vip',
            address: target.port === null || address === null ? target.address : formatEndpoint(address, target.port),
            state: its,
            forMs: Math.round(nowMs - sinceMs),
            lastResult: last?.reason ?? null,
            lastOutcome: last?.outcome ?? null,
            lastAgoMs: last === null ? null : Math.round(nowMs - last.atMs),
            latencyMs: last?.latencyMs ?? null,
            history,
            warning,
          };
        }),
        ...viewPassive(config, server, nowMs),
      ]),
    );
}

/** What its own flows say of a server. */
function viewPassive(
  { name, passive: plan }: ControlState['services'][number]['config'],
  { config, passive, handshakes }: ServerState,
  nowMs: number,
): CheckView[] {
  if (passive === null || plan === null) return [];
  const { answered, refused, unanswered, smoothUs } = handshakes;
  return [
    {
      service: name,
      server: config.name,
      check: `passive ${plan.mode}`,
      target: 'flows',
      address: endpointOf(config),
      state: passive.word,
      forMs: Math.round(nowMs - passive.sinceMs),
      lastResult: passive.reason ?? `${answered} answered, ${refused} refused, ${unanswered} without an answer`,
      lastOutcome: passive.word === 'up' ? 'ok' : 'failed',
      lastAgoMs: null,
      latencyMs: smoothUs === null ? null : smoothUs / 1000,
      history: '',
      warning: null,
    },
  ];
}
