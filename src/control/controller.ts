// The loop that keeps the data plane as it should be: configuration, overrides, health and host go in, commits come out.
//
// There is one way to change anything: apply(). It makes the target of what is and what is new, packs it, commits it, and
// only then remembers the new. When any step throws, the old state stands, in here and in the region. What happens by
// itself (health, links) is coalesced into one commit and tried again when it fails; what somebody asked for is applied
// at once, so that the answer tells how it went.

import { isDeepStrictEqual } from 'node:util';
import type { Clock, Timer } from '../base/clock.ts';
import { FairleadError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Config } from '../config/config.ts';
import type { HostView } from '../config/host-view.ts';
import type { ResultCounts } from '../health/monitor.ts';
import type { Probe } from '../health/probe.ts';
import { readPlacement } from '../plane/adopt.ts';
import { readHalfOpen, readHandshakes } from '../plane/counters.ts';
import { currentTick } from '../plane/flow-reader.ts';
import { planImage } from '../plane/image.ts';
import type { Plane } from '../plane/plane.ts';
import { readHeader } from '../plane/sections.ts';
import type { SlotTable } from '../plane/slots.ts';
import type { Target } from '../plane/target.ts';
import type { Change } from './change.ts';
import type { LoadReplacement } from './configuration.ts';
import { makeTarget, targetInterfaces, withUpcoming } from './desired.ts';
import { makeDrains } from './drains.ts';
import { type Events, makeEvents } from './events.ts';
import { makeFloods } from './floods.ts';
import { asksThroughPath, type HealthChange, makeHealth } from './health.ts';
import { keepServices } from './keep-services.ts';
import { type Keeper, NO_KEEPER } from './keeper.ts';
import { formatMemory, parseMemory, type SavedMemory } from './memory.ts';
import {
  findServer,
  keepOverrides,
  type OverrideChange,
  overrideOf,
  type Overrides,
  serverKey,
  withDeadline,
  withOverride,
} from './overrides.ts';
import { makePassive } from './passive.ts';
import { planChanges } from './plan.ts';
import { makeSlowStart } from './slow-start.ts';
import { type Applied, type ControlState, describeServices, type ServiceState } from './state.ts';
import { makeTeller } from './teller.ts';
import { floodedServices, watchedServices } from './watched.ts';
import { decideAll, decisionEvents } from './weigh.ts';

export interface ControllerOptions {
  readonly plane: Plane;
  readonly config: Config;
  readonly clock: Clock;
  readonly probe: Probe;
  readonly log: Logger;
  /** Looks at the host's links and addresses. */
  readonly inspect: () => HostView;
  /** Called with a new configuration before it is applied; what it throws refuses the configuration. */
  readonly prepare: (config: Config) => void;
  /** Called after each commit: where servers are in the data plane, for probes that go through it. */
  readonly placed?: (servers: SlotTable) => void;
  /** Where what happens is told. */
  readonly events?: Events;
  /** Has what a predecessor left, and keeps what a successor needs. */
  readonly keeper?: Keeper;
  /** Moves the rounds of checks; 0 to 1. */
  readonly random?: () => number;
}

export interface ReloadAnswer {
  readonly generation: number;
  readonly changes: readonly Change[];
  readonly warnings: readonly string[];
}

export interface Controller {
  /** Waits for the first round of checks, then commits. */
  start(): Promise<void>;
  /** Replaces the configuration, or throws and leaves everything as it was. One at a time, in the order of the calls. */
  reload(load: LoadReplacement): Promise<ReloadAnswer>;
  /** Done when it returns. Throws not-found for a server that is not configured. */
  override(service: string, server: string, change: OverrideChange): void;
  /** The host has changed: looks at it and follows. */
  lookAtHost(): void;
  state(): ControlState;
  /** What a successor needs to know. */
  memory(): SavedMemory;
  checkResults(): ResultCounts;
  stop(): void;
}

/** Changes that come within this time of each other make one commit. */
const COALESCE_MS = 10;
const RETRY_MS = 1000;

