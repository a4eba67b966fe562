// What a killed daemon left: a region file, a guard on the interfaces, a stale socket. The guard is taken off by whoever
// has it, so the region is adopted once more, its engine started and ended the ordinary way. A region of another version
// cannot be adopted, and then nobody knows whose guard it was.

import { existsSync, rmSync } from 'node:fs';
import type { HostView } from '../config/host-view.ts';
import { smallCounts } from '../plane/memory-plane.ts';
import type { Plane, SectionCounts } from '../plane/plane.ts';
import type { Platform } from '../plane/platform.ts';
import { readInterfaceIndexes } from '../plane/sections.ts';

/** Returns what was removed. Throws `refused` while another process has the region. `platform` null: no region is there. */
export function removeLeftovers(platform: Platform | null, regionFile: string, socket: string): string[] {
  const files = [regionFile, `${regionFile}.old`, socket].filter((file) => existsSync(file));
  const guard = platform === null ? [] : takeGuardOff(platform, regionFile);
  for (const file of [...files, `${regionFile}.old`]) rmSync(file, { force: true });
  return [...guard, ...files];
}

function takeGuardOff(platform: Platform, regionFile: string): string[] {
  const left = lookAt(platform, regionFile);
  const plane = platform.openPlane(regionFile, left.counts, left.workers);
  try {
    // Interfaces that are gone took their guard with them.
    if (left.interfaces.length === 0) return [];
    plane.start(left.interfaces);
    plane.stop(false);
    return ['the guard'];
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

function lookAt(platform: Platform, regionFile: string): Left {
  let plane: Plane;
  try {
    plane = platform.readPlane(regionFile);
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
