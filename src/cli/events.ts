// fairlead events [-f]: what happened, and with -f what happens, until interrupted.

import { once } from 'node:events';
import { Command, InvalidArgumentError } from 'commander';
import type { HappenedEvent } from '../control/events.ts';
import { type CommonOptions, contextOf, withCommon } from './common.ts';

interface EventsOptions extends CommonOptions {
  readonly follow?: true;
  readonly limit?: number;
}

export function eventsCommand(): Command {
  const command = new Command('events')
    .description('list what happened: state changes with reasons, what operators did; as JSON one event a line')
    .option('-f, --follow', 'go on with what happens from now on')
    .option('--limit <n>', 'so many of the past at most', parseLimit);
  return withCommon(command).action(async ({ follow, limit, ...options }: EventsOptions) => {
    const context = contextOf(options);
    const query = { follow: follow === true ? 'true' : undefined, limit };
    for await (const line of context.client.lines('/v1/events', query, follow === true)) {
      const text = context.format === 'json' ? line : formatEvent(JSON.parse(line) as HappenedEvent);
      if (!process.stdout.write(`${text}\n`)) await once(process.stdout, 'drain');
    }
  });
}

/** "2026-01-31T12:00:00.000Z  server-down  web/web-1  connection refused" */
export function formatEvent({ at, kind, service, server, reason }: HappenedEvent): string {
  const what = service === null ? '-' : server === null ? service : `${service}/${server}`;
  return `${at}  ${kind.padEnd(18)}  ${what.padEnd(20)}  ${reason}`;
}

function parseLimit(text: string): number {
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 0) throw new InvalidArgumentError('a limit is a number of 0 or more');
  return limit;
}
