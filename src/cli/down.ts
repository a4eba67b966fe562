// fairlead down: ends the daemon and removes all it made; where no daemon runs, removes what a dead one left.

import { accessSync, constants, existsSync } from 'node:fs';
import { Command, Option } from 'commander';
import type { StatusView } from '../admin/views.ts';
import { isAnswered } from '../admin/socket.ts';
import { FairleadError } from '../base/errors.ts';
import { placeOfRegion } from '../plane/region-place.ts';
import type { Client } from './client.ts';
import { type CommonOptions, contextOf, print, withCommon } from './common.ts';
import { removeLeftovers } from './leftovers.ts';
import { requirePrivileges } from './privileges.ts';
import { waitUntil } from './wait-until.ts';

const WITHIN_MS = 15_000;

export function downCommand(): Command {
  const command = new Command('down')
    .description('end the daemon and remove region, guard and socket; also what a killed one left')
    .option('--name <instance>', 'whose leftovers to remove when no daemon answers', 'fairlead')
    .addOption(
      new Option('--bpffs <dir>', 'where they are pinned, if the configuration says so').env('FAIRLEAD_BPFFS'),
    );
  return withCommon(command).action(async ({ name, bpffs, ...options }: CommonOptions & Whose) => {
    const context = contextOf(options);
    const isRunning = await isAnswered(options.socket);
    const done = isRunning ? await endDaemon(context.client) : await removeAfterDeath({ name, bpffs }, options.socket);
    print(context, { removed: done }, ({ removed }) =>
      removed.length === 0 ? 'no daemon runs, and none left anything' : `removed ${removed.join(', ')}`,
    );
  });
}

interface Whose {
  readonly name: string;
  readonly bpffs?: string | undefined;
}

async function endDaemon(client: Client): Promise<string[]> {
  const { engine } = await client.get<StatusView>('/v1/status');
  await client.post('/v1/down');
  // The region goes last.
  const isGone = await waitUntil(async () => !existsSync(engine.path) && !(await isAnswered(client.socket)), WITHIN_MS);
  if (!isGone) throw new FairleadError('timeout', `fairlead did not end within ${WITHIN_MS / 1000} seconds`);
  return ['the daemon', engine.path, client.socket];
}

async function removeAfterDeath({ name, bpffs }: Whose, socket: string): Promise<string[]> {
  const { makePlatform } = await import('../plane/platform.ts');
  const platform = makePlatform();
  const pinnedIn = platform.bpffs(bpffs ?? null, false);
  const places = (['file', 'maps'] as const).map((backing) => placeOfRegion(name, backing, pinnedIn));
  if (isHidden(pinnedIn) || places.some((place) => platform.hasRegion(place))) requirePrivileges();
  return removeLeftovers(platform, places, socket);
}

/** Who may not look into a directory would see no region in it either. A bpffs is root's alone as systemd mounts it. */
function isHidden(directory: string): boolean {
  try {
    accessSync(directory, constants.X_OK);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES';
  }
}
