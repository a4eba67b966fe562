// fairlead down: ends the daemon and removes all it made; where no daemon runs, removes what a dead one left.

import { existsSync } from 'node:fs';
import { Command } from 'commander';
import type { StatusView } from '../admin/views.ts';
import { isAnswered } from '../admin/socket.ts';
import { FairleadError } from '../base/errors.ts';
import type { Client } from './client.ts';
import { type CommonOptions, contextOf, print, withCommon } from './common.ts';
import { removeLeftovers } from './leftovers.ts';
import { regionFile } from './region-file.ts';
import { requirePrivileges } from './privileges.ts';
import { waitUntil } from './wait-until.ts';

const WITHIN_MS = 15_000;

export function downCommand(): Command {
  const command = new Command('down')
    .description('end the daemon and remove region, guard and socket; also what a killed one left')
    .option('--name <instance>', 'whose leftovers to remove when no daemon answers', 'fairlead');
  return withCommon(command).action(async ({ name, ...options }: CommonOptions & { name: string }) => {
    const context = contextOf(options);
    const isRunning = await isAnswered(options.socket);
    const done = isRunning ? await endDaemon(context.client) : await removeAfterDeath(name, options.socket);
    print(context, { removed: done }, ({ removed }) =>
      removed.length === 0 ? 'no daemon runs, and none left anything' : `removed ${removed.join(', ')}`,
    );
  });
}

async function endDaemon(client: Client): Promise<string[]> {
  const { instance } = await client.get<StatusView>('/v1/status');
  await client.post('/v1/down');
  const file = regionFile(instance);
  // The region goes last.
  const isGone = await waitUntil(async () => !existsSync(file) && !(await isAnswered(client.socket)), WITHIN_MS);
  if (!isGone) throw new FairleadError('timeout', `fairlead did not end within ${WITHIN_MS / 1000} seconds`);
  return ['the daemon', file, client.socket];
}

async function removeAfterDeath(name: string, socket: string): Promise<string[]> {
  const file = regionFile(name);
  if (!existsSync(file)) return removeLeftovers(null, file, socket);
  requirePrivileges();
  const { makePlatform } = await import('../plane/platform.ts');
  return removeLeftovers(makePlatform(), file, socket);
}
