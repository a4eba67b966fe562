// The thread of read-replacement.ts: one file, one answer.

import { serialize } from 'node:v8';
import { parentPort, workerData } from 'node:worker_threads';
import { ConfigError, FairleadError } from '../base/errors.ts';
import { loadConfig } from '../config/load.ts';
import { makeReplacement } from './configuration.ts';
import type { Answer, Question } from './read-replacement.ts';

/** Servers in a part, or one service that has more: what comes of it is read in a millisecond. */
const SERVERS_OF_PART = 256;

function answer({ path, before, host }: Question): Answer {
  try {
    const { config, warnings } = makeReplacement(before, loadConfig(path), host);
    let servers = 0;
    const parts = Map.groupBy(config.services, (service) => {
      servers += service.servers.length;
      return Math.floor(servers / SERVERS_OF_PART);
    });
    return { config: { ...config, services: [] }, parts: Array.from(parts.values(), serialize), warnings };
  } catch (error) {
    if (error instanceof ConfigError) return { problems: error.problems };
    if (!(error instanceof FairleadError)) throw error;
    const { code, message, mend } = error;
    return { code, message, ...(mend === undefined ? {} : { mend }) };
  }
}

parentPort?.postMessage(answer(workerData as Question));
