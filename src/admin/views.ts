// What a daemon says of itself, as plain data: the answers of the control socket, which `-o json` prints as they are.

import { formatListen } from '../config/endpoint.ts';
import { interfaceNames } from '../control/desired.ts';
import { endpointOf } from '../control/plan.ts';
import type { EngineState } from '../control/engine.ts';
import type { ControlState, ServerState, ServiceState } from '../control/state.ts';
import { describeMemory, stickyClientsOf } from '../plane/capacity.ts';
import { addTraffic, countFlows, readHop, readReasons, readWorkers } from '../plane/counters.ts';
import type { Plane } from '../plane/plane.ts';

export interface StatusView {
  readonly instance: string;
  readonly pid: number;
  /** ISO 8601. */
  readonly since: string;
  readonly generation: number;
  /** `kind` is "packet", "tc", "xdp", "xdp-generic", or two of them when the interfaces differ. */
  readonly engine: { readonly kind: string; readonly why: string; readonly region: string; readonly path: string };
  readonly interfaces: readonly InterfaceView[];
  readonly workers: readonly WorkerView[];
  readonly flows: { readonly inUse: number; readonly capacity: number };
  /** Clients that services remember; null: none of them does. */
  readonly stickyClients: { readonly remembered: number; readonly capacity: number } | null;
  readonly memory: string;
  readonly services: { readonly up: number; readonly down: number };
  /** Services under a flood of SYNs, which enter no flow now; ISO 8601. */
  readonly computeOnly: readonly { readonly service: string; readonly since: string }[];
  readonly servers: { readonly up: number; readonly down: number; readonly drained: number };
}

export interface InterfaceView {
  readonly name: string;
  readonly side: 'outside' | 'inside';
  readonly state: 'up' | 'down' | 'gone';
  readonly mac: string | null;
  readonly mtu: number | null;
  /** How the engine works on it. */
  readonly by: string;
}

export interface WorkerView {
  readonly worker: number;
  readonly frames: number;
  readonly framesPerSecond: number;
  readonly ringDrops: number;
  readonly sendErrors: number;
  readonly wakeups: number;
}

export interface StatusExtras {
  readonly engine: EngineState;
  /** Frames a second, by worker. */
  readonly rates: readonly number[];
}

export function viewStatus(plane: Plane, state: ControlState, { engine, rates }: StatusExtras): StatusView {
  const { attached, why, place } = engine;
  const servers = state.services.flatMap((service) => service.servers);
  const isUp = (service: ServiceState): boolean => service.servers.some(({ weight }) => weight > 0);
  const up = state.services.filter(isUp).length;
  const words = servers.map(serverWord);
  const drained = words.filter((word) => word === 'drained' || word === 'maintenance').length;
  const down = words.filter((word) => word === 'down' || word === 'unknown' || word === 'ejected').length;
  return {
    instance: state.config.name,
    pid: process.pid,
    since: new Date(state.startedMs).toISOString(),
    generation: state.generation,
    engine: { kind: [...new Set(attached)].join('/'), why, region: plane.outcome, path: place.path },
    interfaces: interfaceNames(state.config).map((name, id) => ({
      ...viewInterface(state, name, id),
      by: attached[id] ?? '-',
    })),
    workers: readWorkers(plane).map(({ frames, ringDrops, sendErrors, wakeups }, worker) => ({
      worker,
      frames,
      framesPerSecond: Math.round(rates[worker] ?? 0),
      ringDrops,
      sendErrors,
      wakeups,
    })),
    flows: { inUse: countFlows(plane), capacity: state.config.flows },
    stickyClients: viewStickyClients(state),
    memory: describeMemory(state.config.flows, plane.counts, place.backing),
    services: { up, down: state.services.length - up },
    computeOnly: state.services.flatMap((service) => {
      const since = computeOnlySince(service);
      return since === null ? [] : [{ service: service.config.name, since }];
    }),
    servers: { up: servers.length - down - drained, down, drained },
  };
}

function viewStickyClients({ services, config }: ControlState): StatusView['stickyClients'] {
  const counts = services.flatMap(({ stickyClients }) => (stickyClients === null ? [] : [stickyClients]));
  const remembered = counts.reduce((sum, count) => sum + count, 0);
  return counts.length === 0 ? null : { remembered, capacity: stickyClientsOf(config) };
}

function computeOnlySince({ halfOpen }: ServiceState): string | null {
  const forMs = halfOpen?.computeOnlyForMs ?? null;
  return forMs === null ? null : new Date(Date.now() - forMs).toISOString();
}

function viewInterface({ host }: ControlState, name: string, id: number): Omit<InterfaceView, 'by'> {
  const link = host.links.find((candidate) => candidate.name === name);
  return {
    name,
    side: id === 0 ? 'outside' : 'inside',
    state: link === undefined ? 'gone' : link.isUp ? 'up' : 'down',
    mac: link?.mac ?? null,
    mtu: link?.mtu ?? null,
  };
}

interface Load {
  readonly active: number;
  readonly inactive: number;
  readonly inFrames: number;
  readonly inOctets: number;
  readonly outFrames: number;
  readonly outOctets: number;
}

