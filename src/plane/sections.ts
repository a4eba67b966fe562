// Views over a plane's sections: the active half of a double-buffered one, and the header.

import { layout, sections } from '../native/layout.ts';
import type { Plane, SectionName } from './plane.ts';

const HEADER = layout.fl_header;

export interface RegionHeader {
  readonly generation: number;
  readonly activeHalf: number;
  readonly workers: number;
  readonly buckets: number;
  /** When a flow was last refused a slot, in ticks; 0: never. */
  readonly pressureTick: number;
  /** When the region was made, milliseconds since 1970. */
  readonly createdMs: number;
}

export function readHeader(plane: Plane): RegionHeader {
  const view = viewOf(plane, 'header');
  return {
    generation: Number(view.getBigUint64(HEADER.generation, true)),
    activeHalf: view.getUint32(HEADER.active_half, true),
    workers: view.getUint32(HEADER.worker_count, true),
    buckets: view.getUint32(HEADER.buckets, true),
    pressureTick: view.getUint32(HEADER.pressure_tick, true),
    createdMs: Number(view.getBigUint64(HEADER.created_ns, true) / 1_000_000n),
  };
}

/** Which half readers use, and the commit that made it so. */
export function activeHalf(plane: Plane): { index: number; generation: number } {
  const header = readHeader(plane);
  return { index: header.activeHalf, generation: header.generation };
}

const views = new WeakMap<ArrayBuffer, DataView>();

/** The whole section; made once, since who reads counters asks for each of fifty thousand servers. */
export function viewOf(plane: Plane, name: SectionName): DataView {
  const section = plane.section(name);
  const known = views.get(section);
  if (known !== undefined) return known;
  const made = new DataView(section);
  views.set(section, made);
  return made;
}

/** One half of a double-buffered section; of a live one, the whole. */
export function halfOf(plane: Plane, name: SectionName, half: number): DataView {
  const octets = plane.counts[name] * sections[name].element;
  return new DataView(plane.section(name), sections[name].halves === 2 ? half * octets : 0, octets);
}

export function activeHalfOf(plane: Plane, name: SectionName): DataView {
  return halfOf(plane, name, activeHalf(plane).index);
}

/** Kernel indexes of the interfaces that the last image named, by id; 0 for one that was gone. */
export function readInterfaceIndexes(plane: Plane): number[] {
  const count = activeHalfOf(plane, 'settings').getUint32(layout.fl_settings.interface_count, true);
  const view = activeHalfOf(plane, 'interfaces');
  const { octets, ifindex } = layout.fl_interface;
  return Array.from({ length: count }, (_, id) => view.getUint32(id * octets + ifindex, true));
}
