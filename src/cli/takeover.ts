// The start of a daemon that takes over from the one that runs: asks it to hand over, once all that can be done beside it
// is done.

import { closeSync, rmSync } from 'node:fs';
import { handoverPath, type Predecessor, ringsPath, takeOver } from '../admin/handover.ts';
import { isAnswered } from '../admin/socket.ts';
import type { StatusView } from '../admin/views.ts';
import { FairleadError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Config } from '../config/config.ts';
import type { Platform } from '../plane/platform.ts';
import { makeClient } from './client.ts';

export interface TakenOver extends Predecessor {
  /** Where its packet sockets are, until they are closed here; -1: nowhere. */
  readonly rings: number;
  closeRings(): void;
}

/** Null when no daemon runs, which is no failure: then this is an ordinary start. */
export async function takeOverFromRunning(
  { name, control: { socket } }: Pick<Config, 'name' | 'control'>,
  log: Logger,
  platform: Platform,
): Promise<TakenOver | null> {
  if (!(await isAnswered(socket))) {
    log.info(`no fairlead answers on ${socket}: there is nothing to take over, this is an ordinary start`);
    return null;
  }
  const client = makeClient(socket);
  const { instance, pid } = await client.get<StatusView>('/v1/status');
  if (instance !== name) {
    throw new FairleadError('refused', `on ${socket} answers "${instance}", not "${name}"; it goes on as it was`, {
      mend: `give "${name}" a control.socket of its own`,
    });
  }
  const successor = handoverPath(socket);
  const path = ringsPath(successor);
  const rings = waitForRings(platform, path, log);
  const closeRings = (): void => {
    if (rings < 0) return;
    closeSync(rings);
    rmSync(path, { force: true });
  };
  try {
    const predecessor = await takeOver(successor, () => client.post('/v1/handover', { successor }).catch(explain));
    log.info({ predecessor: pid }, `process ${pid} has let go of the region`);
    return { ...predecessor, rings, closeRings };
  } catch (error) {
    closeRings();
    throw error;
  }
}

/** Without them some frames are lost, no more. */
function waitForRings(platform: Platform, path: string, log: Logger): number {
  try {
    return platform.inherit(path);
  } catch (error) {
    log.warn(
      `packet sockets will be made anew, and frames that come in meanwhile are lost: ${(error as Error).message}`,
    );
    return -1;
  }
}

function explain(error: unknown): never {
  if (!(error instanceof FairleadError) || error.code !== 'usage') throw error;
  throw new FairleadError('refused', `the daemon that runs does not know how to hand over (${error.message})`, {
    mend: 'end it with SIGTERM ("systemctl restart"): the next one adopts its connections all the same',
    cause: error,
  });
}
