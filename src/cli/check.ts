// fairlead check -c FILE: would it run, here and now? And what would it cost?

import { Command } from 'commander';
import { ConfigError, type ConfigProblem, formatConfigProblem } from '../base/errors.ts';
import type { Config } from '../config/config.ts';
import { DEFAULT_CONFIG, outputOption } from './common.ts';
import { counted, type Format } from './output.ts';

interface CheckOptions {
  readonly config: string;
  readonly host: boolean;
  readonly output: Format;
}

interface CheckView {
  readonly file: string;
  readonly isGood: boolean;
  /** Of a good file: warnings. */
  readonly problems: readonly ConfigProblem[];
  readonly services?: number;
  readonly servers?: number;
  readonly memory?: string;
}

export function checkCommand(): Command {
  return new Command('check')
    .description('check a configuration file against the rules and against this host')
    .option('-c, --config <file>', 'configuration file', DEFAULT_CONFIG)
    .option('--no-host', 'the file alone, for a configuration that will run elsewhere')
    .addOption(outputOption())
    .action(async ({ config: file, host, output }: CheckOptions) => {
      const say = (view: CheckView): void => {
        process.stdout.write(`${output === 'json' ? JSON.stringify(view, null, 2) : formatCheck(view)}\n`);
      };
      try {
        say(await check(file, host));
      } catch (error) {
        if (output === 'json' && error instanceof ConfigError) say({ file, isGood: false, problems: error.problems });
        throw error;
      }
    });
}

/** Throws ConfigError when it would not run. */
async function check(file: string, isForThisHost: boolean): Promise<CheckView> {
  // Loaded when it runs, as in up.ts.
  const { loadConfig } = await import('../config/load.ts');
  const { countsFor, describeMemory } = await import('../plane/capacity.ts');
  const { workersOf } = await import('./workers.ts');
  const config = loadConfig(file);
  const problems = isForThisHost ? await checkHere(config) : [];
  return {
    file,
    isGood: true,
    problems,
    services: config.services.length,
    servers: config.services.reduce((sum, service) => sum + service.servers.length, 0),
    memory: describeMemory(config.flows, countsFor(config, workersOf(config))),
  };
}

async function checkHere(config: Config): Promise<ConfigProblem[]> {
  const { makePlatform } = await import('../plane/platform.ts');
  const { problemsOnHost } = await import('../control/configuration.ts');
  return problemsOnHost(config, makePlatform().inspect());
}

function formatCheck({ file, problems, services = 0, servers = 0, memory = '' }: CheckView): string {
  const good = `${file}: good, ${counted(services, 'service')}, ${counted(servers, 'server')}`;
  return [...problems.map(formatConfigProblem), good, `memory: ${memory}`].join('\n');
}
