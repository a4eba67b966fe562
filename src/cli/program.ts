// The command line: every command, and how any of them fails.

import { Command, CommanderError } from 'commander';
import { ConfigError, exitCodeOf, FairleadError } from '../base/errors.ts';
import { drainCommand } from './drain.ts';
import { enableCommand, maintenanceCommand, reloadCommand, weightCommand } from './change.ts';
import { captureCommand } from './capture.ts';
import { checkCommand } from './check.ts';
import { checksCommand } from './checks.ts';
import { doctorCommand } from './doctor.ts';
import { downCommand } from './down.ts';
import { dropsCommand } from './drops.ts';
import { eventsCommand } from './events.ts';
import { flowsCommand } from './flows.ts';
import { labCommand } from './lab.ts';
import { serverSetupCommand } from './server-setup.ts';
import { serversCommand } from './servers.ts';
import { servicesCommand } from './services.ts';
import { statusCommand } from './status.ts';
import { upCommand } from './up.ts';

const USAGE = 2;

export function makeProgram(version: string): Command {
  const program = new Command('fairlead')
    .description('a packet-level layer-4 load balancer')
    .version(version)
    .showSuggestionAfterError()
    .addHelpText('after', EXIT_CODES);
  const commands = [
    upCommand(),
    checkCommand(),
    reloadCommand(),
    statusCommand(),
    servicesCommand(),
    serversCommand(),
    checksCommand(),
    eventsCommand(),
    flowsCommand(),
    drainCommand(),
    maintenanceCommand(),
    enableCommand(),
    weightCommand(),
    dropsCommand(),
    captureCommand(),
    downCommand(),
    doctorCommand(),
    serverSetupCommand(),
    labCommand(),
  ];
  for (const command of commands) program.addCommand(command.exitOverride());
  return program.exitOverride();
}

const EXIT_CODES = `
Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration, 4 daemon unreachable, 5 not found, 6 timed out, 7 refused`;

/** Runs the command line; returns the exit code, after a message on stderr if it is not 0. */
export async function runProgram(program: Command, words: readonly string[]): Promise<number> {
  try {
    await program.parseAsync(words, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    // Commander has said it already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
    process.stderr.write(`${formatFailure(error)}\n`);
    return exitCodeOf(error);
  }
}

/** An operator reads words; a stack trace is for an error that nobody foresaw. */
export function formatFailure(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  if (!(error instanceof FairleadError)) return `fairlead: ${error instanceof Error ? error.stack : String(error)}`;
  // What comes of a configuration file names the file itself.
  if (error.code === 'config') return error.message;
  return `fairlead: ${error.message}${error.mend === undefined ? '' : `\n  ${error.mend}`}`;
}
