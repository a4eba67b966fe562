// The life of the daemon, from a configuration file to an orderly end.
//
//   check file and host ─▶ region (made or adopted) ─▶ engine ─▶ first checks ─▶ commit ─▶ next hops ─▶ socket ─▶ ready
//
// Whatever fails on the way is undone in the opposite order, and the region is left only to whom it was left before. An
// end by signal keeps region and guard for a successor; an end by `fairlead down` removes both. To a successor that takes
// over (`up --takeover`) it hands over as to any other, but waits until that one is ready: if it fails, whoever started
// this daemon starts it again, with the configuration that it had.

import { reachSuccessor, ringsPath, type Successor } from '../admin/handover.ts';
import type { Gauges } from '../admin/metrics.ts';
import { openAdmin } from '../admin/server.ts';
import { makeRateMeter } from '../admin/rate-meter.ts';
import type { Clock } from '../base/clock.ts';
import { FairleadError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Config } from '../config/config.ts';
import { checkOnHost, type LoadReplacement } from '../control/configuration.ts';
import { type Controller, makeController } from '../control/controller.ts';
import { deliverEvent } from '../control/deliver.ts';
import { interfaceNames } from '../control/desired.ts';
import { type Engine, openEngine } from '../control/engine.ts';
import { formatAttachments } from '../control/engine-choice.ts';
import { watchEngine } from '../control/engine-watch.ts';
import { makeEvents } from '../control/events.ts';
import { asksThroughPath } from '../control/health.ts';
import { makeKeeper } from '../control/keeper.ts';
import { makeNotifier } from '../control/notify.ts';
import { watchReturnPath } from '../control/return-path.ts';
import { makeStateFile } from '../control/state-file.ts';
import type { TryPath } from '../health/path-trial.ts';
import type { Probe } from '../health/probe.ts';
import { describeMemory } from '../plane/capacity.ts';
import { countFlows, readHop } from '../plane/counters.ts';
import type { Plane } from '../plane/plane.ts';
import type { Platform } from '../plane/platform.ts';
import type { PlaneProbePath } from '../plane/probe-path.ts';
import { type RegionPlace, setAsidePath } from '../plane/region-place.ts';
import { counted } from './output.ts';
import type { TakenOver } from './takeover.ts';
import { waitUntil } from './wait-until.ts';
import { workersOf } from './workers.ts';

export interface DaemonOptions {
  /** To start with. */
  readonly loadConfig: () => Config;
  /** To go on with, at a reload. */
  readonly loadReplacement: LoadReplacement;
  readonly platform: Platform;
  readonly clock: Clock;
  readonly probe: Probe;
  /** Where its probes of VIPs go; the daemon says by whose region, and ends it. */
  readonly path: PlaneProbePath;
  readonly tryPath: TryPath;
  /** What the checks use at the moment, and how late their timers ran. */
  readonly checkLoad: () => Pick<Gauges, 'load' | 'lateTimers' | 'lostMs'>;
  readonly makeLog: (config: Config) => Logger;
  /** Has the daemon that runs hand over, the last moment before the region is opened. */
  readonly takeOver?: ((config: Config, log: Logger, platform: Platform) => Promise<TakenOver | null>) | undefined;
}

export interface Daemon {
  /** Applies the changed file; failures are in the log. */
  reload(): Promise<void>;
  /** Ends it. With `keep`, region and guard stay for a successor. Harmless the second time. */
  end(keep: boolean): Promise<void>;
  /** Resolves when it has ended, however that came: with its configuration when a successor failed, and it is to go on. */
  readonly ended: Promise<Config | null>;
}

/** Next hops are resolved in milliseconds; who takes longer than this does not hold up the others. */
const NEXT_HOP_WAIT_MS = 1000;