export function makeController(options: ControllerOptions): Controller {
  const { plane, clock, log, inspect, events = makeEvents(), keeper = NO_KEEPER } = options;
  const startedMs = Date.now();
  const recalled = parseMemory(keeper.left, clock);
  const tell = makeTeller(log, events);
  let applied: Applied = {
    config: options.config,
    overrides: keepOverrides(recalled.overrides, options.config),
    host: inspect(),
    placement: readPlacement(plane),
    target: null,
    decisions: [],
  };
  /** Asked at the start only: later on nothing is as it was left. */
  let left = recalled.health;
  const slowStart = makeSlowStart(clock);
  let growing: Timer | null = null;
  let pending: Timer | null = null;
  let reloading: Promise<unknown> = Promise.resolve();
  let isStopped = false;
  /** Its servers are in the data plane, without flows, so that they can be asked through it before they are needed. */
  let upcoming: Config | null = null;
  options.placed?.(applied.placement.servers);

  const drains = makeDrains({
    clock,
    overrides: () => applied.overrides,
    onOver: (servers) => {
      sayOver(servers);
      applySoon(0);
    },
  });

  const health = makeHealth({
    clock,
    probe: options.probe,
    ...(options.random === undefined ? {} : { random: options.random }),
    recall: (key) => left.get(key),
    onChange: (change) => {
      tell.healthChanged(change, applied.target === null);
      followHealth(change);
    },
    onAdvice: (server, reason) => {
      tell.advised(server, reason);
      if (applied.target !== null) applySoon(COALESCE_MS);
    },
    onWarning: (server, warning) => tell.warned(server, warning),
  });

  const followHealth = ({ server, before, state }: HealthChange): void => {
    if (state === 'down') slowStart.forget(server);
    if (applied.target === null) return;
    if (state === 'up' && before !== 'doubted') slowStart.begin(server);
    keeper.saveSoon();
    applySoon(COALESCE_MS);
  };

  const imageOf = (target: Target) => {
    const moment = { generation: readHeader(plane).generation, nowMs: clock.nowMs() };
    return planImage(target, applied.placement, plane.counts, moment);
  };

  const passive = makePassive({
    clock,
    services: () => watchedServices(applied),
    read: ({ slot }) => readHandshakes(plane, slot),
    onChange: ({ returned }) => {
      for (const server of returned) slowStart.begin(server);
      keeper.saveSoon();
      applySoon(0);
    },
    onEvent: (event) => tell.happened(event),
  });
  const floods = makeFloods({
    clock,
    services: () => floodedServices(applied),
    isComputeOnly: (slot) => readHalfOpen(plane, slot, currentTick()).computeOnlyForMs !== null,
    onEvent: (event) => tell.happened(event),
  });
  passive.recall(recalled.ejections);

  const plan = (change: Partial<Applied>) => {
    const next = { ...applied, ...change };
    const known = {
      nowMs: clock.nowMs(),
      overrides: next.overrides,
      health,
      slowStart,
      isEjected: (server: string, id: bigint) => passive.isEjected(server, id),
    };
    const decisions = decideAll(next.config, known, applied.decisions);
    const target = makeTarget(next.config, decisions, next.host);
    const { image, placement } = imageOf(upcoming === null ? target : withUpcoming(target, upcoming));
    return { image, next: { ...next, target, placement, decisions } };
  };

  const apply = (change: Partial<Applied>): number => {
    const { image, next } = plan(change);
    const generation = commit(image);
    options.placed?.(next.placement.servers);
    const happened = applied.target === null ? [] : decisionEvents(applied.decisions, next.decisions);
    applied = next;
    log.debug({ generation }, `commit ${generation}`);
    for (const event of happened) tell.happened(event);
    passive.follow();
    floods.follow();
    growOn();
    if (!isStopped) drains.follow();
    return generation;
  };

  const sayOver = (servers: readonly string[]): void => {
    for (const { config, servers: states } of describeServices(applied, health, passive, plane)) {
      for (const { config: server, openFlows } of states) {
        const key = serverKey(config, server);
        if (servers.includes(key)) tell.drainOver(key, openFlows);
      }
    }
  };

  /** While a share grows, each of its steps is a commit. */
  const growOn = (): void => {
    growing?.cancel();
    growing = null;
    const stepMs = slowStart.nextStepMs();
    if (stepMs === null || isStopped) return;
    growing = clock.setTimer(stepMs, () => applySoon(0));
  };

  const isInMaintenance = (server: string, overrides: Overrides = applied.overrides): boolean =>
    overrideOf(overrides, server).admin === 'maintenance';

  /**
   * An engine may fail to follow after the halves have flipped. Then the region holds what was refused, and what stood
   * before is put back soon: over the placement that the region has now.
   */
  const commit = (image: ArrayBuffer): number => {
    const before = readHeader(plane).generation;
    try {
      return plane.commit(image);
    } catch (error) {
      if (readHeader(plane).generation !== before) {
        applied = { ...applied, placement: readPlacement(plane) };
        options.placed?.(applied.placement.servers);
        applySoon(RETRY_MS);
      }
      const message = `the data plane did not take the change: ${(error as Error).message}`;
      throw new FairleadError('failed', message, { cause: error });
    }
  };

  const applySoon = (delayMs: number): void => {
    if (isStopped) return;
    pending ??= clock.setTimer(delayMs, () => {
      pending = null;
      try {
        apply({});
      } catch (error) {
        log.error({ err: error }, `a change could not be applied and will be tried again: ${(error as Error).message}`);
        applySoon(RETRY_MS);
      }
    });
  };

  const requireRunning = (): void => {
    if (isStopped) throw new FairleadError('refused', 'fairlead is ending; nothing was applied');
  };

  const reload = async (load: LoadReplacement): Promise<ReloadAnswer> => {
    const { config: loaded, warnings } = await load(applied.config, inspect());
    const config = await keepServices(applied.config, loaded);
    requireRunning();
    const host = inspect();
    // Refuses what does not fit before anything is touched, even the checks.
    plan({ config, host });
    const changes = planChanges(applied.config, config);
    let generation: number;
    try {
      // New servers are asked before they are needed, so that a service whose servers are all new has no gap.
      if (asksThroughPath(config)) {
        upcoming = config;
        apply({});
      }
      await health.watch([applied.config, config], isInMaintenance);
      requireRunning();
      options.prepare(config);
      upcoming = null;
      try {
        generation = apply({ config, host, overrides: keepOverrides(applied.overrides, config) });
      } catch (error) {
        options.prepare(applied.config);
        throw error;
      }
    } finally {
      upcoming = null;
      if (!isStopped) void health.watch([applied.config], isInMaintenance);
    }
    log.level = config.log.level;
    for (const warning of warnings) log.warn(warning);
    tell.reloaded(generation, changes);
    keeper.saveSoon();
    return { generation, changes, warnings };
  };

  return {
    start: async () => {
      // A region that a predecessor left has the servers, and flows; nothing is committed to it before they were asked.
      if (applied.placement.servers.length === 0 && asksThroughPath(applied.config)) {
        const { image, placement } = imageOf(
          withUpcoming(makeTarget(applied.config, [], applied.host), applied.config),
        );
        commit(image);
        applied = { ...applied, placement };
        options.placed?.(placement.servers);
      }
      await health.watch([applied.config], isInMaintenance);
      left = new Map();
      if (!isStopped) apply({});
    },
    reload: (load) => {
      const answer = reloading.then(() => reload(load));
      reloading = answer.catch(() => undefined);
      return answer;
    },
    override: (service, server, change) => {
      const found = findServer(applied.config, service, server);
      const key = serverKey(service, server);
      const before = overrideOf(applied.overrides, key).admin;
      const usual = applied.config.services.find(({ name }) => name === service)?.drainDeadlineMs ?? null;
      const nowMs = clock.nowMs();
      const overrides = withOverride(applied.overrides, service, found, withDeadline(change, before, usual), nowMs);
      const admin = overrideOf(overrides, key).admin;
      if (before !== 'enabled' && admin === 'enabled') slowStart.begin(key);
      apply({ overrides });
      // Checks rest in maintenance; after it the first result decides, as for a new server.
      if ((before === 'maintenance') !== (admin === 'maintenance'))
        void health.watch([applied.config], isInMaintenance);
      tell.overridden(key, change);
      keeper.saveNow();
    },
    lookAtHost: () => {
      applied = { ...applied, host: inspect() };
      const { target, config, host } = applied;
      // The kernel also tells of what is none of ours.
      if (target === null || isDeepStrictEqual(target.interfaces, targetInterfaces(config, host))) return;
      applySoon(COALESCE_MS);
    },
    state: () => {
      const at = applied;
      let services: readonly ServiceState[] | null = null;
      return {
        config: at.config,
        host: at.host,
        nowMs: clock.nowMs(),
        startedMs,
        generation: readHeader(plane).generation,
        get services() {
          return (services ??= describeServices(at, health, passive, plane));
        },
      };
    },
    memory: () => {
      const { overrides } = applied;
      return formatMemory({ overrides, health: health.memories(), ejections: passive.ejections() }, clock);
    },
    checkResults: () => health.counts(),
    stop: () => {
      isStopped = true;
      pending?.cancel();
      growing?.cancel();
      drains.stop();
      passive.stop();
      floods.stop();
      health.stop();
    },
  };
}
