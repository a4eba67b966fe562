// Reads the file that is to replace a running configuration, and checks it. A large one takes seconds, in which no check of
// a server would be heard: so a thread does it (replacement-thread.ts), and what it found comes over in parts.

import { statSync } from 'node:fs';
import { deserialize } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { ConfigError, type ConfigProblem, type ErrorCode, FairleadError } from '../base/errors.ts';
import { mapInTurns } from '../base/turns.ts';
import type { Config, ServiceConfig } from '../config/config.ts';
import type { HostView } from '../config/host-view.ts';
import { loadConfig } from '../config/load.ts';
import { makeReplacement, type Replacement } from './configuration.ts';

/** What takes no longer to read than a thread to start: some 200 services. */
const SMALL_OCTETS = 32_768;

export interface Question {
  readonly path: string;
  /** Without its services, which nobody asks for. */
  readonly before: Config;
  readonly host: HostView;
}

export type Answer =
  | {
      /** Without its services. */
      readonly config: Config;
      /** These, some at a time, as node:v8 writes them. */
      readonly parts: readonly Uint8Array[];
      readonly warnings: readonly string[];
    }
  | { readonly problems: readonly ConfigProblem[] }
  | { readonly code: ErrorCode; readonly message: string; readonly mend?: string };

/** Throws what loadConfig and makeReplacement throw, whoever does it. */
export async function readReplacement(path: string, before: Config, host: HostView): Promise<Replacement> {
  // Of a file that cannot be had loadConfig says why.
  const { size = 0 } = statSync(path, { throwIfNoEntry: false }) ?? {};
  return size <= SMALL_OCTETS ? makeReplacement(before, loadConfig(path), host) : readInThread(path, before, host);
}

export async function readInThread(path: string, before: Config, host: HostView): Promise<Replacement> {
  const answer = await ask({ path, before: { ...before, services: [] }, host });
  if ('problems' in answer) throw new ConfigError(answer.problems);
  if ('code' in answer) throw new FairleadError(answer.code, answer.message, answer);
  const parts = await mapInTurns(answer.parts, 1, (part) => deserialize(part) as ServiceConfig[]);
  return { config: { ...answer.config, services: parts.flat() }, warnings: answer.warnings };
}

function ask(question: Question): Promise<Answer> {
  const thread = new Worker(new URL('replacement-thread.ts', import.meta.url), { workerData: question });
  return new Promise((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', reject);
    thread.once('exit', (code) => reject(new Error(`the thread that read the configuration ended with ${code}`)));
  });
}