export interface ServiceView extends Load {
  readonly service: string;
  readonly listen: readonly string[];
  readonly method: string;
  readonly scheduler: string;
  /** Clients that it remembers; null: none. */
  readonly stickyClients: number | null;
  readonly state: 'up' | 'down';
  readonly servers: number;
  /** Servers that get new flows. */
  readonly usable: number;
  /** Too few servers are up, so the backups have joined. */
  readonly areBackupsUsed: boolean;
  /** Too few are up even so, and all are used. */
  readonly isPanic: boolean;
  /** SYNs of the last ten seconds that no ACK has followed; null where each has its flow, whatever comes. */
  readonly halfOpen: number | null;
  /** With how many of them SYNs enter no flow any more; null likewise. */
  readonly halfOpenMost: number | null;
  /** Since when that is so, ISO 8601; null: it is not. */
  readonly computeOnlySince: string | null;
}

export function viewServices(state: ControlState): ServiceView[] {
  return state.services.map((service) => {
    const { config, servers, areBackupsUsed, isPanic, stickyClients, halfOpen } = service;
    const usable = servers.filter(({ weight }) => weight > 0).length;
    return {
      service: config.name,
      listen: config.listens.map(formatListen),
      method: config.method,
      scheduler: config.scheduler,
      stickyClients,
      state: usable > 0 ? 'up' : 'down',
      servers: servers.length,
      usable,
      areBackupsUsed,
      isPanic,
      halfOpen: halfOpen?.unanswered ?? null,
      halfOpenMost: halfOpen?.most ?? null,
      computeOnlySince: computeOnlySince(service),
      ...servers.map(loadOf).reduce(addLoads, NO_LOAD),
    };
  });
}

const NO_LOAD: Load = { active: 0, inactive: 0, inFrames: 0, inOctets: 0, outFrames: 0, outOctets: 0 };

function loadOf({ flows, traffic }: ServerState): Load {
  return { active: flows.active, inactive: flows.inactive, ...traffic };
}

function addLoads(a: Load, b: Load): Load {
  return {
    active: a.active + b.active,
    inactive: a.inactive + b.inactive,
    ...addTraffic(a, b),
  };
}

export interface ServerView extends Load {
  readonly service: string;
  readonly server: string;
  readonly address: string;
  /** What the data plane goes by; 0 while drained, down or not yet checked, a part while it starts slowly. */
  readonly weight: number;
  readonly configuredWeight: number;
  /** What an operator set in its place, or null. */
  readonly overriddenWeight: number | null;
  /** `backup`: up, and resting until it is needed. */
  readonly state: 'up' | 'down' | 'unknown' | 'drained' | 'maintenance' | 'backup' | 'ejected';
  readonly reason: string;
  readonly isBackup: boolean;
  /** Flows that keep it busy, and the most that it may have. */
  readonly open: number;
  readonly maxFlows: number | null;
  /** Drained: when the flows that are left end; null: when they are done. */
  readonly drainEndsInMs: number | null;
  /** Flows it ever got. */
  readonly total: number;
  /** From SYN to SYN-ACK, smoothed; null before the first. */
  readonly handshakeMs: number | null;
  readonly nextHop: { readonly mac: string; readonly interface: string } | null;
}

export function viewServers(plane: Plane, state: ControlState, service?: string): ServerView[] {
  const names = interfaceNames(state.config);
  return state.services
    .filter(({ config }) => service === undefined || config.name === service)
    .flatMap(({ config, servers }) =>
      servers.map((server): ServerView => {
        const hop = readHop(plane, server.slot);
        return {
          service: config.name,
          server: server.config.name,
          address: endpointOf(server.config),
          weight: server.weight,
          configuredWeight: server.config.weight,
          overriddenWeight: server.override.weight,
          state: serverWord(server),
          reason: reasonOf(server),
          isBackup: server.config.isBackup,
          open: server.openFlows,
          maxFlows: server.config.maxFlows,
          drainEndsInMs: endsInMs(server, state.nowMs),
          total: server.flows.total,
          handshakeMs: server.handshakes.smoothUs === null ? null : server.handshakes.smoothUs / 1000,
          ...loadOf(server),
          nextHop: hop === null ? null : { mac: hop.mac, interface: names[hop.interfaceId] ?? `#${hop.interfaceId}` },
        };
      }),
    );
}

function endsInMs({ override: { endsAtMs } }: ServerState, nowMs: number): number | null {
  return endsAtMs === undefined ? null : Math.max(0, Math.round(endsAtMs - nowMs));
}

function serverWord({ override, health, passive, config, weight }: ServerState): ServerView['state'] {
  const { admin } = override;
  if (admin !== 'enabled') return admin;
  const { state, advice } = health;
  if (state === 'down' || state === 'unknown') return state;
  if (passive?.word === 'ejected') return 'ejected';
  if (advice?.admin === 'drain') return 'drained';
  if (advice?.admin === 'maintenance') return 'maintenance';
  if (state === 'doubted' && weight === 0) return 'down';
  return config.isBackup && weight === 0 && config.weight > 0 ? 'backup' : 'up';
}

/** While nobody asks, what was heard last is no reason for anything. */
function reasonOf({ override, health, passive }: ServerState): string {
  if (override.admin === 'maintenance') return 'its checks rest';
  return health.state === 'down' ? health.reason : (passive?.reason ?? health.reason);
}

export interface DropsView {
  readonly reasons: readonly { reason: string; verdict: string; count: number; meaning: string }[];
  /** Frames the kernel dropped because a worker's ring was full. */
  readonly ringDrops: number;
  readonly sendErrors: number;
}

export function viewDrops(plane: Plane): DropsView {
  const workers = readWorkers(plane);
  return {
    reasons: readReasons(plane).filter(({ reason }) => reason !== 'none'),
    ringDrops: workers.reduce((sum, worker) => sum + worker.ringDrops, 0),
    sendErrors: workers.reduce((sum, worker) => sum + worker.sendErrors, 0),
  };
}
