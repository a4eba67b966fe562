// The commands that change a running daemon: maintenance, enable, weight, reload. (drain.ts has drain.)

import { Command, InvalidArgumentError } from 'commander';
import type { ServerView } from '../admin/views.ts';
import { LIMITS } from '../config/limits.ts';
import { formatChange } from '../control/change.ts';
import type { ReloadAnswer } from '../control/controller.ts';
import { type CommonOptions, contextOf, print, withCommon } from './common.ts';

export function maintenanceCommand(): Command {
  const command = new Command('maintenance').description('send no new flows to a server and stop checking it');
  return onServer(command, 'maintenance');
}

export function enableCommand(): Command {
  return onServer(new Command('enable').description('end a drain or maintenance'), 'enable');
}

export function weightCommand(): Command {
  const command = new Command('weight').description(
    'set the weight of a server in place of the configured one; 0 drains it',
  );
  withCommon(command.argument('<service>').argument('<server>').argument('<weight>', '0 to 65535', parseWeight));
  return command.action(async (service: string, server: string, weight: number, options: CommonOptions) => {
    await change(options, service, server, 'weight', { weight });
  });
}

export function reloadCommand(): Command {
  const command = new Command('reload').description('apply the changed configuration file, or nothing of it');
  return withCommon(command).action(async (options: CommonOptions) => {
    const context = contextOf(options);
    print(context, await context.client.post<ReloadAnswer>('/v1/reload'), formatReload);
  });
}

export function formatReload({ changes, warnings }: ReloadAnswer): string {
  const lines = changes.length === 0 ? ['nothing changed'] : changes.map(formatChange);
  return [...warnings, ...lines].join('\n');
}

function onServer(command: Command, action: string): Command {
  return withCommon(command.argument('<service>').argument('<server>')).action(
    async (service: string, server: string, options: CommonOptions) => change(options, service, server, action),
  );
}

async function change(options: CommonOptions, service: string, server: string, action: string, body?: unknown) {
  const context = contextOf(options);
  const path = ['services', service, 'servers', server, action].map(encodeURIComponent).join('/');
  print(context, await context.client.post<ServerView>(`/v1/${path}`, body), formatChanged);
}

export function formatChanged({ service, server, state, weight, active, inactive }: ServerView): string {
  return `${service}/${server} is ${state}, weight ${weight}, with ${active} active and ${inactive} inactive flows`;
}

function parseWeight(text: string): number {
  const weight = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(weight <= LIMITS.weight)) throw new InvalidArgumentError(`a weight is a number of 0 to ${LIMITS.weight}`);
  return weight;
}
