// Passive checks: reads what the data plane counts of each server's handshakes, a few times a second, and takes out who is
// an outlier, for a time that grows with each time it happens again.
//
//     in ── judged an outlier, share not used up ─▶ ejected ── time is up ─▶ in, with a clean sheet
//      └── observe, or the share is used up ─▶ suspect ── nothing against it for a while ─▶ in

import type { Clock, Timer } from '../base/clock.ts';
import { formatDuration } from '../config/duration.ts';
import type { PassivePlan } from '../config/passive.ts';
import type { Handshakes } from '../plane/counters.ts';
import type { NewEvent } from './events.ts';
import { type History, judge, makeHistory, noteReading, responseUs } from './outlier.ts';

export interface WatchedService {
  readonly name: string;
  readonly plan: PassivePlan;
  readonly servers: readonly WatchedServer[];
}

export interface WatchedServer {
  /** "web/web-1" */
  readonly key: string;
  readonly name: string;
  /** Changes when another server takes over the name. */
  readonly identity: bigint;
  readonly slot: number;
  readonly isBackup: boolean;
  /** It gets new flows. */
  readonly isUsed: boolean;
}

export interface PassiveState {
  readonly word: 'up' | 'suspect' | 'ejected';
  readonly sinceMs: number;
  /** In words; null when there is nothing to say. */
  readonly reason: string | null;
  /** How often it was ejected by this process. */
  readonly ejections: number;
}

/** For a successor; times on the clock. */
export interface Ejection {
  readonly untilMs: number;
  readonly times: number;
  readonly reason: string;
}

export interface PassiveOptions {
  readonly clock: Clock;
  readonly services: () => readonly WatchedService[];
  readonly read: (server: WatchedServer) => Handshakes;
  /** Who is in and who is out has changed. */
  readonly onChange: (change: { ejected: readonly string[]; returned: readonly string[] }) => void;
  readonly onEvent: (event: NewEvent) => void;
}

export interface Passive {
  /** Looks at what services() says from now on; called after each commit. */
  follow(): void;
  isEjected(key: string, identity: bigint): boolean;
  stateOf(key: string): PassiveState | null;
  /** What a predecessor left. */
  recall(ejections: ReadonlyMap<string, Ejection>): void;
  ejections(): Map<string, Ejection>;
  stop(): void;
}

const EVERY_MS = 100;

interface Watch {
  readonly identity: bigint;
  history: History;
  state: PassiveState;
  untilMs: number;
  /** How often in succession, and for how long the last time. */
  times: number;
  lastMs: number;
}

