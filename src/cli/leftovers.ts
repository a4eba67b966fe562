// What a killed daemon left: a region file, a guard on the interfaces, a stale socket. The guard is taken off by whoever
// has it, so the region is adopted once more, its engine started and ended the ordinary way.

import { existsSync, rmSync } from 'node:fs';
import type { HostView } from '../config/host-check.ts';
import type { Plane } from '../plane/plane.ts';
import type { Platform } from '../plane/platform.ts';
import { readInterfaceIndexes } from '../plane/sections.ts';

/** Returns what was removed. Throws `refused` while another process has the region. `platform` null: no region is there. */
export function removeLeftovers(platform: Platform | null, regionFile: string, socket: string): string[] {
  const files = [regionFile, `${regionFile}.old`, socket].filter((file) => existsSync(file));
  const hadGuard = platform !== null && takeGuardOff(platform, regionFile);
  for (const file of files) rmSync(file, { force: true });
  return [...(hadGuard ? ['the guard'] : []), ...files];
}

function takeGuardOff(platform: Platform, regionFile: string): boolean {
  const left = platform.readPlane(regionFile);
  const { counts, workers } = left;
  const names = interfacesOf(left, platform.inspect());
  left.close();
  const plane = platform.openPlane(regionFile, counts, workers);
  try {
    // Interfaces that are gone took their guard with them.
    if (names.length === 0) return false;
    plane.start(names);
    plane.stop(false);
    return true;
  } finally {
    plane.close();
  }
}

/** Names of the interfaces the region was working on, as far as they are still there. */
function interfacesOf(plane: Plane, host: HostView): string[] {
  return readInterfaceIndexes(plane).flatMap((index) =>
    host.links.filter((link) => link.index === index).map(({ name }) => name),
  );
}
