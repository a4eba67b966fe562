// Checks as control sees them: which targets a configuration needs, what they say together about a server, and a wait for
// first results, so that nothing is committed blindly.

import type { Clock } from '../base/clock.ts';
import type { CheckConfig } from '../config/check.ts';
import { checkPlanOf, checkPortOf, checkVipsOf } from '../config/check-port.ts';
import type { Config, ServerConfig, ServiceConfig } from '../config/config.ts';
import { formatKind } from '../config/format-check.ts';
import { combine } from '../health/combine.ts';
import {
  type CheckReport,
  type CheckTarget,
  makeMonitor,
  type MemberState,
  type Memory,
  type ResultCounts,
} from '../health/monitor.ts';
import type { Advice, Probe, Via } from '../health/probe.ts';
import { type Address, formatEndpoint } from '../net/address.ts';
import { serverIdentity } from '../plane/identity.ts';
import { serverKey } from './overrides.ts';

/** More than this nobody waits for a first result: a server unheard of by then starts without flows. */
const LONGEST_WAIT_MS = 5000;
/** A large set of checks is started over a second. */
const START_SPREAD_MS = 1500;

/** `unchecked`: there is no check, the server is taken to be up. */
export type ServerHealth = MemberState | 'unchecked';

export interface HealthChange {
  /** "web/web-1" */
  readonly server: string;
  readonly before: ServerHealth;
  readonly state: ServerHealth;
  readonly reason: string;
}

export interface HealthOptions {
  readonly clock: Clock;
  readonly probe: Probe;
  readonly recall?: (key: string) => Memory | undefined;
  readonly random?: () => number;
  readonly onChange: (change: HealthChange) => void;
  /** An agent wishes another use of a server. */
  readonly onAdvice: (server: string, reason: string) => void;
  readonly onWarning: (server: string, warning: string) => void;
}

/** What decisions go by. */
export interface Standing {
  readonly state: ServerHealth;
  readonly advice: Advice | null;
}

/** What checks say of a server; `reports` are in the order of its plan. */
export interface ServerReport extends Standing {
  /** In words: that of the check which decides. */
  readonly reason: string;
  readonly reports: readonly CheckReport[];
}

export interface Health {
  /**
   * Checks what any of these configurations needs, and resolves when each server has had its first result or time is
   * up. During a reload both the old and the new one are in use. Servers that `isIdle` names are left alone.
   */
  watch(configs: readonly Config[], isIdle?: (server: string) => boolean): Promise<void>;
  /** Parallel to the service's servers, as are the reports. */
  standingsOf(service: ServiceConfig): Standing[];
  reportsOf(service: ServiceConfig): ServerReport[];
  /** Every check that is known to be good or bad, to be remembered. */
  memories(): Map<string, Memory>;
  counts(): ResultCounts;
  /** Also ends every wait. */
  stop(): void;
}

interface Plan {
  readonly mode: 'all' | 'any';
  readonly keys: readonly string[];
}

export function makeHealth(options: HealthOptions): Health {
  const { clock, onChange, onAdvice, onWarning } = options;
  const waits = new Set<Wait>();
  /** By serverKey; what is watched. */
  let plans = new Map<string, readonly Plan[]>();
  const known = new Map<string, ServerHealth>();
  const monitor = makeMonitor({
    ...options,
    onChange: (key, _state, reason) => {
      tellServer(serverOf(key), reason);
    },
    onTold: (key) => {
      for (const wait of waits) wait.hear(key);
    },
    onAdvice: (key, _advice, reason) => onAdvice(serverOf(key), reason),
    onWarning: (key, warning) => onWarning(serverOf(key), warning),
  });

  const combineOf = ({ mode, keys }: Plan) =>
    combine(
      mode,
      keys.map((key) => monitor.stateOf(key)),
    );

  /** One server's checks may belong to two configurations for the time of a reload: the later one speaks. */
  const tellServer = (server: string, reason: string): void => {
    const plan = plans.get(server)?.at(-1);
    if (plan === undefined) return;
    const { state } = combineOf(plan);
    const before = known.get(server) ?? 'unknown';
    if (state === before) return;
    known.set(server, state);
    onChange({ server, before, state, reason });
  };

  const watch = (configs: readonly Config[], isIdle: (server: string) => boolean = () => false): Promise<void> => {
    // What a reload leaves as it is belongs to both.
    const services = new Set(configs.flatMap((config) => config.services));
    const checked = [...services].flatMap((service) =>
      plansOf(service).filter((plan) => plan !== null && !isIdle(plan.server)),
    ) as Checked[];
    plans = Map.groupBy(checked, ({ server }) => server);
    const targets = new Map(checked.flatMap((one) => one.targets.map((target) => [target.key, target])));
    monitor.update([...targets.values()]);
    for (const server of known.keys()) if (!plans.has(server)) known.delete(server);
    for (const [server, of] of plans) {
      const plan = of.at(-1);
      if (plan !== undefined) known.set(server, combineOf(plan).state);
    }
    const unheard = new Set([...targets.keys()].filter((key) => !monitor.isTold(key)));
    let longestMs = 0;
    for (const { timeoutMs } of targets.values()) longestMs = Math.max(longestMs, timeoutMs);
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        waits.delete(wait);
        resolve();
      };
      const wait: Wait = {
        hear: (key) => {
          unheard.delete(key);
          if (unheard.size === 0) end();
        },
        end,
      };
      const timer = clock.setTimer(Math.min(LONGEST_WAIT_MS, longestMs + START_SPREAD_MS), end);
      waits.add(wait);
      if (unheard.size === 0) end();
    });
  };

  /** Each commit asks for every server: this makes no more than it gives. */
  const standingOf = (plan: Plan | null): Standing => {
    if (plan === null) return UNCHECKED;
    const states: MemberState[] = [];
    const advice: Advice[] = [];
    for (const key of plan.keys) {
      const standing = monitor.standingOf(key);
      if (standing === null) return UNKNOWN;
      states.push(standing.state);
      if (standing.advice !== null) advice.push(standing.advice);
    }
    return { state: combine(plan.mode, states).state, advice: advice.length === 0 ? null : mergeAdvice(advice) };
  };

  const reportOf = (plan: Plan | null): ServerReport => {
    const standing = standingOf(plan);
    if (plan === null) return { ...standing, reason: 'no check', reports: [] };
    if (standing === UNKNOWN) return { ...standing, reason: 'not checked yet', reports: [] };
    const reports = plan.keys.flatMap((key) => monitor.reportOf(key) ?? []);
    const { decidedBy } = combine(
      plan.mode,
      reports.map(({ state }) => state),
    );
    return { ...standing, reason: reports[decidedBy]?.last?.reason ?? 'not checked yet', reports };
  };

  return {
    watch,
    standingsOf: (service) => plansOf(service).map(standingOf),
    reportsOf: (service) => plansOf(service).map(reportOf),
    memories: () =>
      new Map(
        monitor.reports().flatMap(({ target, state, sinceMs }) => {
          if (state === 'unknown') return [];
          return [[target.key, { state: state === 'down' ? 'down' : 'up', sinceMs }] as const];
        }),
      ),
    counts: () => monitor.counts(),
    stop: () => {
      monitor.stop();
      for (const wait of waits) wait.end();
    },
  };
}

