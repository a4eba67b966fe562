// fairlead servers [SERVICE]: who serves, how much, and why somebody does not.

import { Command } from 'commander';
import type { ServerView } from '../admin/views.ts';
import { formatOctets } from '../plane/capacity.ts';
import { type CommonOptions, contextOf, print, withCommon } from './common.ts';
import { type Column, formatCount, formatMs, formatTable } from './output.ts';

export function serversCommand(): Command {
  const command = new Command('servers').description('list servers with state, weight, flows and traffic');
  return withCommon(command.argument('[service]', 'only the servers of this service')).action(
    async (service: string | undefined, options: CommonOptions) => {
      const context = contextOf(options);
      print(context, await context.client.get<ServerView[]>('/v1/servers', { service }), formatServers);
    },
  );
}

export function formatServers(servers: readonly ServerView[], isTerminal = false): string {
  return servers.length === 0 ? 'no server is configured' : formatTable(COLUMNS, servers, isTerminal);
}

const COLUMNS: readonly Column<ServerView>[] = [
  { title: 'SERVICE', cell: ({ service }) => service },
  { title: 'SERVER', cell: ({ server }) => server },
  { title: 'ADDRESS', cell: ({ address }) => address },
  { title: 'STATE', cell: ({ state }) => state },
  { title: 'WEIGHT', cell: weightOf, align: 'right' },
  { title: 'ACTIVE', cell: ({ active }) => formatCount(active), align: 'right' },
  { title: 'INACTIVE', cell: ({ inactive }) => formatCount(inactive), align: 'right' },
  { title: 'OPEN', cell: openOf, align: 'right' },
  { title: 'HANDSHAKE', cell: ({ handshakeMs }) => formatMs(handshakeMs), align: 'right' },
  { title: 'FRAMES IN', cell: ({ inFrames }) => formatCount(inFrames), align: 'right' },
  { title: 'OUT', cell: ({ outFrames }) => formatCount(outFrames), align: 'right' },
  { title: 'IN', cell: ({ inOctets }) => formatOctets(inOctets), align: 'right' },
  { title: 'OUT', cell: ({ outOctets }) => formatOctets(outOctets), align: 'right' },
  { title: 'NEXT HOP', cell: ({ nextHop }) => (nextHop === null ? 'unknown' : `${nextHop.mac} ${nextHop.interface}`) },
  { title: 'CHECK', cell: ({ reason }) => reason },
];

/** "7", or "7 of 100" of a server with max-flows. */
function openOf({ open, maxFlows }: ServerView): string {
  return maxFlows === null ? formatCount(open) : `${formatCount(open)} of ${formatCount(maxFlows)}`;
}

/** "3", or "0 of 3" while the configured weight does not count, "5 of 3" while an operator set another. */
function weightOf({ weight, configuredWeight }: ServerView): string {
  return weight === configuredWeight ? String(weight) : `${weight} of ${configuredWeight}`;
}
