// The engine at work: opened for a configuration, switched to another one while it runs, ended.
//
// Regions of the packet engine are files, those of tc and xdp are BPF maps. Whoever opens a region where the other kind
// was left takes over what is in it, and a switch does the same with the one in use:
//
//   new region ◀─ configuration, flows, counts ─ old region, frozen: its engine drops what is ours, so that the host
//       │                                              does not see it, and changes nothing
//       └─▶ new engine starts ─▶ old engine ends, its region is removed
//
// Between tc and xdp the region stays, and the programs on the interfaces change places.

import { FairleadError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Config, EngineName } from '../config/config.ts';
import { countsFor } from '../plane/capacity.ts';
import { countFlows } from '../plane/counters.ts';
import { type LeftRegion, openLeft } from '../plane/left-region.ts';
import type { Attachment, Plane, Started } from '../plane/plane.ts';
import type { Platform } from '../plane/platform.ts';
import { backingFor, placeOfRegion, type RegionPlace, setAsidePath } from '../plane/region-place.ts';
import { readHeader } from '../plane/sections.ts';
import { makeSwitchPlane } from '../plane/switch-plane.ts';
import { type Candidate, chooseEngine, formatAttachments } from './engine-choice.ts';
import { interfaceNames } from './desired.ts';

export interface EngineState {
  readonly attached: readonly Attachment[];
  readonly why: string;
  readonly place: RegionPlace;
  /** What a predecessor left is in the region: adopted, or taken over from another kind of engine. */
  readonly isInherited: boolean;
}

export interface Engine {
  /** Whatever is at work now; holds for the engine's life. */
  readonly plane: Plane;
  state(): EngineState;
  /** Follows a configuration whose engine is another one; throws in words, and then the one before goes on. */
  follow(config: Config): void;
  /** Starts again after a failure. */
  restart(): void;
  /** Ends forwarding by this process; with `keep` region and interfaces stay as they are for a successor: see Plane.stop. */
  end(keep: boolean, heir?: string): void;
}

export interface EngineOptions {
  readonly platform: Platform;
  readonly log: Logger;
  /** Counted workers of the packet engine. */
  readonly workersOf: (config: Config) => number;
  /** Where a predecessor has left its packet sockets. */
  readonly inherit?: number | undefined;
}

interface Opened {
  readonly plane: Plane;
  readonly place: RegionPlace;
  readonly started: Started;
  readonly candidate: Candidate;
  /** As configured. */
  readonly engine: EngineName;
  readonly isInherited: boolean;
}

