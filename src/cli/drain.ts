// fairlead drain SERVICE SERVER: nobody new goes to a server; with --wait it ends when the server's flows have.

import { setTimeout } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import type { FlowView } from '../admin/flow-stream.ts';
import type { ServerView } from '../admin/views.ts';
import { FairleadError } from '../base/errors.ts';
import { formatDuration, parseDuration } from '../config/duration.ts';
import { LIMITS } from '../config/limits.ts';
import type { Client } from './client.ts';
import { type CommonOptions, contextOf, print, withCommon } from './common.ts';
import { formatAge, formatCount } from './output.ts';

interface DrainOptions extends CommonOptions {
  readonly deadline?: number;
  readonly wait?: true;
  readonly timeout?: number;
}

const LOOK_EVERY_MS = 1000;

export function drainCommand(): Command {
  const command = new Command('drain')
    .description('send no new flows to a server; its open ones go on')
    .argument('<service>')
    .argument('<server>')
    .option('--deadline <duration>', 'end the flows that are left then; 0s: now', parseTime)
    .option('--wait', 'return when no flow is open any more, and tell meanwhile')
    .option('--timeout <duration>', 'wait no longer than that', parseTime);
  return withCommon(command).action(async (service: string, server: string, options: DrainOptions) => {
    const { deadline, wait, timeout } = options;
    if (timeout !== undefined && wait === undefined) throw new FairleadError('usage', '--timeout belongs to --wait');
    const context = contextOf(options);
    const path = ['services', service, 'servers', server, 'drain'].map(encodeURIComponent).join('/');
    const body = deadline === undefined ? undefined : { deadlineMs: deadline };
    const drained = await context.client.post<ServerView>(`/v1/${path}`, body);
    const shown = wait === undefined ? drained : await waitUntilIdle(context.client, drained, timeout);
    print(context, shown, formatDrained);
  });
}

/** Looks once a second, and says on standard error what is left. */
async function waitUntilIdle(client: Client, first: ServerView, timeoutMs: number | undefined): Promise<ServerView> {
  const { service, server } = first;
  const endMs = timeoutMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
  let said = '';
  for (;;) {
    const views = await client.get<ServerView[]>('/v1/servers', { service });
    const view = views.find((one) => one.server === server);
    if (view === undefined) throw new FairleadError('not-found', `server ${service}/${server} was removed meanwhile`);
    if (view.state !== 'drained' && view.state !== 'down') {
      throw new FairleadError('refused', `server ${service}/${server} is no longer drained: it is ${view.state}`);
    }
    if (view.open === 0) return view;
    const left = `${formatDrained(view)}; the oldest is ${formatAge(await oldestOf(client, view))} old`;
    if (performance.now() >= endMs) throw new FairleadError('timeout', left);
    if (left !== said) process.stderr.write(`${left}\n`);
    said = left;
    await setTimeout(Math.max(0, Math.min(LOOK_EVERY_MS, endMs - performance.now())));
  }
}

const ENDED = new Set(['time-wait', 'closed']);

async function oldestOf(client: Client, { service, server }: ServerView): Promise<number> {
  let oldest = 0;
  for await (const line of client.lines('/v1/flows', { service })) {
    const flow = JSON.parse(line) as FlowView;
    if (flow.server === server && !ENDED.has(flow.state)) oldest = Math.max(oldest, flow.ageMs);
  }
  return oldest;
}

export function formatDrained({ service, server, state, open, drainEndsInMs }: ServerView): string {
  const flows = open === 0 ? 'no open flow' : `${formatCount(open)} open flow${open === 1 ? '' : 's'}`;
  const end = drainEndsInMs === null || open === 0 ? '' : `, for ${formatAge(drainEndsInMs)} at the most`;
  return `${service}/${server} is ${state} and has ${flows}${end}`;
}

function parseTime(text: string): number {
  const ms = parseDuration(text);
  if (ms === null) throw new InvalidArgumentError('write it like 500ms, 2s, 10m or 1h');
  if (ms > LIMITS.durationMs) throw new InvalidArgumentError(`${formatDuration(LIMITS.durationMs)} is the most`);
  return ms;
}