export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { platform, clock, probe } = options;
  const config = options.loadConfig();
  const warnings = checkOnHost(config, platform.inspect());
  const log = options.makeLog(config);
  for (const warning of warnings) log.warn(warning);
  const predecessor = (await options.takeOver?.(config, log, platform)) ?? null;
  // The last step of all: whose channel closes takes its region back.
  const undo: (() => unknown)[] = [() => predecessor?.close()];
  try {
    return await start();
  } catch (error) {
    for (const step of undo.toReversed()) await step();
    throw error;
  }

  function openTheEngine(): Engine {
    try {
      return openEngine(config, { platform, log, workersOf, inherit: predecessor?.rings });
    } finally {
      predecessor?.closeRings();
    }
  }

  async function start(): Promise<Daemon> {
    const engine = openTheEngine();
    const { plane } = engine;
    // A predecessor's clients were cut off a moment ago already; region and interfaces stay as they are for who tries next.
    undo.push(() => engine.end(engine.state().isInherited));
    sayRegion(log, engine, config);
    options.path.use(plane);
    const trouble = asksThroughPath(config) ? platform.probePathTrouble() : null;
    if (trouble !== null) log.warn(`${trouble}; "modprobe tun" brings it, or "target: server" does without`);
    undo.push(() => options.path.close());
    const events = makeEvents();
    const keeper = makeKeeper(makeStateFile(config.control.state), clock, log);
    undo.push(() => keeper.stop());
    const controller = makeController({
      plane,
      config,
      clock,
      probe,
      log,
      inspect: () => platform.inspect(),
      prepare: (next) => engine.follow(next),
      placed: (servers) => options.path.place(servers),
      events,
      keeper,
    });
    undo.push(() => controller.stop());
    const notifier = makeNotifier({ clock, log, deliver: deliverEvent, onQueue: () => keeper.saveSoon() });
    undo.push(() => notifier.stop());
    notifier.setHooks(config.notify, keeper.left.undelivered);
    events.follow((event) => notifier.tell(event));
    await controller.start();
    predecessor?.requireWaiting();
    keeper.from(() => ({ version: 1, ...controller.memory(), undelivered: notifier.undelivered() }));
    keeper.saveNow();
    const watch = watchEngine({ engine, controller, clock, log });
    undo.push(() => watch.stop());
    const returnPath = watchReturnPath({ plane, state: () => controller.state(), clock, log });
    undo.push(() => returnPath.stop());
    await waitUntil(() => hopsAreKnown(plane, controller), NEXT_HOP_WAIT_MS);

    const meter = makeRateMeter(plane, clock);
    undo.push(() => meter.stop());
    const { promise: ended, resolve: sayEnded } = Promise.withResolvers<Config | null>();
    let ending: Promise<void> | null = null;
    let isToEnd = false;
    const reload = async () => {
      try {
        const answer = await announceReload(platform, () => controller.reload(options.loadReplacement));
        notifier.setHooks(controller.state().config.notify);
        return answer;
      } catch (error) {
        log.error(`reload failed, nothing was applied: ${(error as Error).message}`);
        throw error;
      }
    };
    const admin = await openAdmin(config.control, {
      engine,
      controller,
      meter,
      events,
      gauges: () => ({ ...options.checkLoad(), results: controller.checkResults(), hooks: notifier.states() }),
      clock,
      tryPath: options.tryPath,
      reload,
      down: () => void end(false),
      handOver: async (path) => {
        const successor = await reachSuccessor(path);
        if (ending === null) return () => handOver(successor, ringsPath(path));
        successor.close();
        throw new FairleadError('refused', 'the daemon that runs is ending already');
      },
    });

    const end = (keep: boolean): Promise<void> => {
      isToEnd = true;
      ending ??= close(keep).finally(() => sayEnded(null));
      return ending;
    };

    /** Between two daemons nobody is told that the service stops. */
    const handOver = (successor: Successor, heir: string): void => {
      if (ending !== null) {
        successor.close();
        return;
      }
      const last = controller.state().config;
      const leaving = leaveTo(successor, heir).catch((error: unknown) => {
        log.error({ err: error }, `handing over failed: ${(error as Error).message}`);
        return false;
      });
      ending = leaving.then((isTaken) => sayEnded(isTaken || isToEnd ? null : last));
    };

    async function leaveTo(successor: Successor, heir: string): Promise<boolean> {
      log.info('a successor takes over');
      let trouble: string | null;
      try {
        await release(true, heir);
        successor.letGo();
        trouble = await successor.outcome;
      } finally {
        successor.close();
      }
      if (trouble === null) log.info('the successor is ready: ended');
      else log.error(`the successor has failed: ${trouble}; this process takes the region up again`);
      return trouble === null;
    }

    async function close(keep: boolean): Promise<void> {
      platform.notify('STOPPING=1');
      const flows = countFlows(plane);
      const { place } = engine.state();
      await release(keep);
      log.info(
        keep ? endWords(flows, place) : `ended; ${place.path}, what was on the interfaces and socket are removed`,
      );
    }

    /** The engine last: what can be ended before it must not lengthen the time in which nobody forwards. */
    async function release(keep: boolean, heir?: string): Promise<void> {
      meter.stop();
      watch.stop();
      returnPath.stop();
      // What it writes comes from the controller and the notifier: it ends first.
      keeper.stop();
      notifier.stop();
      controller.stop();
      options.path.close();
      await admin.close();
      engine.end(keep, heir);
    }

    const { services } = controller.state();
    const servers = services.flatMap((service) => service.servers);
    const usable = servers.filter(({ weight }) => weight > 0).length;
    const words = `${counted(services.length, 'service')}, ${usable} of ${counted(servers.length, 'server')} usable`;
    const { attached, why } = engine.state();
    log.info(
      { socket: config.control.socket },
      `ready: ${words}, by ${formatAttachments(attached, interfaceNames(config))} (${why})`,
    );
    platform.notify(`${predecessor === null ? '' : `MAINPID=${process.pid}\n`}READY=1\nSTATUS=${words}`);
    // The service manager knows the new one by now, and takes the end of the old one for what it is.
    await predecessor?.ready();
    return {
      reload: async () => {
        // Said in the log already.
        await reload().catch(() => undefined);
      },
      end,
      ended,
    };
  }
}

function sayRegion(log: Logger, engine: Engine, config: Config): void {
  const { plane } = engine;
  const { place } = engine.state();
  const file = place.path;
  const memory = describeMemory(config.flows, plane.counts, place.backing);
  switch (plane.outcome) {
    case 'adopted':
      log.info(
        { region: file },
        `adopted the region ${file}: ${counted(countFlows(plane), 'flow')} live on; ${memory}`,
      );
      return;
    case 'set-aside':
      if (engine.state().isInherited) {
        log.info({ region: file }, `made the region ${file} anew, with what was in it: ${memory}`);
        return;
      }
      log.warn(
        { region: file },
        `${file} is of another layout, or could not be carried over: set aside as ${setAsidePath(place)}, all ` +
          `connections in it are lost; made a new one: ${memory}`,
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

function endWords(flows: number, { backing, path }: RegionPlace): string {
  const held = `ended; ${path} with ${counted(flows, 'flow')}`;
  return backing === 'file'
    ? `${held} and the guard on the interfaces stay for a successor, so until then nobody answers for the VIPs; "fairlead down" removes both`
    : `${held} and the kernel's programs stay for a successor, and forward on, but nobody checks the servers; "fairlead down" removes both`;
}
