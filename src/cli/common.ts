// What the commands share: the options that all of them take, and the way they print.

import { type Command, Option } from 'commander';
import { usualSocket } from '../config/instance.ts';
import { type Client, makeClient } from './client.ts';
import type { Format } from './output.ts';

export const DEFAULT_CONFIG = '/etc/fairlead/fairlead.yaml';
export const DEFAULT_SOCKET = usualSocket('fairlead');

export interface CommonOptions {
  readonly output: Format;
  readonly socket: string;
}

export interface AskContext {
  readonly client: Client;
  readonly format: Format;
  readonly isTerminal: boolean;
}

export function outputOption(): Option {
  return new Option('-o, --output <format>', 'what to print').choices(['table', 'json']).default('table');
}

/** A command that talks to the daemon. */
export function withCommon(command: Command): Command {
  return command
    .addOption(outputOption())
    .addOption(
      new Option('-s, --socket <path>', 'control socket of the daemon').env('FAIRLEAD_SOCKET').default(DEFAULT_SOCKET),
    );
}

export function contextOf(options: CommonOptions): AskContext {
  return { client: makeClient(options.socket), format: options.output, isTerminal: process.stdout.isTTY };
}

/** The view as JSON, or as the text that is made of it. */
export function print<T>(
  { format, isTerminal }: AskContext,
  view: T,
  text: (view: T, isTerminal: boolean) => string,
): void {
  process.stdout.write(`${format === 'json' ? JSON.stringify(view, null, 2) : text(view, isTerminal)}\n`);
}
