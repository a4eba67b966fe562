// The life of the daemon, from a configuration file to an orderly end.
//
//   check file and host ─▶ region (made or adopted) ─▶ engine ─▶ first checks ─▶ commit ─▶ next hops ─▶ socket ─▶ ready
//
// Whatever fails on the way is undone in the opposite order, and the region is left only to whom it was left before. An
// end by signal keeps region and guard for a successor; an end by `fairlead down` removes both.

import { rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Gauges } from '../admin/metrics.ts';
import { openAdmin } from '../admin/server.ts';
import { makeRateMeter } from '../admin/rate-meter.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Config } from '../config/config.ts';
import { checkOnHost } from '../control/configuration.ts';
import { type Controller, makeController } from '../control/controller.ts';
import { interfaceNames } from '../control/desired.ts';
import { deliverEvent } from '../control/deliver.ts';
import { watchEngine } from '../control/engine-watch.ts';
import { makeEvents } from '../control/events.ts';
import { makeKeeper } from '../control/keeper.ts';
import { makeNotifier } from '../control/notify.ts';
import { makeStateFile } from '../control/state-file.ts';
import type { Probe } from '../health/probe.ts';
import { countsFor, describeMemory } from '../plane/capacity.ts';
import { countFlows, readHop } from '../plane/counters.ts';
import type { Plane } from '../plane/plane.ts';
import type { Platform } from '../plane/platform.ts';
import { counted } from './output.ts';
import { waitUntil } from './wait-until.ts';

export interface DaemonOptions {
  readonly loadConfig: () => Config;
  readonly platform: Platform;
  readonly clock: Clock;
  readonly probe: Probe;
  /** What the checks use at the moment, and how late their timers ran. */
  readonly checkLoad: () => Pick<Gauges, 'load' | 'lateTimers' | 'lostMs'>;
  readonly makeLog: (config: Config) => Logger;
  readonly regionFile: (name: string) => string;
}

export interface Daemon {
  /** Applies the changed file; failures are in the log. */
  reload(): Promise<void>;
  /** Ends it. With `keep`, region and guard stay for a successor. Harmless the second time. */
  end(keep: boolean): Promise<void>;
  /** Resolves when it has ended, however that came. */
  readonly ended: Promise<unknown>;
}

/** Next hops are resolved in milliseconds; who takes longer than this does not hold up the others. */
const NEXT_HOP_WAIT_MS = 1000;

