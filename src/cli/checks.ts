// fairlead checks [SERVICE]: what each check says, since when, and how it got there.

import { Command } from 'commander';
import type { CheckView } from '../admin/check-views.ts';
import { type CommonOptions, contextOf, print, withCommon } from './common.ts';
import { type Column, formatAge, formatMs, formatTable } from './output.ts';

export function checksCommand(): Command {
  const command = new Command('checks').description('list health checks with their state, last results and reasons');
  return withCommon(command.argument('[service]', 'only the checks of this service')).action(
    async (service: string | undefined, options: CommonOptions) => {
      const context = contextOf(options);
      print(context, await context.client.get<CheckView[]>('/v1/checks', { service }), formatChecks);
    },
  );
}

export function formatChecks(checks: readonly CheckView[], isTerminal = false): string {
  return checks.length === 0 ? 'no server is checked' : formatTable(COLUMNS, checks, isTerminal);
}

const COLUMNS: readonly Column<CheckView>[] = [
  { title: 'SERVICE', cell: ({ service }) => service },
  { title: 'SERVER', cell: ({ server }) => server },
  { title: 'CHECK', cell: ({ check }) => check },
  { title: 'ADDRESS', cell: ({ address }) => address },
  { title: 'STATE', cell: ({ state }) => state },
  { title: 'FOR', cell: ({ forMs }) => formatAge(forMs), align: 'right' },
  { title: 'LATENCY', cell: ({ latencyMs }) => formatMs(latencyMs), align: 'right' },
  { title: 'LAST TEN', cell: ({ history }) => history },
  { title: 'LAST RESULT', cell: resultOf },
];

function resultOf({ lastResult, warning }: CheckView): string {
  return `${lastResult ?? 'not checked yet'}${warning === null ? '' : `; ${warning}`}`;
}