export function makePassive({ clock, services, read, onChange, onEvent }: PassiveOptions): Passive {
  const watches = new Map<string, Watch>();
  let watched: readonly WatchedService[] = [];
  let remembered: ReadonlyMap<string, Ejection> = new Map();
  let timer: Timer | null = null;

  /** What was counted before does not count. */
  const beginHistory = (server: WatchedServer, plan: PassivePlan): History => {
    const history = makeHistory();
    noteReading(history, { atMs: clock.nowMs(), ...read(server) }, plan);
    return history;
  };

  const begin = (server: WatchedServer, plan: PassivePlan): Watch => {
    const { key, identity } = server;
    const left = remembered.get(key);
    const isOut = isStillOut(left);
    return {
      identity,
      history: beginHistory(server, plan),
      state: {
        word: isOut ? 'ejected' : 'up',
        sinceMs: clock.nowMs(),
        reason: isOut ? (left?.reason ?? null) : null,
        ejections: 0,
      },
      untilMs: left?.untilMs ?? 0,
      times: left?.times ?? 0,
      lastMs: 0,
    };
  };

  const follow = (): void => {
    watched = services();
    const servers = new Map(
      watched.flatMap(({ plan, servers: own }) => own.map((server) => [server.key, { server, plan }])),
    );
    for (const [key, { identity }] of watches) {
      if (servers.get(key)?.server.identity !== identity) watches.delete(key);
    }
    for (const [key, { server, plan }] of servers) if (!watches.has(key)) watches.set(key, begin(server, plan));
    remembered = new Map();
    if (watches.size === 0) stop();
    else timer ??= clock.setTimer(EVERY_MS, look);
  };

  const stop = (): void => {
    timer?.cancel();
    timer = null;
  };

  const look = (): void => {
    timer = null;
    const change = { ejected: [] as string[], returned: [] as string[] };
    for (const service of watched) lookAt(service, change);
    if (change.ejected.length + change.returned.length > 0) onChange(change);
    if (watches.size > 0) timer ??= clock.setTimer(EVERY_MS, look);
  };

  const lookAt = (service: WatchedService, change: { ejected: string[]; returned: string[] }): void => {
    const { plan } = service;
    const nowMs = clock.nowMs();
    const open: { server: WatchedServer; watch: Watch }[] = [];
    for (const server of service.servers) {
      const watch = watches.get(server.key);
      if (watch === undefined) continue;
      if (watch.state.word === 'ejected') {
        if (nowMs >= watch.untilMs || plan.mode === 'observe') release(service, server, watch, change);
      } else if (server.isUsed) {
        noteReading(watch.history, { atMs: nowMs, ...read(server) }, plan);
        open.push({ server, watch });
      } else {
        // Who gets no flows shows nothing; what its last ones come to is known already.
        watch.history = beginHistory(server, plan);
      }
      forgive(watch, nowMs);
    }
    const allUs = open.flatMap(({ watch }) => responseUs(watch.history, plan) ?? []).toSorted((a, b) => a - b);
    for (const { server, watch } of open) {
      const reason = judge(watch.history, plan, allUs);
      if (reason !== null) accuse(service, server, watch, reason, change);
      else if (watch.state.word === 'suspect' && nowMs - watch.untilMs >= plan.withinMs) setState(watch, 'up', null);
    }
  };

  const setState = (watch: Watch, word: PassiveState['word'], reason: string | null): void => {
    const { ejections } = watch.state;
    const sinceMs = watch.state.word === word ? watch.state.sinceMs : clock.nowMs();
    watch.state = { word, sinceMs, reason, ejections: word === 'ejected' ? ejections + 1 : ejections };
  };

  const accuse = (
    service: WatchedService,
    server: WatchedServer,
    watch: Watch,
    reason: string,
    change: { ejected: string[] },
  ): void => {
    const { plan } = service;
    const hindrance = plan.mode === 'observe' ? 'only observed' : hindranceOf(service, server);
    if (hindrance !== null) {
      if (watch.state.word === 'up') say('server-suspect', service, server, `${reason}; ${hindrance}`);
      setState(watch, 'suspect', `${reason}; ${hindrance}`);
      watch.untilMs = clock.nowMs();
      return;
    }
    watch.lastMs = Math.min(plan.longestMs, plan.forMs * 2 ** Math.min(watch.times, 30));
    watch.times++;
    watch.untilMs = clock.nowMs() + watch.lastMs;
    const words = `${reason}; out for ${formatDuration(watch.lastMs)}`;
    setState(watch, 'ejected', words);
    say('server-ejected', service, server, words);
    change.ejected.push(server.key);
  };

  /** Why it must stay in, or null. */
  const hindranceOf = ({ plan, servers }: WatchedService, server: WatchedServer): string | null => {
    const isOut = ({ key }: WatchedServer): boolean => watches.get(key)?.state.word === 'ejected';
    if (!servers.some((other) => other !== server && other.isUsed && !isOut(other))) return 'no other server is left';
    const alike = servers.filter(({ isBackup }) => isBackup === server.isBackup);
    const out = alike.filter(isOut).length;
    if (out + 1 <= Math.floor((alike.length * plan.most) / 100)) return null;
    return `${out} of ${alike.length} servers are ejected, ${plan.most} % are the most`;
  };

  const release = (
    service: WatchedService,
    server: WatchedServer,
    watch: Watch,
    change: { returned: string[] },
  ): void => {
    setState(watch, 'up', null);
    watch.history = beginHistory(server, service.plan);
    watch.untilMs = clock.nowMs();
    say('server-returned', service, server, 'its time is up; it gets new flows again');
    change.returned.push(server.key);
  };

  /** One that has been in for as long as it was out counts one time less. */
  const forgive = (watch: Watch, nowMs: number): void => {
    if (watch.times === 0 || watch.state.word !== 'up' || nowMs - watch.untilMs < Math.max(watch.lastMs, EVERY_MS) * 2)
      return;
    watch.times--;
    watch.untilMs = nowMs;
  };

  const say = (kind: NewEvent['kind'], service: WatchedService, server: WatchedServer, reason: string): void => {
    onEvent({ kind, service: service.name, server: server.name, reason });
  };

  return {
    follow,
    isEjected: (key, identity) => {
      const watch = watches.get(key);
      return watch === undefined
        ? isStillOut(remembered.get(key))
        : watch.identity === identity && watch.state.word === 'ejected';
    },
    stateOf: (key) => watches.get(key)?.state ?? null,
    recall: (ejections) => {
      remembered = ejections;
    },
    ejections: () =>
      new Map(
        [...watches].flatMap(([key, { untilMs, times, state }]) =>
          state.word === 'ejected' ? [[key, { untilMs, times, reason: state.reason ?? '' }] as const] : [],
        ),
      ),
    stop,
  };

  function isStillOut(left: Ejection | undefined): boolean {
    return left !== undefined && left.untilMs > clock.nowMs();
  }
}
