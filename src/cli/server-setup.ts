// fairlead server-setup SERVICE: what a real server of a dsr service needs, as a shell text, or done here and now.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { FairleadError } from '../base/errors.ts';
import type { Config, ServiceConfig } from '../config/config.ts';
import { isDsr } from '../config/dsr-rules.ts';
import { type Decap, makeSetupScript, makeUndoScript } from '../server/setup-script.ts';
import { DEFAULT_CONFIG } from './common.ts';

interface SetupOptions {
  readonly config: string;
  readonly decap: Decap;
  readonly apply?: true;
  readonly undo?: true;
}

/** Where `make` leaves fairlead-decap. */
export const TOOLS = join(import.meta.dirname, '..', '..', 'native', 'build');

export function serverSetupCommand(): Command {
  return new Command('server-setup')
    .description('print what a real server of a dsr service needs, as a shell text; or do it on this host')
    .argument('<service>')
    .option('-c, --config <file>', 'configuration file of the balancer', DEFAULT_CONFIG)
    .addOption(
      new Option('--decap <how>', 'what unwraps l3-dsr: the kernel’s tunnel device, or our program at tc or xdp')
        .choices(['auto', 'kernel', 'xdp', 'tc'])
        .default('auto'),
    )
    .addOption(new Option('--apply', 'set this host up as one of the servers').conflicts('undo'))
    .option('--undo', 'put this host back as it was')
    .action(async (name: string, { config: file, decap, apply, undo }: SetupOptions) => {
      if (undo === true) return run(makeUndoScript(name), 'undo');
      // Loaded when it runs, as in up.ts.
      const { loadConfig } = await import('../config/load.ts');
      const service = findDsrService(loadConfig(file), name);
      if (decap !== 'auto' && service.tunnel === null) {
        throw new FairleadError('refused', `service "${name}" has no tunnel that --decap ${decap} could unwrap`);
      }
      const script = makeSetupScript(service, decap);
      if (apply === true) return run(script, 'apply');
      process.stdout.write(script);
    });
}

/** Throws not-found for a name that is not configured. */
export function findService(config: Config, name: string): ServiceConfig {
  const service = config.services.find((candidate) => candidate.name === name);
  if (service !== undefined) return service;
  const names = config.services.map((candidate) => candidate.name).join(', ');
  throw new FairleadError('not-found', `there is no service "${name}"`, { mend: `there are: ${names || 'none'}` });
}

/** Throws also refused, for a service whose servers need nothing. */
export function findDsrService(config: Config, name: string): ServiceConfig {
  const service = findService(config, name);
  if (isDsr(service)) return service;
  throw new FairleadError('refused', `service "${name}" has method ${service.method}`, {
    mend: 'servers need setting up for l2-dsr and l3-dsr only',
  });
}

/** The text itself says what it does and what is wrong; its exit code becomes ours. */
async function run(script: string, verb: 'apply' | 'undo'): Promise<void> {
  const env = { ...process.env, PATH: `${TOOLS}:${process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin'}` };
  const shell = spawn('sh', ['-s', verb], { env, stdio: ['pipe', 'inherit', 'inherit'] });
  shell.stdin?.end(script);
  const [code] = (await once(shell, 'exit')) as [number | null];
  process.exitCode = code ?? 1;
}
