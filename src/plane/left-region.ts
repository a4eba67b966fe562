// What a predecessor left of a region, whatever the configuration says now: it is opened in the sizes that it has, so
// that its flows can be taken over, and what it worked on can be set free.

import { smallCounts } from './memory-plane.ts';
import type { Plane, SectionCounts } from './plane.ts';
import type { Platform } from './platform.ts';
import { type RegionPlace, setAsidePath } from './region-place.ts';
import { readInterfaceIndexes } from './sections.ts';

export interface LeftRegion {
  readonly plane: Plane;
  readonly place: RegionPlace;
  /** Names of those it was working on that are still there. */
  readonly interfaces: readonly string[];
}

/** One of another layout is set aside. Throws `refused` while another process has it. */
export function openLeft(platform: Platform, place: RegionPlace): LeftRegion {
  const sizes = sizesOf(platform, place);
  const plane = platform.openPlane(place, sizes.counts, sizes.workers);
  const { links } = platform.inspect();
  const interfaces = readInterfaceIndexes(plane).flatMap((index) =>
    links.filter((link) => link.index === index).map(({ name }) => name),
  );
  return { plane, place, interfaces };
}

/** What was set aside a moment ago, or null when it is of another layout: nothing in it can be read then. */
export function openSetAside(platform: Platform, place: RegionPlace): LeftRegion | null {
  const aside = { ...place, path: setAsidePath(place) };
  try {
    platform.readPlane(aside).close();
  } catch {
    return null;
  }
  return openLeft(platform, aside);
}

function sizesOf(platform: Platform, place: RegionPlace): { counts: SectionCounts; workers: number } {
  let plane: Plane;
  try {
    plane = platform.readPlane(place);
  } catch {
    // Of another layout. Opening it still tells whether somebody has it, and sets it aside.
    return { counts: smallCounts(4096, 1), workers: 1 };
  }
  const { counts, workers } = plane;
  plane.close();
  return { counts, workers };
}
