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

/** In their text form: `service="web",server="web-1"`. */
type Labels = string;
type Sample = readonly [labels: Labels, value: number];

/** A family at a time, so that whoever sends them has time for others in between. */
export function* formatMetrics(plane: Plane, state: ControlState, gauges: Gauges): Generator<string> {
  const servers = state.services.flatMap(({ config, servers: own }) =>
    own.map((server) => ({ labels: labelled({ service: config.name, server: server.config.name }), server })),
  );
  const ofServers = (read: (server: ServerState) => number): Sample[] =>
    servers.map(({ labels, server }) => [labels, read(server)]);
  const ofHalfOpen = (read: (halfOpen: NonNullable<ServiceState['halfOpen']>) => number): Sample[] =>
    state.services.flatMap(({ config, halfOpen }) =>
      halfOpen === null ? [] : [[labelled({ service: config.name }), read(halfOpen)]],
    );
  const ofPassive = (read: (passive: PassiveState) => number): Sample[] =>
    servers.flatMap(({ labels, server: { passive } }) => (passive === null ? [] : [[labels, read(passive)]]));
  const checks = servers.flatMap(({ labels, server }) =>
    server.health.reports.map((report, index) => ({
      labels: `${labels},${labelled({ check: formatKind(report.target.kind), index })}`,
      report,
    })),
  );
  const { results, load, lateTimers, lostMs, hooks } = gauges;
  const hookSamples = (read: (hook: HookState) => number): Sample[] =>
    hooks.map((hook, index) => [labelled({ hook: hook.hook, index }), read(hook)]);
  yield gauge('flows', 'Tracked flows.', [['', countFlows(plane)]]);
  yield gauge(
    'sticky_clients',
    'Clients that a service remembers, counted every five seconds.',
    state.services.flatMap(({ config, stickyClients }) =>
      stickyClients === null ? [] : [[labelled({ service: config.name }), stickyClients]],
    ),
  );
  yield gauge(
    'service_half_open',
    'SYNs of the last ten seconds that no ACK has followed.',
    ofHalfOpen(({ unanswered }) => unanswered),
  );
  yield gauge(
    'service_half_open_max',
    'With so many of them a service goes compute-only.',
    ofHalfOpen(({ most }) => most),
  );
  yield gauge(
    'service_compute_only',
    '1 for a service under a flood of SYNs, which enter no flow.',
    ofHalfOpen(({ computeOnlyForMs }) => (computeOnlyForMs === null ? 0 : 1)),
  );
  yield gauge('server_up', '1 for a server that its checks call up, or that has none.', ofServers(isUp));
  yield gauge(
    'server_weight',
    'What new flows are shared out by.',
    ofServers(({ weight }) => weight),
  );
  yield gauge(
    'server_active_flows',
    'Active flows of a server.',
    ofServers(({ flows }) => flows.active),
  );
  yield gauge(
    'server_open_flows',
    'Flows that keep a server busy: what max-flows limits.',
    ofServers(({ openFlows }) => openFlows),
  );
  yield gauge(
    'server_max_flows',
    'The most open flows of a server that has max-flows.',
    servers.flatMap(({ labels, server: { config } }) => (config.maxFlows === null ? [] : [[labels, config.maxFlows]])),
  );
  yield counter(
    'server_handshakes_total',
    'SYNs of flows by what became of them; those that had no answer within a second may be answered yet.',
    servers.flatMap(({ labels, server: { handshakes } }): Sample[] =>
      (['answered', 'refused', 'abandoned', 'unanswered'] as const).map((outcome) => [
        `${labels},${labelled({ outcome })}`,
        handshakes[outcome],
      ]),
    ),
  );
  yield counter(
    'server_handshake_seconds_sum',
    'Time from SYN to SYN-ACK, all together.',
    ofServers(({ handshakes }) => handshakes.totalUs / 1e6),
  );
  yield counter(
    'server_handshake_seconds_count',
    'Handshakes whose time that is.',
    ofServers(({ handshakes }) => handshakes.timed),
  );
  yield counter(
    'server_flows_total',
    'Flows a server ever got.',
    ofServers(({ flows }) => flows.total),
  );
  yield counter(
    'server_in_octets_total',
    'Octets sent to a server.',
    ofServers(({ traffic }) => traffic.inOctets),
  );
  yield counter(
    'server_out_octets_total',
    'Octets that came from it.',
    ofServers(({ traffic }) => traffic.outOctets),
  );
  yield gauge(
    'server_ejected',
    '1 for a server that passive checks have taken out.',
    ofPassive(({ word }) => (word === 'ejected' ? 1 : 0)),
  );
  yield counter(
    'server_ejections_total',
    'How often passive checks have taken a server out.',
    ofPassive(({ ejections }) => ejections),
  );
  yield gauge(
    'check_up',
    '1 for a check whose state is up.',
    checks.map(({ labels, report }) => [labels, report.state === 'up' ? 1 : 0]),
  );
  yield gauge(
    'check_latency_seconds',
    'How long the last answer took.',
    checks.flatMap(({ labels, report }): Sample[] => {
      const latencyMs = report.last?.latencyMs ?? null;
      return latencyMs === null ? [] : [[labels, latencyMs / 1000]];
    }),
  );
  yield counter(
    'check_results_total',
    'Results of checks, each probe once however many share it.',
    Object.entries(results).map(([outcome, count]) => [labelled({ outcome }), count]),
  );
  yield gauge('check_sockets', 'Sockets of checks that are open.', [['', load.sockets]]);
  yield gauge('check_programs', 'Programs of checks that run.', [['', load.programs]]);
  yield gauge('check_waiting', 'Checks that wait for room.', [['', load.waiting]]);
  yield counter('check_late_timers_total', 'Timers of checks that ran late.', [['', lateTimers]]);
  yield counter('check_lost_seconds_total', 'Time in which checks could not be looked at.', [['', lostMs / 1000]]);
  yield gauge(
    'hook_waiting',
    'Events that a hook was not told of yet.',
    hookSamples(({ waiting }) => waiting),
  );
  yield counter(
    'hook_delivered_total',
    'Events a hook has taken.',
    hookSamples(({ delivered }) => delivered),
  );
  yield counter(
    'hook_dropped_total',
    'Events dropped because a hook was too far behind.',
    hookSamples(({ dropped }) => dropped),
  );
  yield counter(
    'frames_total',
    'Frames by what became of them and why.',
    readReasons(plane)
      .filter(({ reason }) => reason !== 'none')
      .map(({ reason, verdict, count }) => [labelled({ verdict, reason }), count]),
  );
  yield counter(
    'ring_drops_total',
    "Frames the kernel dropped because a worker's ring was full.",
    readWorkers(plane).map(({ ringDrops }, worker) => [labelled({ worker }), ringDrops]),
  );
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
  const lines = samples.map(([labels, value]) => `fairlead_${name}${labels === '' ? '' : `{${labels}}`} ${value}\n`);
  return `# HELP fairlead_${name} ${help}\n# TYPE fairlead_${name} ${type}\n${lines.join('')}`;
}

/** A server's are made once, for all its families. */
function labelled(labels: Readonly<Record<string, string | number>>): Labels {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapeLabel(String(value))}"`)
    .join(',');
}

function escapeLabel(text: string): string {
  return text.replaceAll(/[\\"]/g, String.raw`\$&`).replaceAll('\n', String.raw`\n`);
}
