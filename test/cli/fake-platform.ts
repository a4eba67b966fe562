// A platform without addon, privileges or packets: memory planes that outlive their daemon, as regions would.

import { openSync } from 'node:fs';
import { FairleadError } from '../../src/base/errors.ts';
import type { HostView } from '../../src/config/host-view.ts';
import { layout, sections } from '../../src/native/layout.ts';
import {
  makeMemoryPlane,
  makeMemoryRegion,
  type MemoryPlane,
  type MemoryRegion,
} from '../../src/plane/memory-plane.ts';
import type { Platform } from '../../src/plane/platform.ts';
import type { Attach, Attachment, Plane, SectionCounts, SectionName, Started } from '../../src/plane/plane.ts';
import type { PlaneProbePath } from '../../src/plane/probe-path.ts';
import { type RegionPlace, setAsidePath } from '../../src/plane/region-place.ts';
import { fakeHost } from '../control/fakes.ts';

/** 02:00:00:00:00:11 on interface 1. */
const KNOWN_HOP = 0x0101_1100_0000_0002n;

export interface FakePlatform extends Platform {
  /**
   * In the order in which it happened, each with the kind of region: "maps created", "maps start eth0:tc eth1:tc",
   * "maps stop", "maps stop and keep", "maps takes from file", "file goes on", "file detach eth0 eth1", "maps close",
   * "maps removed".
   */
  readonly calls: string[];
  readonly notified: string[];
  readonly planes: MemoryPlane[];
  /** Paths of the regions there are. */
  regions(): string[];
  host: HostView;
  /** By interface; those that are not here have none. */
  drivers: Readonly<Record<string, string>>;
  /** What a start that wants this attachment throws. */
  readonly refused: Map<Attachment, Error>;
  /** Interfaces whose driver has no XDP. */
  readonly withoutXdp: Set<string>;
  /** Where no bpffs can be mounted. */
  mountFails: Error | null;
  /** What was left is of another version, and nothing of it can be taken over. */
  isUnlike: boolean;
  /** What a move into a new region throws. */
  doesNotFit: Error | null;
}

interface Region {
  readonly counts: SectionCounts;
  readonly workers: number;
  readonly memory: MemoryRegion;
}

export function makeFakePlatform(): FakePlatform {
  const regions = new Map<string, Region>();
  const locked = new Set<string>();
  const platform: FakePlatform = {
    calls: [],
    notified: [],
    planes: [],
    regions: () => [...regions.keys()],
    host: fakeHost,
    drivers: { eth0: 'veth', eth1: 'veth' },
    refused: new Map(),
    withoutXdp: new Set(),
    mountFails: null,
    isUnlike: false,
    doesNotFit: null,
    openPlane: (place, counts, workers) => {
      const { path } = place;
      if (locked.has(path)) throw new FairleadError('refused', `another fairlead works on the region ${path}`);
      const left = regions.get(path);
      const isSame = left !== undefined && isEqual(left, { counts, workers });
      if (left !== undefined && !isSame) regions.set(setAsidePath(place), left);
      const memory = isSame ? left.memory : makeMemoryRegion(counts, workers);
      regions.set(path, { counts, workers, memory });
      locked.add(path);
      const opened = {
        ...fakeEngine(platform, place, makeMemoryPlane(counts, workers, memory), () => locked.delete(path)),
        outcome: isSame ? 'adopted' : left === undefined ? 'created' : 'set-aside',
      } as const;
      platform.calls.push(`${place.backing} ${opened.outcome}`);
      platform.planes.push(opened);
      return opened;
    },
    openLeft: (place) => {
      const { path } = place;
      if (locked.has(path)) throw new FairleadError('refused', `another fairlead works on the region ${path}`);
      if (platform.isUnlike)
        throw new FairleadError('failed', `${path} is of another version, with another layout of its flows`);
      const { counts, workers, memory } = regions.get(path)!;
      locked.add(path);
      platform.calls.push(`${place.backing} adopted`);
      return fakeEngine(platform, place, makeMemoryPlane(counts, workers, memory), () => locked.delete(path));
    },
    inherit: () => openSync('/dev/null', 'r'),
    readPlane: ({ path }) => {
      const there = regions.get(path);
      if (there === undefined) throw new FairleadError('failed', `cannot open the region ${path}`);
      return makeMemoryPlane(there.counts, there.workers, there.memory);
    },
    hasRegion: ({ path }) => regions.has(path),
    removeRegion: (place) => {
      const removed = [place.path, setAsidePath(place)].filter((path) => regions.delete(path));
      if (removed.length > 0) platform.calls.push(`${place.backing} removed`);
      return removed;
    },
    putBack: (place) => {
      regions.set(place.path, regions.get(setAsidePath(place))!);
      regions.delete(setAsidePath(place));
      platform.calls.push(`${place.backing} put back`);
    },
    inspect: () => platform.host,
    driverOf: (name) => platform.drivers[name] ?? '',
    processors: 2,
    bpffs: (configured, mayMount) => {
      if (mayMount && platform.mountFails !== null) throw platform.mountFails;
      return configured ?? '/sys/fs/bpf';
    },
    probePath: () => makeFakePath(),
    probePathTrouble: () => null,
    removeProbePath: () => false,
    notify: (state) => platform.notified.push(state),
  };
  return platform;
}

