// fairlead up -c FILE: the daemon, in the foreground.

import { Command } from 'commander';
import { makeSystemClock } from '../base/clock.ts';
import { makeLogger } from '../base/log.ts';
import { loadConfig } from '../config/load.ts';
import { probeTcp } from '../health/tcp-probe.ts';
import { makePlatform } from '../plane/platform.ts';
import { DEFAULT_CONFIG } from './common.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { requirePrivileges } from './privileges.ts';
import { regionFile } from './region-file.ts';

export function upCommand(): Command {
  return new Command('up')
    .description('balance, in the foreground, until a signal or "fairlead down"')
    .option('-c, --config <file>', 'configuration file', DEFAULT_CONFIG)
    .action(async ({ config: file }: { config: string }) => {
      // A file that is wrong is wrong on any machine: said first, even to who lacks privileges.
      loadConfig(file);
      requirePrivileges();
      const daemon = await startDaemon({
        loadConfig: () => loadConfig(file),
        platform: makePlatform(),
        clock: makeSystemClock(),
        probe: probeTcp,
        makeLog: ({ log, name }) => makeLogger(log.level, name),
        regionFile,
      });
      obeySignals(daemon);
      await daemon.ended;
    });
}

function obeySignals(daemon: Daemon): void {
  process.on('SIGHUP', () => void daemon.reload());
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void daemon.end(true));
}
