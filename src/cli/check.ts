// fairlead check -c FILE: would it run, here and now?

import { Command } from 'commander';
import type { Config } from '../config/config.ts';
import { DEFAULT_CONFIG } from './common.ts';
import { counted } from './output.ts';

interface CheckOptions {
  readonly config: string;
  readonly host: boolean;
}

export function checkCommand(): Command {
  return new Command('check')
    .description('check a configuration file against the rules and against this host')
    .option('-c, --config <file>', 'configuration file', DEFAULT_CONFIG)
    .option('--no-host', 'the file alone, for a configuration that will run elsewhere')
    .action(async ({ config: file, host }: CheckOptions) => {
      // Loaded when it runs, as in up.ts.
      const { loadConfig } = await import('../config/load.ts');
      const config = loadConfig(file);
      const warnings = host ? await checkHere(config) : [];
      for (const warning of warnings) process.stdout.write(`${warning}\n`);
      const { services } = config;
      const servers = services.reduce((sum, service) => sum + service.servers.length, 0);
      process.stdout.write(`${file}: good, ${counted(services.length, 'service')}, ${counted(servers, 'server')}\n`);
    });
}

async function checkHere(config: Config): Promise<string[]> {
  const { makePlatform } = await import('../plane/platform.ts');
  const { checkOnHost } = await import('../control/configuration.ts');
  return checkOnHost(config, makePlatform().inspect());
}