export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { platform, clock, probe } = options;
  const config = options.loadConfig();
  const warnings = checkOnHost(config, platform.inspect());
  const log = options.makeLog(config);
  for (const warning of warnings) log.warn(warning);
  const undo: (() => unknown)[] = [];
  try {
    return await start();
  } catch (error) {
    for (const step of undo.toReversed()) await step();
    throw error;
  }

  async function start(): Promise<Daemon> {
    const regionFile = options.regionFile(config.name);
    const workers = config.workers === 'auto' ? usualWorkers(availableParallelism()) : config.workers;
    const plane = platform.openPlane(regionFile, countsFor(config, workers), workers);
    undo.push(() => (plane.outcome === 'adopted' ? undefined : rmSync(regionFile, { force: true })));
    undo.push(() => plane.close());
    sayRegion(log, plane, config, regionFile);

    const warning = plane.start(interfaceNames(config));
    if (warning !== '') log.warn(warning);
    // An adopted region's clients were cut off a moment ago already; the guard stays for whoever tries next.
    undo.push(() => plane.stop(plane.outcome === 'adopted'));
    const events = makeEvents();
    const keeper = makeKeeper(makeStateFile(config.control.state), clock, log);
    undo.push(() => keeper.stop());
    const inspect = () => platform.inspect();
    const controller = makeController({ plane, config, clock, probe, log, inspect, events, keeper });
    undo.push(() => controller.stop());
    const notifier = makeNotifier({ clock, log, deliver: deliverEvent, onQueue: () => keeper.saveSoon() });
    undo.push(() => notifier.stop());
    notifier.setHooks(config.notify, keeper.left.undelivered);
    events.follow((event) => notifier.tell(event));
    await controller.start();
    keeper.from(() => ({ version: 1, ...controller.memory(), undelivered: notifier.undelivered() }));
    keeper.saveNow();
    const watch = watchEngine({ plane, controller, clock, log });
    undo.push(() => watch.stop());
    await waitUntil(() => hopsAreKnown(plane, controller), NEXT_HOP_WAIT_MS);

    const meter = makeRateMeter(plane, clock);
    undo.push(() => meter.stop());
    const { promise: ended, resolve: sayEnded } = Promise.withResolvers<undefined>();
    let ending: Promise<void> | null = null;
    const reload = () =>
      announceReload(platform, async () => {
        const answer = await controller.reload(options.loadConfig);
        notifier.setHooks(controller.state().config.notify);
        return answer;
      });
    const admin = await openAdmin(config.control, {
      plane,
      controller,
      meter,
      events,
      gauges: () => ({ ...options.checkLoad(), results: controller.checkResults(), hooks: notifier.states() }),
      clock,
      engineWhy: engineWhy(config),
      reload,
      down: () => void end(false),
    });

    const end = (keep: boolean): Promise<void> => {
      ending ??= close(keep).finally(() => sayEnded(undefined));
      return ending;
    };

    async function close(keep: boolean): Promise<void> {
      platform.notify('STOPPING=1');
      meter.stop();
      watch.stop();
      // What it writes comes from the controller and the notifier: it ends first.
      keeper.stop();
      notifier.stop();
      controller.stop();
      await admin.close();
      const flows = countFlows(plane);
      plane.stop(keep);
      plane.close();
      if (!keep) rmSync(regionFile, { force: true });
      log.info(keep ? endWords(flows, regionFile) : `ended; ${regionFile}, guard and socket are removed`);
    }

    const { services } = controller.state();
    const servers = services.flatMap((service) => service.servers);
    const usable = servers.filter(({ weight }) => weight > 0).length;
    const words = `${counted(services.length, 'service')}, ${usable} of ${counted(servers.length, 'server')} usable`;
    log.info({ workers, socket: config.control.socket }, `ready: ${words}`);
    platform.notify(`READY=1\nSTATUS=${words}`);
    return {
      reload: async () => {
        try {
          await reload();
        } catch (error) {
          log.error(`reload failed, nothing was applied: ${(error as Error).message}`);
        }
      },
      end,
      ended,
    };
  }
}

/** A worker for each core but one, which the kernel and this process need; 16 are more than a card's queues. */
export function usualWorkers(cores: number): number {
  return Math.min(16, Math.max(1, cores - 1));
}

function engineWhy({ engine }: Config): string {
  return engine === 'auto' ? 'the one engine of this version' : 'configured';
}

function sayRegion(log: Logger, plane: Plane, config: Config, file: string): void {
  const memory = describeMemory(config.flows, plane.counts);
  switch (plane.outcome) {
    case 'adopted':
      log.info(
        { region: file },
        `adopted the region ${file}: ${counted(countFlows(plane), 'flow')} live on; ${memory}`,
      );
      return;
    case 'set-aside':
      log.warn(
        { region: file },
        `${file} is of another layout or size: set aside as ${file}.old, its flows are lost; made a new one: ${memory}`,
      );
      return;
    default:
      log.info({ region: file }, `made the region ${file}: ${memory}`);
  }
}

function hopsAreKnown(plane: Plane, controller: Controller): boolean {
  const servers = controller.state().services.flatMap((service) => service.servers);
  return servers.every(({ weight, slot }) => weight === 0 || readHop(plane, slot) !== null);
}

/** systemd's Type=notify-reload wants the time of day of the monotonic clock with it. */
async function announceReload<T>(platform: Platform, run: () => Promise<T>): Promise<T> {
  platform.notify(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  try {
    return await run();
  } finally {
    platform.notify('READY=1');
  }
}

function endWords(flows: number, file: string): string {
  return (
    `ended; ${file} with ${counted(flows, 'flow')} and the guard on the interfaces stay for a successor, ` +
    'so until then nobody answers for the VIPs; "fairlead down" removes both'
  );
}
