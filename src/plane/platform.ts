// What the addon gives besides a plane, and the one door to it: everything above takes a Platform, so that a daemon can
// be tried without addon, privileges or packets.

import { FairleadError } from '../base/errors.ts';
import type { HostView } from '../config/host-view.ts';
import { type Addon, loadAddon } from '../native/addon.ts';
import { hostViewOf, parseAddresses, parseLinks } from '../net/netlink.ts';
import { openPacketPlane, openReadPlane } from './native-plane.ts';
import type { Plane, SectionCounts } from './plane.ts';

export interface Platform {
  /** Throws `refused` when another process has the region, `failed` when the machine lacks what it needs. */
  openPlane(path: string, counts: SectionCounts, workers: number): Plane;
  /** Another process's region, to look at. */
  readPlane(path: string): Plane;
  inspect(): HostView;
  /** Tells the service manager, when there is one (sd_notify). */
  notify(state: string): void;
}

/** Throws FairleadError when the addon is missing or of another layout. */
export function makePlatform(addon: Addon = loadAddon()): Platform {
  return {
    openPlane: (path, counts, workers) => explained(() => openPacketPlane(addon, path, counts, workers)),
    readPlane: (path) => explained(() => openReadPlane(addon, path)),
    inspect: () => {
      const links = parseLinks(addon.inspect(RTM_GETLINK, AF_UNSPEC));
      return hostViewOf(links, parseAddresses(addon.inspect(RTM_GETADDR, AF_UNSPEC)));
    },
    notify: (state) => addon.notify(state),
  };
}

/** linux/rtnetlink.h */
const RTM_GETLINK = 18;
const RTM_GETADDR = 22;
const AF_UNSPEC = 0;

const BUSY = ['EBUSY', 'EWOULDBLOCK', 'EAGAIN'];

function explained<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    const { message, code = '' } = error as NodeJS.ErrnoException;
    throw new FairleadError(BUSY.includes(code) ? 'refused' : 'failed', message, { cause: error });
  }
}
