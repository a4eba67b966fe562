// fairlead up -c FILE: the daemon, in the foreground. What it is made of is loaded when it runs: the other commands start
// without it, and faster.

import { Command } from 'commander';
import type { Config } from '../config/config.ts';
import { DEFAULT_CONFIG } from './common.ts';
import type { RawProber } from '../net/raw-prober.ts';
import type { Daemon } from './daemon.ts';

export function upCommand(): Command {
  return new Command('up')
    .description('balance, in the foreground, until a signal or "fairlead down"')
    .option('-c, --config <file>', 'configuration file', DEFAULT_CONFIG)
    .option('--takeover', 'in place of the daemon that runs, which hands over its connections and ends')
    .action(async ({ config: file, takeover = false }: UpOptions) => run(file, takeover));
}

interface UpOptions {
  readonly config: string;
  readonly takeover?: boolean;
}

async function run(file: string, isTakeover: boolean): Promise<void> {
  const { loadConfig } = await import('../config/load.ts');
  // A file that is wrong is wrong on any machine: said first, even to who lacks privileges.
  const { name } = loadConfig(file);
  const { requirePrivileges } = await import('./privileges.ts');
  requirePrivileges();
  const { makePlatform } = await import('../plane/platform.ts');
  const { readReplacement } = await import('../control/read-replacement.ts');
  const { makeSystemClock } = await import('../base/clock.ts');
  const { makeLogger } = await import('../base/log.ts');
  const { makeProber } = await import('../health/make-probe.ts');
  const { makePathTrial } = await import('../health/path-trial.ts');
  const { makeTimers } = await import('../health/timers.ts');
  const { openRawProber } = await import('../plane/raw-prober.ts');
  const { startDaemon } = await import('./daemon.ts');
  const { takeOverFromRunning } = await import('./takeover.ts');
  const { startAgain } = await import('./start-again.ts');
  let standing = Promise.withResolvers<Daemon>();
  // Before the start, which takes a large region's memory in one go: seconds in which the default action would kill.
  obeySignals(() => standing.promise);
  const timers = makeTimers(makeSystemClock());
  let raw: RawProber | null = null;
  const platform = makePlatform();
  const path = platform.probePath(name);
  // Only who uses such checks has such sockets.
  const prober = makeProber({ timers, raw: () => (raw ??= openRawProber()), path: () => path });
  const start = (load: () => Config, takeOver?: typeof takeOverFromRunning): Promise<Daemon> =>
    startDaemon({
      loadConfig: load,
      loadReplacement: (before, host) => readReplacement(file, before, host),
      platform,
      path,
      tryPath: makePathTrial({ timers, path: () => path, probe: prober.probe }),
      clock: timers,
      probe: prober.probe,
      checkLoad: () => ({ load: prober.load(), lateTimers: timers.lateCount(), lostMs: timers.lostMs() }),
      makeLog: ({ log, name }) => makeLogger(log.level, name),
      takeOver,
    });
  let daemon = await start(() => loadConfig(file), isTakeover ? takeOverFromRunning : undefined);
  for (;;) {
    standing.resolve(daemon);
    const last = await daemon.ended;
    if (last === null) break;
    standing = Promise.withResolvers<Daemon>();
    daemon = await startAgain(() => start(() => last));
  }
  (raw as RawProber | null)?.close();
}

/** A signal that comes while the daemon still starts is obeyed once it stands. */
function obeySignals(standing: () => Promise<Daemon>): void {
  const obey = (what: (daemon: Daemon) => Promise<void>) => (): void => void standing().then(what);
  process.on(
    'SIGHUP',
    obey((daemon) => daemon.reload()),
  );
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(
      signal,
      obey((daemon) => daemon.end(true)),
    );
  }
}
