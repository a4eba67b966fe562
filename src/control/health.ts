// Checks as control sees them: which targets a configuration needs, what they say about a server, and a wait for first
// results, so that nothing is committed blindly.

import type { Clock } from '../base/clock.ts';
import { checkPortOf } from '../config/check-port.ts';
import type { Config, ServerConfig, ServiceConfig } from '../config/config.ts';
import type { HealthState } from '../health/dampener.ts';
import { type CheckReport, type CheckTarget, makeMonitor } from '../health/monitor.ts';
import type { Probe } from '../health/probe.ts';
import { formatEndpoint } from '../net/address.ts';
import type { ServerHealth } from './desired.ts';
import { serverKey } from './overrides.ts';

/** More than this nobody waits for a first result: a server unheard of by then starts without flows. */
const LONGEST_WAIT_MS = 5000;
/** A large set of checks is started over a second. */
const START_SPREAD_MS = 1500;

export interface HealthChange {
  /** "web/web-1" */
  readonly server: string;
  readonly state: HealthState;
  readonly reason: string;
}

export interface HealthOptions {
  readonly clock: Clock;
  readonly probe: Probe;
  readonly onChange: (change: HealthChange) => void;
}

export interface Health {
  /**
   * Checks what any of these configurations needs, and resolves when each server has had its first result or time is
   * up. During a reload both the old and the new one are in use.
   */
  watch(...configs: Config[]): Promise<void>;
  stateOf(service: ServiceConfig, server: ServerConfig): ServerHealth;
  /** What its check says now; null for a server without one. */
  reportOf(service: ServiceConfig, server: ServerConfig): CheckReport | null;
  /** Also ends every wait. */
  stop(): void;
}

export function makeHealth({ clock, probe, onChange }: HealthOptions): Health {
  const waits = new Set<Wait>();
  const monitor = makeMonitor({
    clock,
    probe,
    onChange: (key, state, reason) => {
      onChange({ server: key.slice(0, key.indexOf(' ')), state, reason });
      for (const wait of waits) wait.look();
    },
  });

  const watch = (...configs: Config[]): Promise<void> => {
    const targets = new Map(configs.flatMap(checkTargets).map((target) => [target.key, target]));
    monitor.update([...targets.values()]);
    const isSettled = (): boolean => [...targets.keys()].every((key) => monitor.stateOf(key) !== 'unknown');
    const longestMs = Math.max(0, ...[...targets.values()].map(({ timeoutMs }) => timeoutMs));
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        waits.delete(wait);
        resolve();
      };
      const wait: Wait = { look: () => (isSettled() ? end() : undefined), end };
      const timer = clock.setTimer(Math.min(LONGEST_WAIT_MS, longestMs + START_SPREAD_MS), end);
      waits.add(wait);
      wait.look();
    });
  };

  return {
    watch,
    stateOf: (service, server) => {
      const key = healthKey(service, server);
      return key === null ? 'unchecked' : monitor.stateOf(key);
    },
    reportOf: (service, server) => monitor.reportOf(healthKey(service, server) ?? ''),
    stop: () => {
      monitor.stop();
      for (const wait of waits) wait.end();
    },
  };
}

interface Wait {
  look(): void;
  end(): void;
}

export function checkTargets(config: Config): CheckTarget[] {
  return config.services.flatMap((service) =>
    service.servers.flatMap((server): CheckTarget[] => {
      const { check } = service;
      const port = checkPortOf(service, server);
      const key = healthKey(service, server);
      if (check === null || port === null || key === null) return [];
      const { everyMs, timeoutMs, rise, fall } = check;
      return [{ key, address: server.address.text, port, everyMs, timeoutMs, rise, fall }];
    }),
  );
}

/** With the address in it, so that a server that moved is another target, and both can be watched during a reload. */
function healthKey(service: ServiceConfig, server: ServerConfig): string | null {
  const port = checkPortOf(service, server);
  return port === null ? null : `${serverKey(service, server)} ${formatEndpoint(server.address, port)}`;
}