export function makeFakePath(): PlaneProbePath {
  return {
    open: () => {
      throw new Error('nothing goes through here');
    },
    use: () => undefined,
    place: () => undefined,
    close: () => undefined,
  };
}

/** A memory plane that tells what is done with it, and knows every next hop. */
function fakeEngine(
  platform: FakePlatform,
  { backing }: RegionPlace,
  plane: MemoryPlane,
  unlock: () => void,
): MemoryPlane {
  const call = (what: string) => void platform.calls.push(`${backing} ${what}`);
  return {
    ...plane,
    kind: backing === 'file' ? 'packet' : 'kernel',
    start: (interfaces) => {
      for (const { by } of interfaces) {
        const reason = platform.refused.get(by);
        if (reason !== undefined) throw reason;
      }
      call(`start ${interfaces.map(({ name, by }) => `${name}:${by}`).join(' ')}`);
      return startedOn(platform, interfaces);
    },
    commit: (image) => {
      const generation = plane.commit(image);
      for (let slot = 0; slot < 8; slot++) new BigUint64Array(plane.section('hops'))[slot] = KNOWN_HOP;
      return generation;
    },
    stop: (keep) => call(keep ? 'stop and keep' : 'stop'),
    takeFrom: (former) => {
      if (platform.doesNotFit !== null) throw platform.doesNotFit;
      copyRegion(plane, former);
      call(`takes from ${former.kind === 'packet' ? 'file' : 'maps'}`);
    },
    resume: () => call('goes on'),
    detach: (interfaces) => call(`detach ${interfaces.join(' ')}`),
    close: () => {
      unlock();
      call('close');
      plane.close();
    },
  };
}

function startedOn(platform: FakePlatform, interfaces: readonly Attach[]): Started {
  const had = ({ name, by }: Attach): Attachment =>
    by === 'xdp' && platform.withoutXdp.has(name) ? 'xdp-generic' : by;
  return { warning: '', attached: interfaces.map(had) };
}

/** As native/engine/move.c, but for the counts. */
function copyRegion(to: Plane, from: Plane): void {
  for (const name of Object.keys(sections) as SectionName[]) {
    if (name === 'header' || name === 'workers' || name === 'traffic') continue;
    new Uint8Array(to.section(name)).set(new Uint8Array(from.section(name)));
  }
  const { generation, active_half } = layout.fl_header;
  const [target, source] = [new DataView(to.section('header')), new DataView(from.section('header'))];
  target.setBigUint64(generation, source.getBigUint64(generation, true), true);
  target.setUint32(active_half, source.getUint32(active_half, true), true);
}

function isEqual(one: Omit<Region, 'memory'>, other: Omit<Region, 'memory'>): boolean {
  return JSON.stringify([one.counts, one.workers]) === JSON.stringify([other.counts, other.workers]);
}
