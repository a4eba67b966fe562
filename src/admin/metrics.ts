// Metrics as Prometheus reads them (text format 0.0.4), by hand: a dozen families of numbers that are at hand anyway.

import type { HookState } from '../control/notify.ts';
import type { PassiveState } from '../control/passive.ts';
import type { ControlState, ServerState, ServiceState } from '../control/state.ts';
import { formatKind } from '../config/format-check.ts';
import type { ResultCounts } from '../health/monitor.ts';
import { countFlows, readReasons, readWorkers } from '../plane/counters.ts';
import type { Plane } from '../plane/plane.ts';

export interface Gauges {
  readonly results: ResultCounts;
  /** Sockets and programs of checks that are under way, and checks that wait for room. */
  readonly load: { readonly sockets: number; readonly programs: number; readonly waiting: number };
  readonly lateTimers: number;
  readonly lostMs: number;
  readonly hooks: readonly HookState[];
}

type Labels = Readonly<Record<string, string | number>>;
type Sample = readonly [labels: Labels, value: number];

export function formatMetrics(plane: Plane, state: ControlState, gauges: Gauges): string {
  const servers = state.services.flatMap(({ config, servers: own }) =>
    own.map((server) => ({ labels: { service: config.name, server: server.config.name }, server })),
  );
  const ofServers = (read: (server: ServerState) => number): Sample[] =>
    servers.map(({ labels, server }) => [labels, read(server)]);
  const ofHalfOpen = (read: (halfOpen: NonNullable<ServiceState['halfOpen']>) => number): Sample[] =>
    state.services.flatMap(({ config, halfOpen }) =>
      halfOpen === null ? [] : [[{ service: config.name }, read(halfOpen)]],
    );
  const ofPassive = (read: (passive: PassiveState) => number): Sample[] =>
    servers.flatMap(({ labels, server: { passive } }) => (passive === null ? [] : [[labels, read(passive)]]));
  const checks = servers.flatMap(({ labels, server }) =>
    server.health.reports.map((report, index) => ({
      labels: { ...labels, check: formatKind(report.target.kind), index },
      report,
    })),
  );
  const { results, load, lateTimers, lostMs, hooks } = gauges;
  const hookSamples = (read: (hook: HookState) => number): Sample[] =>
    hooks.map((hook, index) => [{ hook: hook.hook, index }, read(hook)]);
  return [
    gauge('flows', 'Tracked flows.', [[{}, countFlows(plane)]]),
    gauge(
      'sticky_clients',
      'Clients that a service remembers, counted every five seconds.',
      state.services.flatMap(({ config, stickyClients }) =>
        stickyClients === null ? [] : [[{ service: config.name }, stickyClients]],
      ),
    ),
    gauge(
      'service_half_open',
      'SYNs of the last ten seconds that no ACK has followed.',
      ofHalfOpen(({ unanswered }) => unanswered),
    ),
    gauge(
      'service_half_open_max',
      'With so many of them a service goes compute-only.',
      ofHalfOpen(({ most }) => most),
    ),
    gauge(
      'service_compute_only',
      '1 for a service under a flood of SYNs, which enter no flow.',
      ofHalfOpen(({ computeOnlyForMs }) => (computeOnlyForMs === null ? 0 : 1)),
    ),
    gauge('server_up', '1 for a server that its checks call up, or that has none.', ofServers(isUp)),
    gauge(
      'server_weight',
      'What new flows are shared out by.',
      ofServers(({ weight }) => weight),
    ),
    gauge(
      'server_active_flows',
      'Active flows of a server.',
      ofServers(({ flows }) => flows.active),
    ),
    gauge(
      'server_open_flows',
      'Flows that keep a server busy: what max-flows limits.',
      ofServers(({ openFlows }) => openFlows),
    ),
    gauge(
      'server_max_flows',
      'The most open flows of a server that has max-flows.',
      servers.flatMap(({ labels, server: { config } }) =>
        config.maxFlows === null ? [] : [[labels, config.maxFlows]],
      ),
    ),
    counter(
      'server_handshakes_total',
      'SYNs of flows by what became of them; those that had no answer within a second may be answered yet.',
      servers.flatMap(({ labels, server: { handshakes } }): Sample[] =>
        (['answered', 'refused', 'abandoned', 'unanswered'] as const).map((outcome) => [
          { ...labels, outcome },
          handshakes[outcome],
        ]),
      ),
    ),
    counter(
      'server_handshake_seconds_sum',
      'Time from SYN to SYN-ACK, all together.',
      ofServers(({ handshakes }) => handshakes.totalUs / 1e6),
    ),
    counter(
      'server_handshake_seconds_count',
      'Handshakes whose time that is.',
      ofServers(({ handshakes }) => handshakes.timed),
    ),
    counter(
      'server_flows_total',
      'Flows a server ever got.',
      ofServers(({ flows }) => flows.total),
    ),
    counter(
      'server_in_octets_total',
      'Octets sent to a server.',
      ofServers(({ traffic }) => traffic.inOctets),
    ),
    counter(
      'server_out_octets_total',
      'Octets that came from it.',
      ofServers(({ traffic }) => traffic.outOctets),
    ),
    gauge(
      'server_ejected',
      '1 for a server that passive checks have taken out.',
      ofPassive(({ word }) => (word === 'ejected' ? 1 : 0)),
    ),
    counter(
      'server_ejections_total',
      'How often passive checks have taken a server out.',
      ofPassive(({ ejections }) => ejections),
    ),
    gauge(
      'check_up',
      '1 for a check whose state is up.',
      checks.map(({ labels, report }) => [labels, report.state === 'up' ? 1 : 0]),
    ),
    gauge(
      'check_latency_seconds',
      'How long the last answer took.',
      checks.flatMap(({ labels, report }): Sample[] => {
        const latencyMs = report.last?.latencyMs ?? null;
        return latencyMs === null ? [] : [[labels, latencyMs / 1000]];
      }),
    ),
    counter(
      'check_results_total',
      'Results of checks, each probe once however many share it.',
      Object.entries(results).map(([outcome, count]) => [{ outcome }, count]),
    ),
    gauge('check_sockets', 'Sockets of checks that are open.', [[{}, load.sockets]]),
    gauge('check_programs', 'Programs of checks that run.', [[{}, load.programs]]),
    gauge('check_waiting', 'Checks that wait for room.', [[{}, load.waiting]]),
    counter('check_late_timers_total', 'Timers of checks that ran late.', [[{}, lateTimers]]),
    counter('check_lost_seconds_total', 'Time in which checks could not be looked at.', [[{}, lostMs / 1000]]),
    gauge(
      'hook_waiting',
      'Events that a hook was not told of yet.',
      hookSamples(({ waiting }) => waiting),
    ),
    counter(
      'hook_delivered_total',
      'Events a hook has taken.',
      hookSamples(({ delivered }) => delivered),
    ),
    counter(
      'hook_dropped_total',
      'Events dropped because a hook was too far behind.',
      hookSamples(({ dropped }) => dropped),
    ),
    counter(
      'frames_total',
      'Frames by what became of them and why.',
      readReasons(plane)
        .filter(({ reason }) => reason !== 'none')
        .map(({ reason, verdict, count }) => [{ verdict, reason }, count]),
    ),
    counter(
      'ring_drops_total',
      "Frames the kernel dropped because a worker's ring was full.",
      readWorkers(plane).map(({ ringDrops }, worker) => [{ worker }, ringDrops]),
    ),
  ].join('');
}

function isUp({ health }: ServerState): number {
  return health.state === 'up' || health.state === 'unchecked' ? 1 : 0;
}

function gauge(name: string, help: string, samples: readonly Sample[]): string {
  return family(name, 'gauge', help, samples);
}

function counter(name: string, help: string, samples: readonly Sample[]): string {
  return family(name, 'counter', help, samples);
}

function family(name: string, type: string, help: string, samples: readonly Sample[]): string {
  if (samples.length === 0) return '';
  const lines = samples.map(([labels, value]) => `fairlead_${name}${formatLabels(labels)} ${value}\n`);
  return `# HELP fairlead_${name} ${help}\n# TYPE fairlead_${name} ${type}\n${lines.join('')}`;
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(String(value))}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escapeLabel(text: string): string {
  return text.replaceAll(/[\\"]/g, String.raw`\$&`).replaceAll('\n', String.raw`\n`);
}
