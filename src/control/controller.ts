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
import type { Probe } from '../health/probe.ts';
import { readPlacement } from '../plane/adopt.ts';
import { planImage } from '../plane/image.ts';
import type { Plane } from '../plane/plane.ts';
import { readHeader } from '../plane/sections.ts';
import { checkReplacement } from './configuration.ts';
import { makeTarget, targetInterfaces } from './desired.ts';
import { makeHealth } from './health.ts';
import { findServer, keepOverrides, NO_OVERRIDES, type OverrideChange, serverKey, withOverride } from './overrides.ts';
import { type Change, formatChange, planChanges } from './plan.ts';
import { type Applied, type ControlState, describeServices } from './state.ts';

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
  reload(load: () => Config): Promise<ReloadAnswer>;
  /** Done when it returns. Throws not-found for a server that is not configured. */
  override(service: string, server: string, change: OverrideChange): void;
  /** The host has changed: looks at it and follows. */
  lookAtHost(): void;
  state(): ControlState;
  stop(): void;
}

/** Changes that come within this time of each other make one commit. */
const COALESCE_MS = 10;
const RETRY_MS = 1000;

export function makeController(options: ControllerOptions): Controller {
  const { plane, clock, log, inspect } = options;
  const startedMs = Date.now();
  let applied: Applied = {
    config: options.config,
    overrides: NO_OVERRIDES,
    host: inspect(),
    placement: readPlacement(plane),
    target: null,
  };
  let pending: Timer | null = null;
  let reloading: Promise<unknown> = Promise.resolve();
  let isStopped = false;

  const health = makeHealth({
    clock,
    probe: options.probe,
    onChange: ({ server, state, reason }) => {
      if (state === 'down') log.warn({ server }, `server ${server} is down: ${reason}`);
      else log.info({ server }, `server ${server} is ${state}: ${reason}`);
      if (applied.target !== null) applySoon(COALESCE_MS);
    },
  });

  const plan = (change: Partial<Applied>) => {
    const next = { ...applied, ...change };
    const target = makeTarget(
      next.config,
      next.overrides,
      (service, server) => health.stateOf(service, server),
      next.host,
    );
    const moment = { generation: readHeader(plane).generation, nowMs: clock.nowMs() };
    const { image, placement } = planImage(target, applied.placement, plane.counts, moment);
    return { image, next: { ...next, target, placement } };
  };

  const apply = (change: Partial<Applied>): number => {
    const { image, next } = plan(change);
    const generation = commit(image);
    applied = next;
    log.debug({ generation }, `commit ${generation}`);
    return generation;
  };

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

  const reload = async (load: () => Config): Promise<ReloadAnswer> => {
    const config = load();
    const host = inspect();
    const warnings = checkReplacement(applied.config, config, host);
    // Refuses what does not fit before anything is touched, even the checks.
    plan({ config, host });
    const changes = planChanges(applied.config, config);
    let generation: number;
    try {
      // New servers are asked before they are needed, so that a service whose servers are all new has no gap.
      await health.watch(applied.config, config);
      if (isStopped) throw new FairleadError('refused', 'fairlead is ending; nothing was applied');
      options.prepare(config);
      try {
        generation = apply({ config, host, overrides: keepOverrides(applied.overrides, config) });
      } catch (error) {
        options.prepare(applied.config);
        throw error;
      }
    } finally {
      if (!isStopped) void health.watch(applied.config);
    }
    log.level = config.log.level;
    for (const warning of warnings) log.warn(warning);
    const words = changes.length === 0 ? 'nothing changed' : changes.map(formatChange).join('; ');
    log.info({ generation }, `reloaded: ${words}`);
    return { generation, changes, warnings };
  };

  return {
    start: async () => {
      await health.watch(applied.config);
      if (!isStopped) apply({});
    },
    reload: (load) => {
      const answer = reloading.then(() => reload(load));
      reloading = answer.catch(() => undefined);
      return answer;
    },
    override: (service, server, change) => {
      const found = findServer(applied.config, service, server);
      apply({ overrides: withOverride(applied.overrides, service, found, change) });
      log.info({ server: serverKey(service, server) }, `server ${serverKey(service, server)} ${describe(change)}`);
    },
    lookAtHost: () => {
      applied = { ...applied, host: inspect() };
      const { target, config, host } = applied;
      // The kernel also tells of what is none of ours.
      if (target === null || isDeepStrictEqual(target.interfaces, targetInterfaces(config, host))) return;
      applySoon(COALESCE_MS);
    },
    state: () => ({
      config: applied.config,
      host: applied.host,
      startedMs,
      generation: readHeader(plane).generation,
      services: describeServices(applied, health, plane),
    }),
    stop: () => {
      isStopped = true;
      pending?.cancel();
      health.stop();
    },
  };
}

function describe({ isDrained, weight }: OverrideChange): string {
  if (weight !== undefined) return `was given weight ${weight} by an operator`;
  return isDrained === true ? 'was drained by an operator; its flows go on' : 'was enabled by an operator';
}
