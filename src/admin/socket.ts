// The control socket as a file: its folder made, a stale one replaced, but only when nobody answers on it, its mode and
// group set.

import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { FairleadError } from '../base/errors.ts';

const MODE = 0o660;

/** Makes way for a new socket at `path`. Throws `refused` when another process answers there. */
export async function clearSocket(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new FairleadError('refused', `${path} is there already and is no socket`, {
      mend: 'move it away, or choose another control.socket',
    });
  }
  if (await isAnswered(path)) {
    throw new FairleadError('refused', `another fairlead answers on ${path} already`, {
      mend: 'end it with "fairlead down", or give this one another name',
    });
  }
  unlinkSync(path);
}

/** Opens an existing socket to its group: by default to nobody but its owner's. */
export function permitSocket(path: string, group: string | undefined): void {
  if (group !== undefined) chownSync(path, -1, groupId(group));
  chmodSync(path, MODE);
}

export function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (isOpen: boolean): void => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });
}

function groupId(name: string): number {
  try {
    // getent also knows groups that are not in /etc/group.
    const line = execFileSync('getent', ['group', name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return Number(line.split(':')[2]);
  } catch (error) {
    throw new FairleadError('failed', `there is no group "${name}", which control.group names`, { cause: error });
  }
}
