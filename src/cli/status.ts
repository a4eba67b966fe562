// fairlead status: is it well, and how busy?

import { Command } from 'commander';
import type { StatusView } from '../admin/views.ts';
import { type CommonOptions, contextOf, print, withCommon } from './common.ts';
import { type Column, counted, formatAge, formatCount, formatFacts, formatTable } from './output.ts';

export function statusCommand(): Command {
  return withCommon(new Command('status').description('show the daemon: engine, interfaces, workers, flows')).action(
    async (options: CommonOptions) => {
      const context = contextOf(options);
      const status = await context.client.get<StatusView>('/v1/status');
      print(context, status, (view, isTerminal) => formatStatus(view, Date.now(), isTerminal));
    },
  );
}

export function formatStatus(status: StatusView, nowMs: number, isTerminal = false): string {
  const { engine, flows, stickyClients, services, servers } = status;
  const facts = formatFacts([
    ['instance', `${status.instance}, pid ${status.pid}`],
    ['since', `${status.since} (${formatAge(nowMs - Date.parse(status.since))})`],
    ['engine', `${engine.kind}: ${engine.why}`],
    ['region', `${engine.path}, ${engine.region}, ${counted(status.generation, 'commit')}`],
    ['flows', `${formatCount(flows.inUse)} of ${formatCount(flows.capacity)}`],
    ...stickyFact(stickyClients),
    ['memory', status.memory],
    ['services', `${services.up} up, ${services.down} down`],
    ...status.computeOnly.map(({ service, since }): [string, string] => [
      'compute-only',
      `${service} since ${since} (${formatAge(nowMs - Date.parse(since))}): a flood of SYNs, which enter no flow`,
    ]),
    ['servers', `${servers.up} up, ${servers.down} down, ${servers.drained} drained`],
  ]);
  const tables = [
    formatTable(INTERFACES, status.interfaces, isTerminal),
    formatTable(WORKERS, status.workers, isTerminal),
  ];
  return [facts, ...tables].join('\n\n');
}

function stickyFact(clients: StatusView['stickyClients']): [string, string][] {
  if (clients === null) return [];
  return [['sticky', `${formatCount(clients.remembered)} of ${formatCount(clients.capacity)} clients`]];
}

const INTERFACES: readonly Column<StatusView['interfaces'][number]>[] = [
  { title: 'INTERFACE', cell: ({ name }) => name },
  { title: 'SIDE', cell: ({ side }) => side },
  { title: 'STATE', cell: ({ state }) => state },
  { title: 'BY', cell: ({ by }) => by },
  { title: 'MAC', cell: ({ mac }) => mac ?? '-' },
  { title: 'MTU', cell: ({ mtu }) => (mtu === null ? '-' : String(mtu)), align: 'right' },
];

const WORKERS: readonly Column<StatusView['workers'][number]>[] = [
  { title: 'WORKER', cell: ({ worker }) => String(worker), align: 'right' },
  { title: 'FRAMES', cell: ({ frames }) => formatCount(frames), align: 'right' },
  { title: 'FRAMES/S', cell: ({ framesPerSecond }) => formatCount(framesPerSecond), align: 'right' },
  { title: 'RING DROPS', cell: ({ ringDrops }) => formatCount(ringDrops), align: 'right' },
  { title: 'SEND ERRORS', cell: ({ sendErrors }) => formatCount(sendErrors), align: 'right' },
];
