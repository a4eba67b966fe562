// What a killed daemon left: a region, a guard or programs on the interfaces, a stale socket. What is on the interfaces is
// taken off by whoever holds the region, so it is adopted once more. A region of another version cannot be adopted; of its
// maps the links go with the directory, of its guard nobody knows whose it was.

import { existsSync, rmSync } from 'node:fs';
import type { HostView } from '../config/host-check.ts';
import { smallCounts } from '../plane/memory-plane.ts';
import type { Plane, SectionCounts } from '../plane/plane.ts';
import type { Platform } from '../plane/platform.ts';
import type { RegionPlace } from '../plane/region-place.ts';
import { readInterfaceIndexes } from '../plane/sections.ts';

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

function detach(platform: Platform, place: RegionPlace): string[] {
  const left = lookAt(platform, place);
  const plane = platform.openPlane(place, left.counts, left.workers);
  try {
    // Interfaces that are gone took with them what was on them.
    plane.detach(left.interfaces);
    if (left.interfaces.length === 0) return [];
    return [place.backing === 'file' ? 'the guard' : "the kernel's programs"];
  } finally {
    plane.close();
  }
}

interface Left {
  readonly counts: SectionCounts;
  readonly workers: number;
  /** Names of those that are still there. */
  readonly interfaces: readonly string[];
}

function lookAt(platform: Platform, place: RegionPlace): Left {
  let plane: Plane;
  try {
    plane = platform.readPlane(place);
  } catch {
    // Of another layout. Opening it still tells whether somebody has it, and sets it aside.
    return { counts: smallCounts(4096, 1), workers: 1, interfaces: [] };
  }
  const { counts, workers } = plane;
  const interfaces = interfacesOf(plane, platform.inspect());
  plane.close();
  return { counts, workers, interfaces };
}

/** Names of the interfaces the region was working on, as far as they are still there. */
function interfacesOf(plane: Plane, host: HostView): string[] {
  return readInterfaceIndexes(plane).flatMap((index) =>
    host.links.filter((link) => link.index === index).map(({ name }) => name),
  );
}
