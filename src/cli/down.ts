// fairlead down: ends the daemon and removes all it made; where no daemon runs, removes what a dead one left.

import { accessSync, constants, existsSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { StatusView } from '../admin/views.ts';
import { isAnswered } from '../admin/socket.ts';
import { FairleadError } from '../base/errors.ts';
import { INSTANCE_PATTERN, INSTANCE_WORDS, instanceOf, usualSocket } from '../config/instance.ts';
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
    .option('--name <instance>', 'the instance meant; without -s also says which socket is asked', parseName)
    .addOption(
      new Option('--bpffs <dir>', 'where maps are pinned, if the configuration says so').env('FAIRLEAD_BPFFS'),
    );
  return withCommon(command).action(async ({ name, bpffs, ...options }: CommonOptions & Whose) => {
    const isSocketGiven = command.getOptionValueSource('socket') !== 'default';
    const socket = name === undefined || isSocketGiven ? options.socket : usualSocket(name);
    const context = contextOf({ ...options, socket });
    const done = (await isAnswered(socket))
      ? await endDaemon(context.client, name)
      : await removeAfterDeath({ name: name ?? instanceOf(socket), bpffs }, socket);
    print(context, { removed: done }, ({ removed }) =>
      removed.length === 0 ? 'no daemon runs, and none left anything' : `removed ${removed.join(', ')}`,
    );
  });
}

interface Whose {
  readonly name?: string | undefined;
  readonly bpffs?: string | undefined;
}

function parseName(text: string): string {
  if (!INSTANCE_PATTERN.test(text)) throw new InvalidArgumentError(`a name is a text of ${INSTANCE_WORDS}`);
  return text;
}

async function endDaemon(client: Client, name?: string): Promise<string[]> {
  const { instance, engine } = await client.get<StatusView>('/v1/status');
  if (name !== undefined && name !== instance) {
    throw new FairleadError('refused', `on ${client.socket} answers "${instance}", not "${name}"; nothing was ended`, {
      mend: `name the socket of "${name}" with -s PATH`,
    });
  }
  await client.post('/v1/down');
  // The region goes last.
  const isGone = await waitUntil(async () => !existsSync(engine.path) && !(await isAnswered(client.socket)), WITHIN_MS);
  if (!isGone) throw new FairleadError('timeout', `fairlead did not end within ${WITHIN_MS / 1000} seconds`);
  return ['the daemon', engine.path, client.socket];
}

async function removeAfterDeath(
  { name, bpffs }: { name: string | null; bpffs?: string | undefined },
  socket: string,
): Promise<string[]> {
  if (name === null) {
    throw new FairleadError('usage', `no fairlead answers on ${socket}, and it does not tell an instance's name`, {
      mend: 'name the instance whose leftovers to remove with --name NAME',
    });
  }
  const { makePlatform } = await import('../plane/platform.ts');
  const platform = makePlatform();
  const pinnedIn = platform.bpffs(bpffs ?? null, false);
  const places = (['file', 'maps'] as const).map((backing) => placeOfRegion(name, backing, pinnedIn));
  if (isHidden(pinnedIn) || places.some((place) => platform.hasRegion(place))) requirePrivileges();
  const removed = removeLeftovers(platform, places, socket);
  return platform.removeProbePath(name) ? [...removed, 'routing rules'] : removed;
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
