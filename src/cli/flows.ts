// fairlead flows: the flow table, as it streams in. There may be millions: nothing is gathered, so the columns of the
// table have fixed widths, and whoever closes the pipe ends the listing.

import { once } from 'node:events';
import { Command, InvalidArgumentError } from 'commander';
import type { FlowView } from '../admin/flow-stream.ts';
import { type CommonOptions, contextOf, withCommon } from './common.ts';
import { formatAge } from './output.ts';

interface FlowsOptions extends CommonOptions {
  readonly client?: string;
  readonly server?: string;
  readonly service?: string;
  readonly limit?: number;
}

export function flowsCommand(): Command {
  const command = new Command('flows')
    .description('list tracked flows; as JSON one flow a line')
    .option('--client <address>', 'only of this client, with or without a port')
    .option('--server <address>', 'only of the server at this address, with or without a port')
    .option('--service <name>', 'only of this service')
    .option('--limit <n>', 'so many at most', parseLimit);
  return withCommon(command).action(async ({ client, server, service, limit, ...options }: FlowsOptions) => {
    const context = contextOf(options);
    const lines = context.client.lines('/v1/flows', { client, server, service, limit });
    if (context.format === 'table') await write(`${FLOW_TITLES}\n`);
    for await (const line of lines) {
      await write(`${context.format === 'json' ? line : formatFlow(JSON.parse(line) as FlowView)}\n`);
    }
  });
}

function parseLimit(text: string): number {
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1) throw new InvalidArgumentError('a limit is a number of 1 or more');
  return limit;
}

async function write(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}

type Cells = readonly [service: string, server: string, client: string, vip: string, local: string, state: string];

export const FLOW_TITLES = row(['SERVICE', 'SERVER', 'CLIENT', 'VIP', 'VIA', 'STATE'], 'IDLE', 'EXPIRES');

export function formatFlow(flow: FlowView): string {
  const { service, server, client, vip, local, protocol, state } = flow;
  const cells: Cells = [service, server, client, `${vip}/${protocol}`, local ?? '-', state];
  return row(cells, formatAge(flow.idleMs), formatAge(flow.expiresInMs));
}

function row(cells: Cells, idle: string, expires: string): string {
  const widths = [12, 12, 21, 21, 21, 12];
  return [...cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)), idle.padStart(7), expires.padStart(7)].join('  ');
}
