// What control knows at a moment, for whoever shows it: admin reads this and the plane, and decides nothing.

import type { Config, ServiceConfig } from '../config/config.ts';
import { halfOpenMost } from '../config/half-open.ts';
import type { HostView } from '../config/host-view.ts';
import {
  type FlowCounts,
  type HalfOpen,
  type Handshakes,
  readFlowCounts,
  readHalfOpen,
  readHandshakes,
  readOpenFlows,
  readTraffic,
  type Traffic,
} from '../plane/counters.ts';
import { currentTick } from '../plane/flow-reader.ts';
import { serverId, serviceId } from '../plane/identity.ts';
import type { Placement } from '../plane/placement.ts';
import type { Plane } from '../plane/plane.ts';
import { slotsOf } from '../plane/slots.ts';
import { readStickyCount } from '../plane/sticky-reader.ts';
import type { Target } from '../plane/target.ts';
import type { Health, ServerReport } from './health.ts';
import type { Passive, PassiveState } from './passive.ts';
import { type Override, overrideOf, type Overrides, serverKeys } from './overrides.ts';
import type { DecidedService } from './weigh.ts';

/** What the last commit was made of. */
export interface Applied {
  readonly config: Config;
  readonly overrides: Overrides;
  readonly host: HostView;
  readonly placement: Placement;
  /** Null before the first commit. */
  readonly target: Target | null;
  /** Parallel to the target's services. */
  readonly decisions: readonly DecidedService[];
}

export interface ControlState {
  readonly config: Config;
  readonly host: HostView;
  /** On the controller's clock. */
  readonly nowMs: number;
  /** When this process began, milliseconds since 1970. */
  readonly startedMs: number;
  readonly generation: number;
  readonly services: readonly ServiceState[];
}

export interface ServiceState {
  readonly config: Config['services'][number];
  /** Parallel to config.servers. */
  readonly servers: readonly ServerState[];
  readonly areBackupsUsed: boolean;
  readonly isPanic: boolean;
  /** Whom it remembers, as counted within the last seconds; null: it remembers nobody. */
  readonly stickyClients: number | null;
  /** Null where each SYN has its flow, whatever comes. */
  readonly halfOpen: (HalfOpen & { readonly most: number }) | null;
}

export interface ServerState {
  readonly config: ServiceState['config']['servers'][number];
  readonly slot: number;
  /** What the data plane goes by, in configured weights: 0.3 while three tenths of a slow start are over. */
  readonly weight: number;
  readonly override: Override;
  readonly health: ServerReport;
  /** Null without passive checks. */
  readonly passive: PassiveState | null;
  readonly flows: FlowCounts;
  readonly openFlows: number;
  readonly handshakes: Handshakes;
  readonly traffic: Traffic;
}

/** Its counters are read when they are asked for: who wants to know one of each of many servers reads no other. */
class CountedServer implements ServerState {
  readonly config: ServerState['config'];
  readonly slot: number;
  readonly weight: number;
  readonly override: Override;
  readonly health: ServerReport;
  readonly passive: PassiveState | null;
  readonly #plane: Plane;

  constructor(plane: Plane, known: Omit<ServerState, 'flows' | 'openFlows' | 'handshakes' | 'traffic'>) {
    this.config = known.config;
    this.slot = known.slot;
    this.weight = known.weight;
    this.override = known.override;
    this.health = known.health;
    this.passive = known.passive;
    this.#plane = plane;
  }

  get flows(): FlowCounts {
    return readFlowCounts(this.#plane, this.slot);
  }

  get openFlows(): number {
    return readOpenFlows(this.#plane, this.slot);
  }

  get handshakes(): Handshakes {
    return readHandshakes(this.#plane, this.slot);
  }

  get traffic(): Traffic {
    return readTraffic(this.#plane, this.slot);
  }
}

/** Servers are looked at when they are asked for: most questions are about one service, or about none. */
export function describeServices(
  applied: Applied,
  health: Health,
  passive: Pick<Passive, 'stateOf'>,
  plane: Plane,
): ServiceState[] {
  const { config, overrides, placement, decisions } = applied;
  const tick = currentTick();
  const describeHalfOpen = (service: ServiceConfig, slot: number | undefined): ServiceState['halfOpen'] => {
    const most = halfOpenMost(service, config.flows);
    return most === null || slot === undefined ? null : { most, ...readHalfOpen(plane, slot, tick) };
  };
  const describeServers = (service: ServiceConfig, decided: DecidedService | undefined): ServerState[] => {
    const slots = slotsOf(placement.servers);
    const keys = serverKeys(service);
    const reports = health.reportsOf(service);
    return service.servers.map((server, index) => {
      const key = keys[index]!;
      return new CountedServer(plane, {
        config: server,
        slot: slots.get(serverId(service, server)) ?? 0,
        weight: (decided?.weights[index] ?? 0) / (decided?.scale ?? 1),
        override: overrideOf(overrides, key),
        health: reports[index]!,
        passive: passive.stateOf(key),
      });
    });
  };
  return config.services.map((service, index) => {
    const slot = slotsOf(placement.services).get(serviceId(service));
    const decided = decisions[index];
    let servers: readonly ServerState[] | null = null;
    return {
      config: service,
      halfOpen: describeHalfOpen(service, slot),
      areBackupsUsed: decided?.areBackupsUsed ?? false,
      isPanic: decided?.isPanic ?? false,
      stickyClients: service.sticky === null ? null : readStickyCount(plane, slot ?? 0),
      get servers() {
        return (servers ??= describeServers(service, decided));
      },
    };
  });
}