export function openEngine(config: Config, options: EngineOptions): Engine {
  const { platform, log } = options;
  const names = interfaceNames(config);
  let current = openFirst(config, candidatesFor(config));
  const plane = makeSwitchPlane(current.plane);
  say(current);

  return {
    plane,
    state: () => ({
      attached: current.started.attached,
      why: current.candidate.why,
      place: current.place,
      isInherited: current.isInherited,
    }),
    follow: (next) => {
      if (next.engine === current.engine) return;
      const before = inShort(current.started.attached);
      current = firstThatWorks(candidatesFor(next), (candidate) =>
        isAtWork(candidate) ? { ...current, candidate, engine: next.engine } : switchTo(next, candidate),
      );
      say(current);
      const now = inShort(current.started.attached);
      if (now !== before) log.info(`the engine is ${now} now, it was ${before}; flows go on`);
    },
    restart: () => {
      current.plane.stop(true);
      current = { ...current, started: startOn(current.plane, current.candidate) };
      say(current);
    },
    end: (keep, heir) => {
      current.plane.stop(keep, heir);
      current.plane.close();
      if (!keep) platform.removeRegion(current.place);
    },
  };

  function inShort(attachments: readonly Attachment[]): string {
    return formatAttachments(attachments, names);
  }

  function candidatesFor(wanted: Config): readonly Candidate[] {
    return chooseEngine(
      wanted.engine,
      names.map((name) => ({ name, driver: platform.driverOf(name) })),
    );
  }

  function placeFor(candidate: Candidate, wanted: Config): RegionPlace {
    const backing = backingFor(candidate.attachments[0]!);
    const bpffs = platform.bpffs(wanted.bpffs, backing === 'maps');
    return placeOfRegion(wanted.name, backing, bpffs);
  }

  function workersFor({ backing }: RegionPlace, wanted: Config): number {
    // The kernel's programs count by processor, and the slow path has one more.
    return backing === 'maps' ? platform.processors + 1 : options.workersOf(wanted);
  }

  function isAtWork({ attachments }: Candidate): boolean {
    return attachments.join(' ') === current.started.attached.join(' ');
  }

  function openFirst(wanted: Config, candidates: readonly Candidate[]): Opened {
    return firstThatWorks(candidates, (candidate) => {
      const place = placeFor(candidate, wanted);
      const workers = workersFor(place, wanted);
      const opened = platform.openPlane(place, countsFor(wanted, workers), workers);
      const isFresh = readHeader(opened).generation === 0;
      const isSetAside = opened.outcome === 'set-aside';
      const leftAt = isSetAside ? { ...place, path: setAsidePath(place) } : elsewhere(place, wanted);
      let left: LeftRegion | null = null;
      let isTaken = false;
      let started: Started;
      try {
        if (leftAt !== null) left = openIfAlike(leftAt);
        if (isFresh && left !== null) isTaken = takeOver(opened, left);
        // A predecessor that died in the middle of a switch has frozen it.
        if (!isFresh) opened.resume();
        started = startOn(opened, candidate, options.inherit);
      } catch (error) {
        if (isTaken) left?.plane.resume();
        left?.plane.close();
        opened.stop(!isFresh);
        opened.close();
        if (opened.outcome === 'created') platform.removeRegion(place);
        if (isSetAside) platform.putBack(place);
        throw error;
      }
      // What was set aside and could not be carried over stays there.
      if (leftAt !== null && (isTaken || !isSetAside)) dispose(leftAt, left);
      else left?.plane.close();
      return { plane: opened, place, started, candidate, engine: wanted.engine, isInherited: isTaken || !isFresh };
    });
  }

  /** Where another kind of engine left a region of this instance. */
  function elsewhere(place: RegionPlace, wanted: Config): RegionPlace | null {
    const backing = place.backing === 'maps' ? 'file' : 'maps';
    const other = placeOfRegion(wanted.name, backing, platform.bpffs(wanted.bpffs, false));
    return platform.hasRegion(other) ? other : null;
  }

  /** Null, and said, when nothing of it can be taken over. */
  function openIfAlike(place: RegionPlace): LeftRegion | null {
    try {
      return openLeft(platform, place);
    } catch (error) {
      if (!(error instanceof FairleadError) || error.code !== 'failed') throw error;
      log.warn(error.message);
      return null;
    }
  }

  /** False when there is nothing to take, or nothing that fits. */
  function takeOver(opened: Plane, { plane: former, place }: LeftRegion): boolean {
    if (readHeader(former).generation === 0) return false;
    const flows = countFlows(former);
    try {
      opened.takeFrom(former);
    } catch (error) {
      log.warn(`the region ${place.path}: ${(error as Error).message}; its connections (${counted(flows)}) are lost`);
      return false;
    }
    log.info(`took over what the region ${place.path} held: ${counted(flows)}`);
    const lost = flows - countFlows(opened);
    if (lost > 0)
      log.warn(`the smaller table had no room for ${counted(lost)}, and these connections are lost; raise "flows"`);
    return true;
  }

  /** Off the interfaces, and away. The engine is at work already: what cannot be removed is no reason to end it. */
  function dispose(place: RegionPlace, left: LeftRegion | null): void {
    try {
      left?.plane.detach(left.interfaces);
      left?.plane.close();
      platform.removeRegion(place);
    } catch (error) {
      log.warn(`${place.path} could not be removed: ${(error as Error).message}; "fairlead down" removes it`);
    }
  }

  function switchTo(wanted: Config, candidate: Candidate): Opened {
    const place = placeFor(candidate, wanted);
    const next = place.path === current.place.path ? changePlaces(candidate) : changeRegions(wanted, candidate, place);
    return { ...next, candidate, engine: wanted.engine, isInherited: current.isInherited };
  }

  function changePlaces(candidate: Candidate): Pick<Opened, 'plane' | 'place' | 'started'> {
    const { plane: same, place } = current;
    same.stop(true);
    try {
      return { plane: same, place, started: startOn(same, candidate) };
    } catch (error) {
      current = { ...current, started: startOn(same, current.candidate) };
      throw error;
    }
  }

  function changeRegions(
    wanted: Config,
    candidate: Candidate,
    place: RegionPlace,
  ): Pick<Opened, 'plane' | 'place' | 'started'> {
    platform.removeRegion(place);
    // The sizes stay: a configuration that has become smaller would make a region that flows cannot move to.
    const workers = workersFor(place, wanted);
    const { counts } = current.plane;
    const next = platform.openPlane(place, { ...counts, workers, traffic: workers * counts.servers }, workers);
    let started: Started;
    try {
      next.takeFrom(current.plane);
      started = startOn(next, candidate);
    } catch (error) {
      current.plane.resume();
      next.stop(false);
      next.close();
      platform.removeRegion(place);
      throw error;
    }
    const before = plane.become(next);
    before.stop(false);
    dispose(current.place, { plane: before, place: current.place, interfaces: [] });
    return { plane: next, place, started };
  }

  /** Throws when it cannot be had as the candidate wants it. */
  function startOn(target: Plane, { attachments, isStrict }: Candidate, inherit?: number): Started {
    const wanted = names.map((name, id) => ({ name, by: attachments[id]! }));
    const started = target.start(wanted, inherit);
    const isOtherwise = started.attached.join(' ') !== attachments.join(' ');
    if (isStrict && isOtherwise) {
      target.stop(true);
      throw new FairleadError('failed', `the interfaces take ${inShort(started.attached)} only`);
    }
    return started;
  }

  function firstThatWorks(candidates: readonly Candidate[], run: (candidate: Candidate) => Opened): Opened {
    const [first, ...others] = candidates;
    try {
      return run(first!);
    } catch (error) {
      const [next] = others;
      // Who finds another fairlead at work has nothing to fall back to.
      if (next === undefined || (error instanceof FairleadError && error.code === 'refused')) throw inWords(error);
      const reason = (error as Error).message;
      const wanted = inShort(first!.attachments);
      log.warn(`${wanted} cannot be had here: ${reason}; trying ${inShort(next.attachments)}`);
      const why = `${next.why} (${wanted} was refused: ${reason})`;
      return firstThatWorks([{ ...next, why }, ...others.slice(1)], run);
    }
  }

  function say({ started: { warning, attached }, candidate }: Opened): void {
    if (warning !== '') log.warn(warning);
    if (candidate.attachments.some((by, id) => by === 'xdp' && attached[id] === 'xdp-generic')) {
      log.warn('the driver has no XDP: it runs in the generic mode, behind the driver, and tc would be faster');
    }
  }
}

function counted(flows: number): string {
  return `${flows.toLocaleString('en')} ${flows === 1 ? 'flow' : 'flows'}`;
}

/** What the data plane says is for the operator; it comes with a code (native/addon/arguments.h), mistakes of ours do not. */
function inWords(error: unknown): unknown {
  const { message, code } = error as NodeJS.ErrnoException;
  if (error instanceof FairleadError || code === undefined) return error;
  return new FairleadError('failed', message, { cause: error });
}
