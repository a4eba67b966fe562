// fairlead down: ends the daemon and removes all it made; where no daemon runs, removes what a dead one left.

import { existsSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import type { StatusView } from '../admin/views.ts';
import { isAnswered } from '../admin/socket.ts';
import { FairleadError } from '../base/errors.ts';
import { INSTANCE_PATTERN, INSTANCE_WORDS, instanceOf, usualSocket } from '../config/instance.ts';
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
    .option('--name <instance>', 'the instance meant; without -s also says which socket is asked', parseName);
  return withCommon(command).action(async ({ name, ...options }: CommonOptions & { name?: string }) => {
    const isSocketGiven = command.getOptionValueSource('socket') !== 'default';
    const socket = name === undefined || isSocketGiven ? options.socket : usualSocket(name);
    const context = contextOf({ ...options, socket });
    const done = (await isAnswered(socket))
      ? await endDaemon(context.client, name)
      : await removeAfterDeath(name ?? instanceOf(socket), socket);
    print(context, { removed: done }, ({ removed }) =>
      removed.length === 0 ? 'no daemon runs, and none left anything' : `removed ${removed.join(', ')}`,
    );
  });
}

function parseName(text: string): string {
  if (!INSTANCE_PATTERN.test(text)) throw new InvalidArgumentError(`a name is a text of ${INSTANCE_WORDS}`);
  return text;
}

async function endDaemon(client: Client, name?: string): Promise<string[]> {
  const { instance } = await client.get<StatusView>('/v1/status');
  if (name !== undefined && name !== instance) {
    throw new FairleadError('refused', `on ${client.socket} answers "${instance}", not "${name}"; nothing was ended`, {
      mend: `name the socket of "${name}" with -s PATH`,
    });
  }
  await client.post('/v1/down');
  const file = regionFile(instance);
  // The region goes last.
  const isGone = await waitUntil(async () => !existsSync(file) && !(await isAnswered(client.socket)), WITHIN_MS);
  if (!isGone) throw new FairleadError('timeout', `fairlead did not end within ${WITHIN_MS / 1000} seconds`);
  return ['the daemon', file, client.socket];
}

async function removeAfterDeath(name: string | null, socket: string): Promise<string[]> {
  if (name === null) {
    throw new FairleadError('usage', `no fairlead answers on ${socket}, and it does not tell an instance's name`, {
      mend: 'name the instance whose leftovers to remove with --name NAME',
    });
  }
  const file = regionFile(name);
  if (!existsSync(file)) return removeLeftovers(null, file, socket);
  requirePrivileges();
  const { makePlatform } = await import('../plane/platform.ts');
  return removeLeftovers(makePlatform(), file, socket);
}
