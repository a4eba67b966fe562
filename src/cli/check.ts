// fairlead check -c FILE: would it run, here and now?

import { Command } from 'commander';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { checkOnHost } from '../control/configuration.ts';
import { configShape } from '../plane/config-shape.ts';
import { makePlatform } from '../plane/platform.ts';
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
    .action(({ config: file, host }: CheckOptions) => {
      const config = loadConfig(file);
      const warnings = host ? checkOnHost(config, makePlatform().inspect()) : [];
      for (const warning of warnings) process.stdout.write(`${warning}\n`);
      process.stdout.write(`${file}: good, ${countWords(config)}\n`);
    });
}

function countWords(config: Config): string {
  const { services, servers } = configShape(config);
  return `${counted(services, 'service')}, ${counted(servers, 'server')}`;
}
