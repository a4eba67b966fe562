// fairlead flows: the flow table, as it streams in. There may be millions: only the first of them are gathered, to lay out
// the columns, and whoever closes the pipe ends the listing.

import { once } from 'node:events';
import { Command, InvalidArgumentError } from 'commander';
import type { FlowView } from '../admin/flow-stream.ts';
import type { StickyView } from '../admin/sticky-stream.ts';
import { type CommonOptions, contextOf, withCommon } from './common.ts';
import { type Column, formatAge, tableLines } from './output.ts';
import { formatStickies } from './sticky.ts';

interface FlowsOptions extends CommonOptions {
  readonly client?: string;
  readonly server?: string;
  readonly service?: string;
  readonly limit?: number;
  readonly sticky?: true;
}

export function flowsCommand(): Command {
  const command = new Command('flows')
    .description('list tracked flows; as JSON one flow a line')
    .option('--client <address>', 'only of this client, with or without a port')
    .option('--server <address>', 'only of the server at this address, with or without a port')
    .option('--service <name>', 'only of this service')
    .option('--limit <n>', 'so many at most', parseLimit)
    .option('--sticky', 'the clients that services remember, in place of flows');
  return withCommon(command).action(async ({ client, server, service, limit, sticky, ...options }: FlowsOptions) => {
    const context = contextOf(options);
    const path = sticky === true ? '/v1/stickies' : '/v1/flows';
    const lines = context.client.lines(path, { client, server, service, limit });
    const table = (): AsyncGenerator<string> =>
      sticky === true
        ? formatStickies(parsed<StickyView>(lines), context.isTerminal)
        : formatFlows(parsed<FlowView>(lines), context.isTerminal);
    const shown = context.format === 'json' ? lines : table();
    for await (const line of shown) await write(`${line}\n`);
  });
}

async function* parsed<T>(lines: AsyncIterable<string>): AsyncGenerator<T> {
  for await (const line of lines) yield JSON.parse(line) as T;
}

function parseLimit(text: string): number {
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1) throw new InvalidArgumentError('a limit is a number of 1 or more');
  return limit;
}

async function write(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}

export function formatFlows(flows: AsyncIterable<FlowView>, isTerminal = false): AsyncGenerator<string> {
  return tableLines(COLUMNS, flows, 'no flow is tracked, or none of that kind', isTerminal);
}

const COLUMNS: readonly Column<FlowView>[] = [
  { title: 'SERVICE', cell: ({ service }) => service },
  { title: 'SERVER', cell: ({ server }) => server },
  { title: 'CLIENT', cell: ({ client }) => client },
  { title: 'VIP', cell: ({ vip, protocol }) => `${vip}/${protocol}` },
  { title: 'VIA', cell: ({ local }) => local ?? '-' },
  { title: 'STATE', cell: ({ state }) => state },
  { title: 'IDLE', cell: ({ idleMs }) => formatAge(idleMs), align: 'right' },
  { title: 'EXPIRES', cell: ({ expiresInMs }) => formatAge(expiresInMs), align: 'right' },
];