const UNCHECKED: Standing = { state: 'unchecked', advice: null };
const UNKNOWN: Standing = { state: 'unknown', advice: null };

interface Wait {
  /** A check was told its first result. */
  hear(key: string): void;
  end(): void;
}

interface Checked extends Plan {
  readonly server: string;
  readonly targets: readonly CheckTarget[];
}

/** Each commit asks for all of them, and a service of a configuration never changes. */
const madePlans = new WeakMap<ServiceConfig, readonly (Checked | null)[]>();

/** Parallel to its servers; null for one without a check. */
function plansOf(service: ServiceConfig): readonly (Checked | null)[] {
  const known = madePlans.get(service);
  if (known !== undefined) return known;
  const made = service.servers.map((server) => makePlan(service, server));
  madePlans.set(service, made);
  return made;
}

function makePlan(service: ServiceConfig, server: ServerConfig): Checked | null {
  const plan = checkPlanOf(service, server);
  if (plan === null) return null;
  const targets = plan.checks.flatMap((check, index) => makeCheckTargets(service, server, check, index));
  return { mode: plan.mode, server: serverKey(service, server), targets, keys: targets.map(({ key }) => key) };
}

/**
 * The key has the address in it, so that a server that moved is another target, and both can be watched during a reload;
 * and what is asked, so that what a predecessor remembers is the answer to the same question.
 */
function makeCheckTargets(
  service: ServiceConfig,
  server: ServerConfig,
  check: CheckConfig,
  index: number,
): CheckTarget[] {
  const { kind, target, everyMs, fastEveryMs, timeoutMs, rise, fall } = check;
  const port = checkPortOf(service, server, check);
  const make = (asked: Address, via: Via | null): CheckTarget => {
    const endpoint = port === null ? asked.text : formatEndpoint(asked, port);
    const where = via === null ? endpoint : `${endpoint}@${via.server}`;
    const key = `${serverKey(service, server)} ${where} ${index} ${formatKind(kind)}`;
    return { key, kind, via, address: asked.text, port, everyMs, fastEveryMs, timeoutMs, rise, fall };
  };
  if (target === 'server') return [make(server.address, null)];
  const via = viaOf(service, server);
  return checkVipsOf(service, check).map(({ vip }) => make(vip, via));
}

export function viaOf(service: ServiceConfig, server: ServerConfig): Via {
  return {
    server: server.address.text,
    identity: serverIdentity(service, server),
    isTunnel: service.tunnel !== null,
  };
}

/** Has a server that must be in the data plane before it can be checked. */
export function asksThroughPath(config: Config): boolean {
  return config.services.some((service) =>
    service.servers.some((server) => checkPlanOf(service, server)?.checks.some(({ target }) => target === 'vip')),
  );
}

function serverOf(key: string): string {
  return key.slice(0, key.indexOf(' '));
}

/** The smallest weight and the strictest wish. */
function mergeAdvice(given: readonly Advice[]): Advice {
  const weights = given.flatMap(({ weight }) => weight ?? []);
  const admin = (['maintenance', 'drain', 'ready'] as const).find((wish) => given.some((it) => it.admin === wish));
  return { weight: weights.length === 0 ? null : Math.min(...weights), admin: admin ?? null };
}
