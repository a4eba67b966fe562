// The plane over the addon: C owns the memory, this side holds views that close() detaches.

import type { Addon } from '../native/addon.ts';
import { loadAddon } from '../native/addon.ts';
import { constants, sections } from '../native/layout.ts';
import {
  type Attach,
  type Attachment,
  eventsOf,
  type OpenOutcome,
  type Plane,
  type ReplayPlane,
  type SectionCounts,
  type SectionName,
  type Started,
} from './plane.ts';
import type { RegionPlace } from './region-place.ts';
import { readHeader } from './sections.ts';

const NAMES = Object.keys(sections) as SectionName[];

/** Makes or adopts the region, for forwarding. Throws in words, also when another process has it. */
export function openPlane(addon: Addon, { backing, path }: RegionPlace, counts: SectionCounts, workers: number): Plane {
  return backing === 'maps'
    ? wrap(addon, 'kernel', addon.open(constants.openMaps, path, countsArray(counts), workers))
    : wrap(addon, 'packet', addon.open(constants.openFile, path, countsArray(counts), workers));
}

/** Sections that are not alike to ours are empty in it. */
export function openLeftPlane(addon: Addon, { backing, path }: RegionPlace): Plane {
  const [handle] = addon.open(constants.openLeft, path, new Float64Array(NAMES.length), 0);
  return wrap(addon, backing === 'maps' ? 'kernel' : 'packet', [handle, constants.openAdopted]);
}

/** Another process's region, to look at. */
export function openReadPlane(addon: Addon, { backing, path }: RegionPlace): Plane {
  const opened = addon.open(constants.openRead, path, new Float64Array(NAMES.length), 0);
  return wrap(addon, backing === 'maps' ? 'kernel' : 'packet', opened);
}

/** A region of anonymous memory and the core over it. */
export function makeReplayPlane(counts: SectionCounts, workers: number, addon: Addon = loadAddon()): ReplayPlane {
  return replaying(addon, addon.open(constants.openMemory, '', countsArray(counts), workers));
}

/**
 * A region of BPF maps that nobody else sees, and the kernel's program for tc or xdp over it. It counts by processor, and
 * one worker more is the slow path's. Throws in words where the kernel or the privileges are lacking.
 */
export function makeKernelReplayPlane(
  counts: SectionCounts,
  by: 'tc' | 'xdp',
  addon: Addon = loadAddon(),
): ReplayPlane {
  const workers = addon.processors() + 1;
  const all = { ...counts, workers, traffic: workers * counts.servers };
  const opened = addon.open(constants.openMaps, '', countsArray(all), workers);
  addon.replayer(opened[0], by === 'tc');
  return replaying(addon, opened);
}

function replaying(addon: Addon, opened: [handle: unknown, outcome: number]): ReplayPlane {
  const [handle] = opened;
  const plane: ReplayPlane = {
    ...wrap(addon, 'replay', opened),
    replay: (frame, { interfaceId, nowNs, csumStart = 0, gsoSize = 0 }) =>
      addon.replay(handle, frame, interfaceId, csumStart, gsoSize, nowNs),
    age: (nowNs) => addon.age(handle, nowNs),
  };
  handles.set(plane, handle);
  return plane;
}

/** Handles by plane, for what two planes do together. */
const handles = new WeakMap<Plane, unknown>();

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
    start: (interfaces, inherit = -1) =>
      start(addon, handle, interfaces, { workers: readHeader(plane).workers, inherit }),
    stop: (keep, heir = '') => addon.stop(handle, keep, heir),
    takeFrom: (former) => addon.move(handle, handles.get(former)),
    resume: () => addon.thaw(handle),
    detach: (interfaces) => {
      if (interfaces.length > 0) addon.detach(handle, [...interfaces]);
    },
    sample: (isOn) => addon.sample(handle, isOn),
    samples: () => addon.samples(handle),
    carry: (path) => addon.pathUse(path, handle),
    watch: (listener) => addon.watch(handle, (bits) => listener(eventsOf(bits))),
    close: () => {
      if (!isOpen) return;
      isOpen = false;
      memory.clear();
      addon.close(handle);
    },
  };
  handles.set(plane, handle);
  return plane;
}

const ATTACHMENTS: Readonly<Record<Attachment, number>> = {
  packet: constants.attachPacket,
  tc: constants.attachTc,
  xdp: constants.attachXdp,
  'xdp-generic': constants.attachXdpGeneric,
};

function start(
  addon: Addon,
  handle: unknown,
  interfaces: readonly Attach[],
  { workers, inherit }: { readonly workers: number; readonly inherit: number },
): Started {
  const names = interfaces.map(({ name }) => name);
  const numbers = interfaces.map(({ by }) => ATTACHMENTS[by]);
  const warning = addon.start(handle, names, numbers, workers, inherit);
  const wordOf = (number: number) =>
    (Object.keys(ATTACHMENTS) as Attachment[]).find((word) => ATTACHMENTS[word] === number) ?? 'packet';
  return { warning, attached: numbers.map(wordOf) };
}

function countsArray(counts: SectionCounts): Float64Array {
  return Float64Array.from(NAMES, (name) => counts[name]);
}

function outcomeOf(outcome: number): OpenOutcome {
  if (outcome === constants.openAdopted) return 'adopted';
  return outcome === constants.openSetAside ? 'set-aside' : 'created';
}
