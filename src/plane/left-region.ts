// What a predecessor left of a region, of whatever sizes and of whatever version: it is opened as it is, so that its flows
// can be taken over, and what it worked on can be set free.

import type { Plane } from './plane.ts';
import type { Platform } from './platform.ts';
import type { RegionPlace } from './region-place.ts';
import { readInterfaceIndexes } from './sections.ts';

export interface LeftRegion {
  readonly plane: Plane;
  readonly place: RegionPlace;
  /** Names of those it was working on that are still there. */
  readonly interfaces: readonly string[];
}

/** Throws `refused` while another process has it, `failed` when what flows need is laid out otherwise there. */
export function openLeft(platform: Platform, place: RegionPlace): LeftRegion {
  const plane = platform.openLeft(place);
  const { links } = platform.inspect();
  const interfaces = readInterfaceIndexes(plane).flatMap((index) =>
    links.filter((link) => link.index === index).map(({ name }) => name),
  );
  return { plane, place, interfaces };
}
