// What a killed daemon left: a region, a guard or programs on the interfaces, a stale socket. What is on the interfaces is
// taken off by whoever holds the region, so it is adopted once more. A region of another version cannot be adopted; of its
// maps the links go with the directory, of its guard nobody knows whose it was.

import { existsSync, rmSync } from 'node:fs';
import { openLeft } from '../plane/left-region.ts';
import type { Platform } from '../plane/platform.ts';
import type { RegionPlace } from '../plane/region-place.ts';

/** Returns what was removed. Throws `refused` while another process has a region. */
export function removeLeftovers(platform: Platform, places: readonly RegionPlace[], socket: string): string[] {
  const removed = places.flatMap((place) => {
    const attached = platform.hasRegion(place) ? detach(platform, place) : [];
    return [...attached, ...platform.removeRegion(place)];
  });
  if (!existsSync(socket)) return removed;
  rmSync(socket, { force: true });
  return [...removed, socket];
}

/** Interfaces that are gone took with them what was on them. */
function detach(platform: Platform, place: RegionPlace): string[] {
  const { plane, interfaces } = openLeft(platform, place);
  try {
    plane.detach(interfaces);
    if (interfaces.length === 0) return [];
    return [place.backing === 'file' ? 'the guard' : "the kernel's programs"];
  } finally {
    plane.close();
  }
}
