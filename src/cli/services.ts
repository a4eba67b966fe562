// fairlead services: what is balanced, and whether it can be.

import { Command } from 'commander';
import type { ServiceView } from '../admin/views.ts';
import { formatOctets } from '../plane/capacity.ts';
import { type CommonOptions, contextOf, print, withCommon } from './common.ts';
import { type Column, formatCount, formatTable } from './output.ts';

export function servicesCommand(): Command {
  return withCommon(new Command('services').description('list services with their flows and traffic')).action(
    async (options: CommonOptions) => {
      const context = contextOf(options);
      print(context, await context.client.get<ServiceView[]>('/v1/services'), formatServices);
    },
  );
}

export function formatServices(services: readonly ServiceView[], isTerminal = false): string {
  return services.length === 0 ? 'no service is configured' : formatTable(COLUMNS, services, isTerminal);
}

const COLUMNS: readonly Column<ServiceView>[] = [
  { title: 'SERVICE', cell: ({ service }) => service },
  { title: 'LISTEN', cell: ({ listen }) => listen.join(' ') },
  { title: 'METHOD', cell: ({ method }) => method },
  { title: 'SCHEDULER', cell: ({ scheduler }) => scheduler },
  { title: 'STATE', cell: stateOf },
  { title: 'SERVERS', cell: ({ usable, servers }) => `${usable}/${servers}`, align: 'right' },
  { title: 'ACTIVE', cell: ({ active }) => formatCount(active), align: 'right' },
  { title: 'INACTIVE', cell: ({ inactive }) => formatCount(inactive), align: 'right' },
  { title: 'FRAMES IN', cell: ({ inFrames }) => formatCount(inFrames), align: 'right' },
  { title: 'OUT', cell: ({ outFrames }) => formatCount(outFrames), align: 'right' },
  { title: 'IN', cell: ({ inOctets }) => formatOctets(inOctets), align: 'right' },
  { title: 'OUT', cell: ({ outOctets }) => formatOctets(outOctets), align: 'right' },
];

/** "up", and whether that takes more than its ordinary servers, or a flood of SYNs is on. */
function stateOf({ state, areBackupsUsed, isPanic, computeOnlySince }: ServiceView): string {
  const which = isPanic ? `${state}, panic` : areBackupsUsed ? `${state}, on backups` : state;
  return computeOnlySince === null ? which : `${which}, compute-only since ${computeOnlySince}`;
}
