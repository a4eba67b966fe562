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
import type { Config } from '../config/config.ts';
import { countsFor } from '../plane/capacity.ts';
import type { Attachment, Plane, Started } from '../plane/plane.ts';
import type { Platform } from '../plane/platform.ts';
import { backingFor, placeOfRegion, type RegionPlace } from '../plane/region-place.ts';
import { readHeader } from '../plane/sections.ts';
import { makeSwitchPlane } from '../plane/switch-plane.ts';
import { type Candidate, chooseEngine } from './engine-choice.ts';
import { interfaceNames } from './desired.ts';

export interface EngineState {
  readonly attached: readonly Attachment[];
  readonly why: string;
  readonly place: RegionPlace;
}

export interface Engine {
  /** Whatever is at work now; holds for the engine's life. */
  readonly plane: Plane;
  state(): EngineState;
  /** Follows a configuration that wants another engine; throws in words, and then the one before goes on. */
  follow(config: Config): void;
  /** Starts again after a failure. */
  restart(): void;
  /** Ends forwarding by this process; with `keep` region and interfaces stay as they are for a successor. */
  end(keep: boolean): void;
}

export interface EngineOptions {
  readonly platform: Platform;
  readonly log: Logger;
  /** Counted workers of the packet engine. */
  readonly workersOf: (config: Config) => number;
}

interface Opened {
  readonly plane: Plane;
  readonly place: RegionPlace;
  readonly started: Started;
  readonly candidate: Candidate;
}

export function openEngine(config: Config, options: EngineOptions): Engine {
  const { platform, log } = options;
  const names = interfaceNames(config);
  let current = openFirst(config, candidatesFor(config));
  const plane = makeSwitchPlane(current.plane);
  say(current.started);

  return {
    plane,
    state: () => ({ attached: current.started.attached, why: current.candidate.why, place: current.place }),
    follow: (next) => {
      const candidates = candidatesFor(next);
      if (candidates.some(({ attachments }) => attachments.join() === current.started.attached.join())) return;
      const before = current.started.attached.join('/');
      current = firstThatWorks(candidates, (candidate) => switchTo(next, candidate));
      say(current.started);
      log.info(`the engine is ${current.started.attached.join('/')} now, it was ${before}; flows go on`);
    },
    restart: () => {
      current.plane.stop(true);
      current = { ...current, started: startOn(current.plane, current.candidate) };
      say(current.started);
    },
    end: (keep) => {
      current.plane.stop(keep);
      current.plane.close();
      if (!keep) platform.removeRegion(current.place);
    },
  };

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

  function openAt(place: RegionPlace, wanted: Config): Plane {
    // The kernel's programs count by processor, and the slow path has one more.
    const workers = place.backing === 'maps' ? platform.processors + 1 : options.workersOf(wanted);
    return platform.openPlane(place, countsFor(wanted, workers), workers);
  }

  function openFirst(wanted: Config, candidates: readonly Candidate[]): Opened {
    return firstThatWorks(candidates, (candidate) => {
      const place = placeFor(candidate, wanted);
      const opened = openAt(place, wanted);
      const isFresh = readHeader(opened).generation === 0;
      const left = leftElsewhere(place, wanted, isFresh);
      try {
        if (left !== null && isFresh) takeOver(opened, left);
        // A predecessor that died in the middle of a switch has frozen it.
        if (!isFresh) opened.resume();
        const started = startOn(opened, candidate);
        left?.dispose();
        return { plane: opened, place, started, candidate };
      } catch (error) {
        left?.plane?.resume();
        left?.plane?.close();
        opened.stop(!isFresh);
        opened.close();
        if (opened.outcome !== 'adopted') platform.removeRegion(place);
        throw error;
      }
    });
  }

  function takeOver(opened: Plane, left: Left): void {
    if (left.plane === null) return;
    opened.takeFrom(left.plane);
    log.info(`took over what the region ${left.place.path} held`);
  }

  /** What another kind of engine left of this instance. */
  function leftElsewhere(place: RegionPlace, wanted: Config, isWanted: boolean): Left | null {
    const backing = place.backing === 'maps' ? 'file' : 'maps';
    const other = placeOfRegion(wanted.name, backing, platform.bpffs(wanted.bpffs, false));
    if (!platform.hasRegion(other)) return null;
    const opened = openAt(other, wanted);
    const isAlike = opened.outcome === 'adopted' && readHeader(opened).generation > 0;
    if (isWanted && !isAlike) log.warn(`the region ${other.path} is of another layout or size: its flows are lost`);
    const dispose = (): void => {
      opened.detach(names);
      opened.close();
      platform.removeRegion(other);
    };
    return { plane: isAlike ? opened : null, place: other, dispose };
  }

  function switchTo(wanted: Config, candidate: Candidate): Opened {
    const place = placeFor(candidate, wanted);
    return place.path === current.place.path ? changePlaces(candidate) : changeRegions(wanted, candidate, place);
  }

  function changePlaces(candidate: Candidate): Opened {
    const { plane: same, place } = current;
    same.stop(true);
    try {
      return { plane: same, place, candidate, started: startOn(same, candidate) };
    } catch (error) {
      current = { ...current, started: startOn(same, current.candidate) };
      throw error;
    }
  }

  function changeRegions(wanted: Config, candidate: Candidate, place: RegionPlace): Opened {
    platform.removeRegion(place);
    const next = openAt(place, wanted);
    try {
      next.takeFrom(current.plane);
      const started = startOn(next, candidate);
      const before = plane.become(next);
      before.stop(false);
      before.close();
      platform.removeRegion(current.place);
      return { plane: next, place, candidate, started };
    } catch (error) {
      current.plane.resume();
      next.stop(false);
      next.close();
      platform.removeRegion(place);
      throw error;
    }
  }

  /** Throws when it cannot be had as the candidate wants it. */
  function startOn(target: Plane, { attachments, isStrict }: Candidate): Started {
    const started = target.start(names.map((name, id) => ({ name, by: attachments[id]! })));
    const isOtherwise = started.attached.join() !== attachments.join();
    if (isStrict && isOtherwise) {
      target.stop(true);
      throw new FairleadError('failed', `the interfaces take ${started.attached.join('/')} only`);
    }
    return started;
  }

  function firstThatWorks(candidates: readonly Candidate[], run: (candidate: Candidate) => Opened): Opened {
    const [first, ...others] = candidates;
    try {
      return run(first!);
    } catch (error) {
      const [next] = others;
      if (next === undefined) throw error;
      const reason = (error as Error).message;
      log.warn(`${first!.attachments.join('/')} cannot be had here: ${reason}; trying ${next.attachments.join('/')}`);
      const why = `${next.why} (${first!.attachments[0]} was refused: ${reason})`;
      return firstThatWorks([{ ...next, why }, ...others.slice(1)], run);
    }
  }

  function say({ warning, attached }: Started): void {
    if (warning !== '') log.warn(warning);
    if (attached.includes('xdp-generic') && config.engine === 'xdp') {
      log.warn('the driver has no XDP: it runs in the generic mode, behind the driver, and tc would be faster');
    }
  }
}

interface Left {
  /** Null: not to be taken over. */
  readonly plane: Plane | null;
  readonly place: RegionPlace;
  /** Off the interfaces, and away. */
  dispose(): void;
}
