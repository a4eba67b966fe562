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

/** What checks say of a server; `reports` are in the order of its plan. */
export interface ServerReport {
  readonly state: ServerHealth;
  /** In words: that of the check which decides. */
  readonly reason: string;
  readonly advice: Advice | null;
  readonly reports: readonly CheckReport[];
}

export interface Health {
  /**
   * Checks what any of these configurations needs, and resolves when each server has had its first result or time is
   * up. During a reload both the old and the new one are in use. Servers that `isIdle` names are left alone.
   */
  watch(configs: readonly Config[], isIdle?: (server: string) => boolean): Promise<void>;
  stateOf(service: ServiceConfig, server: ServerConfig): ServerHealth;
  reportOf(service: ServiceConfig, server: ServerConfig): ServerReport;
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
    const checked = configs.flatMap(checkedServers).filter(({ server }) => !isIdle(server));
    plans = Map.groupBy(checked, ({ server }) => server);
    const targets = new Map(checked.flatMap((one) => one.targets.map((target) => [target.key, target])));
    monitor.update([...targets.values()]);
    for (const server of known.keys()) if (!plans.has(server)) known.delete(server);
    for (const [server, of] of plans) {
      const plan = of.at(-1);
      if (plan !== undefined) known.set(server, combineOf(plan).state);
    }
    const unheard = new Set([...targets.keys()].filter((key) => !monitor.isTold(key)));
    const longestMs = Math.max(0, ...[...targets.values()].map(({ timeoutMs }) => timeoutMs));
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

  const reportOf = (service: ServiceConfig, server: ServerConfig): ServerReport => {
    const plan = planOf(service, server);
    if (plan === null) return { state: 'unchecked', reason: 'no check', advice: null, reports: [] };
    const reports = plan.targets.flatMap(({ key }) => monitor.reportOf(key) ?? []);
    if (reports.length < plan.targets.length) {
      return { state: 'unknown', reason: 'not checked yet', advice: null, reports: [] };
    }
    const { state, decidedBy } = combine(
      plan.mode,
      reports.map((report) => report.state),
    );
    const reason = reports[decidedBy]?.last?.reason ?? 'not checked yet';
    return { state, reason, advice: mergeAdvice(reports.map(({ advice }) => advice)), reports };
  };

  return {
    watch,
    reportOf,
    stateOf: (service, server) => {
      const plan = planOf(service, server);
      return plan === null ? 'unchecked' : combineOf(plan).state;
    },
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

interface Wait {
  /** A check was told its first result. */
  hear(key: string): void;
  end(): void;
}

interface Checked extends Plan {
  readonly server: string;
  readonly targets: readonly CheckTarget[];
}

function checkedServers(config: Config): Checked[] {
  return config.services.flatMap((service) => service.servers.flatMap((server) => planOf(service, server) ?? []));
}

/** Each commit asks for all of them, and a server of a configuration never changes. */
const madePlans = new WeakMap<ServerConfig, Checked | null>();

/** Null for a server without a check. */
function planOf(service: ServiceConfig, server: ServerConfig): Checked | null {
  const made = madePlans.get(server) ?? makePlan(service, server);
  madePlans.set(server, made);
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
function mergeAdvice(all: readonly (Advice | null)[]): Advice | null {
  const given = all.filter((advice) => advice !== null);
  if (given.length === 0) return null;
  const weights = given.flatMap(({ weight }) => weight ?? []);
  const admin = (['maintenance', 'drain', 'ready'] as const).find((wish) => given.some((it) => it.admin === wish));
  return { weight: weights.length === 0 ? null : Math.min(...weights), admin: admin ?? null };
}
