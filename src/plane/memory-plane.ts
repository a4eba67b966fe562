// A plane of plain ArrayBuffers: the same layout, the same rules for an image, no frames. Control and its tests run on it
// without the addon.

import { constants, layout, sections } from '../native/layout.ts';
import type { Plane, PlaneEvents, SectionCounts, SectionName } from './plane.ts';
import { activeHalf } from './sections.ts';

const NAMES = Object.keys(sections) as SectionName[];

export interface MemoryPlane extends Plane {
  /** Tells the listener of events, as an engine would. */
  emit(events: Partial<PlaneEvents>): void;
}

/** Fresh, or over the memory that another memory plane left: then it is adopted. */
export function makeMemoryPlane(counts: SectionCounts, workers: number, left?: MemoryRegion): MemoryPlane {
  const memory = left ?? makeMemoryRegion(counts, workers);
  let isOpen = true;
  let listener: ((events: PlaneEvents) => void) | null = null;
  const section = (name: SectionName): ArrayBuffer => {
    if (!isOpen) throw new TypeError(`section ${name} is gone: the plane is closed`);
    return memory[name];
  };
  const plane: MemoryPlane = {
    kind: 'memory',
    outcome: left === undefined ? 'created' : 'adopted',
    counts,
    workers,
    section,
    commit: (image) => applyImage(plane, image),
    start: (interfaces) => ({ warning: '', attached: interfaces.map(({ by }) => by) }),
    stop: () => {},
    takeFrom: () => {
      throw new Error('a memory plane takes nothing over');
    },
    resume: () => {},
    detach: () => {},
    sample: () => {},
    samples: () => new ArrayBuffer(0),
    carry: () => {},
    watch: (run) => {
      listener = run;
    },
    emit: (events) => {
      listener?.({ neighbour: false, link: false, tableFull: false, workerDied: false, ...events });
    },
    close: () => {
      isOpen = false;
      listener = null;
    },
  };
  return plane;
}

export type MemoryRegion = Readonly<Record<SectionName, ArrayBuffer>>;

export function makeMemoryRegion(counts: SectionCounts, workers: number): MemoryRegion {
  const entries = NAMES.map((name) => {
    const { element, halves } = sections[name];
    return [name, new ArrayBuffer(counts[name] * element * halves)] as const;
  });
  const memory = Object.fromEntries(entries) as Record<SectionName, ArrayBuffer>;
  const header = new DataView(memory.header);
  header.setUint32(layout.fl_header.worker_count, workers, true);
  header.setUint32(layout.fl_header.buckets, counts.tags, true);
  header.setBigUint64(layout.fl_header.created_ns, BigInt(Date.now()) * 1_000_000n, true);
  return memory;
}

interface Block {
  readonly name: SectionName;
  readonly first: number;
  readonly content: Uint8Array;
}

/** As fl_region_commit of native/engine/engine.h: nothing is written unless all blocks fit, then the halves flip. */
function applyImage(plane: Plane, image: ArrayBuffer): number {
  const blocks = readBlocks(plane, image);
  const { index, generation } = activeHalf(plane);
  const next = 1 - index;
  for (const { name, first, content } of blocks) {
    const { element, halves } = sections[name];
    const base = halves === 2 ? next * plane.counts[name] : 0;
    new Uint8Array(plane.section(name)).set(content, (base + first) * element);
  }
  fillFirsts(plane, next);
  forgetFormerServers(plane, index, next);
  const header = new DataView(plane.section('header'));
  header.setUint32(layout.fl_header.active_half, next, true);
  header.setBigUint64(layout.fl_header.generation, BigInt(generation + 1), true);
  return generation + 1;
}

function readBlocks(plane: Plane, image: ArrayBuffer): Block[] {
  const view = new DataView(image);
  const blocks: Block[] = [];
  let at = 0;
  while (at < image.byteLength) {
    if (image.byteLength - at < 16) throw new Error('the image ends inside a block header');
    const name = NAMES[view.getUint32(at, true)];
    const first = view.getUint32(at + 4, true);
    const count = view.getUint32(at + 8, true);
    if (name === undefined) throw new Error(`the image names section ${view.getUint32(at, true)}, which is none`);
    if (sections[name].halves !== 2 && name !== 'tables') throw new Error(`an image may not write ${name}`);
    if (first + count > plane.counts[name]) {
      throw new Error(`${first + count} ${name} do not fit the ${plane.counts[name]} of the region`);
    }
    const octets = count * sections[name].element;
    if (image.byteLength - at - 16 < octets) throw new Error(`the image ends inside a block of ${name}`);
    blocks.push({ name, first, content: new Uint8Array(image, at + 16, octets) });
    at += 16 + ((octets + 7) & ~7);
  }
  return blocks;
}

function fillFirsts(plane: Plane, half: number): void {
  const settings = new DataView(plane.section('settings'), half * layout.fl_settings.octets);
  for (const name of NAMES) {
    const { index, halves } = sections[name];
    settings.setUint32(layout.fl_settings.first + 4 * index, halves === 2 ? half * plane.counts[name] : 0, true);
  }
}

/** A slot given to another server starts without the former one's counts and next hop. */
function forgetFormerServers(plane: Plane, before: number, after: number): void {
  const { octets, generation, flags } = layout.fl_server;
  const servers = new DataView(plane.section('servers'));
  const forget = (name: SectionName, index: number): void => {
    const { element } = sections[name];
    new Uint8Array(plane.section(name), index * element, element).fill(0);
  };
  for (let slot = 0; slot < plane.counts.servers; slot++) {
    const at = (half: number): number => (half * plane.counts.servers + slot) * octets;
    const isUsed = (half: number): boolean => (servers.getUint16(at(half) + flags, true) & constants.serverUsed) !== 0;
    const isOther =
      servers.getUint32(at(before) + generation, true) !== servers.getUint32(at(after) + generation, true);
    const isTaken = isUsed(after) && (isOther || !isUsed(before));
    if (isOther || isTaken) forget('hops', slot);
    if (!isTaken) continue;
    forget('server_state', slot);
    for (let worker = 0; worker < plane.workers; worker++) forget('traffic', worker * plane.counts.servers + slot);
  }
}

/** Small sections for tests and offline use: everything an image needs, and `flows` slots. */
export function smallCounts(flows: number, workers: number): SectionCounts {
  const buckets = flows / constants.ways;
  return {
    header: 1,
    settings: 1,
    interfaces: 8,
    vips: 512,
    listens: 1024,
    ranges: 64,
    services: 64,
    sources: 64,
    servers: 256,
    tables: 1 << 19,
    hops: 256,
    service_state: 64,
    server_state: 256,
    workers,
    traffic: workers * 256,
    tags: buckets,
    flows,
    flows6: flows,
    returns: buckets,
    limits: 64,
    access: 1024,
    datagrams: constants.datagrams,
    trails: constants.trails,
    clients: constants.clients,
    stickies: Math.ceil(flows / 32),
  };
}
