// The plane over the addon: C owns the memory, this side holds views that close() detaches.

import type { Addon } from '../native/addon.ts';
import { loadAddon } from '../native/addon.ts';
import { constants, sections } from '../native/layout.ts';
import {
  eventsOf,
  type OpenOutcome,
  type Plane,
  type ReplayPlane,
  type SectionCounts,
  type SectionName,
} from './plane.ts';
import { readHeader } from './sections.ts';

const NAMES = Object.keys(sections) as SectionName[];

/** Makes or adopts the region file at `path`, for forwarding. Throws in words, also when another process has it. */
export function openPacketPlane(addon: Addon, path: string, counts: SectionCounts, workers: number): Plane {
  return wrap(addon, 'packet', addon.open(constants.openFile, path, countsArray(counts), workers));
}

/** Another process's region, to look at. */
export function openReadPlane(addon: Addon, path: string): Plane {
  return wrap(addon, 'packet', addon.open(constants.openRead, path, new Float64Array(NAMES.length), 0));
}

/** A region of anonymous memory and the core over it. */
export function makeReplayPlane(counts: SectionCounts, workers: number, addon: Addon = loadAddon()): ReplayPlane {
  const opened = addon.open(constants.openMemory, '', countsArray(counts), workers);
  const [handle] = opened;
  return {
    ...wrap(addon, 'replay', opened),
    replay: (frame, { interfaceId, nowNs, csumStart = 0, gsoSize = 0 }) =>
      addon.replay(handle, frame, interfaceId, csumStart, gsoSize, nowNs),
    age: (nowNs) => addon.age(handle, nowNs),
  };
}

function wrap(addon: Addon, kind: Plane['kind'], [handle, outcome]: [handle: unknown, outcome: number]): Plane {
  const memory = new Map<SectionName, ArrayBuffer>();
  let isOpen = true;
  const section = (name: SectionName): ArrayBuffer => {
    if (!isOpen) throw new TypeError(`section ${name} is gone: the plane is closed`);
    const there = memory.get(name) ?? addon.memory(handle, sections[name].index);
    memory.set(name, there);
    return there;
  };
  // What was asked for, and in a region of somebody else's making what that one asked for.
  const counts = Object.fromEntries(
    NAMES.map((name) => [name, section(name).byteLength / sections[name].element / sections[name].halves]),
  ) as Record<SectionName, number>;
  const plane: Plane = {
    kind,
    outcome: outcomeOf(outcome),
    counts,
    workers: counts.workers,
    section,
    commit: (image) => addon.commit(handle, image),
    start: (interfaces) => addon.start(handle, [...interfaces], readHeader(plane).workers),
    stop: (keepGuard) => addon.stop(handle, keepGuard),
    watch: (listener) => addon.watch(handle, (bits) => listener(eventsOf(bits))),
    close: () => {
      if (!isOpen) return;
      isOpen = false;
      memory.clear();
      addon.close(handle);
    },
  };
  return plane;
}

function countsArray(counts: SectionCounts): Float64Array {
  return Float64Array.from(NAMES, (name) => counts[name]);
}

function outcomeOf(outcome: number): OpenOutcome {
  if (outcome === constants.openAdopted) return 'adopted';
  return outcome === constants.openSetAside ? 'set-aside' : 'created';
}
