// What a killed daemon left: a region, a guard or programs on the interfaces, a stale socket. What is on the interfaces is
// taken off by whoever holds the region, so it is opened once more. Where another version has laid it out otherwise, the
// links go with the directory of maps, and of a guard nobody knows whose it was.

import { existsSync, rmSync } from 'node:fs';
import { FairleadError } from '../base/errors.ts';
import { type LeftRegion, openLeft } from '../plane/left-region.ts';
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
  const left = openIfAlike(platform, place);
  if (left === null) return [];
  const { plane, interfaces } = left;
  try {
    plane.detach(interfaces);
    if (interfaces.length === 0) return [];
    return [place.backing === 'file' ? 'the guard' : "the kernel's programs"];
  } finally {
    plane.close();
  }
}

function openIfAlike(platform: Platform, place: RegionPlace): LeftRegion | null {
  try {
    return openLeft(platform, place);
  } catch (error) {
    if (error instanceof FairleadError && error.code === 'failed') return null;
    throw error;
  }
}
