// What the addon gives besides a plane, and the one door to it: everything above takes a Platform, so that a daemon can
// be tried without addon, privileges or packets.

import { existsSync, renameSync, rmSync } from 'node:fs';
import { FairleadError } from '../base/errors.ts';
import type { HostView } from '../config/host-view.ts';
import { type Addon, loadAddon } from '../native/addon.ts';
import { hostViewOf, parseAddresses, parseLinks } from '../net/netlink.ts';
import { openLeftPlane, openPlane, openReadPlane } from './native-plane.ts';
import type { Plane, SectionCounts } from './plane.ts';
import { makeProbePath, type PlaneProbePath, removeProbePath } from './probe-path.ts';
import { type RegionPlace, setAsidePath } from './region-place.ts';

export interface Platform {
  /** Throws `refused` when another process has the region, `failed` when the machine lacks what it needs. */
  openPlane(place: RegionPlace, counts: SectionCounts, workers: number): Plane;
  /**
   * What a predecessor left there, of this version or another, to be taken over from. Throws `refused` when another
   * process has it, `failed` when nothing of it can be taken over.
   */
  openLeft(place: RegionPlace): Plane;
  /** Waits at the path for the packet sockets of a predecessor: what Plane.start takes. To be closed after that. */
  inherit(path: string): number;
  /** Another process's region, to look at. */
  readPlane(place: RegionPlace): Plane;
  hasRegion(place: RegionPlace): boolean;
  /** The region and what was set aside for it, with all programs attached by them; gives the paths that were there. */
  removeRegion(place: RegionPlace): string[];
  /** The region gives way to the one that was set aside for it. */
  putBack(place: RegionPlace): void;
  inspect(): HostView;
  /** The name of an interface's driver, or "". */
  driverOf(interfaceName: string): string;
  /** How many processors the kernel may ever run on. */
  readonly processors: number;
  /**
   * Where maps are pinned: the directory that was configured, else the system's bpffs, else one of fairlead's own. With
   * `mayMount` it is a bpffs afterwards, or this throws in words.
   */
  bpffs(configured: string | null, mayMount: boolean): string;
  /** Sockets for checks through the path; an instance has one. */
  probePath(instance: string): PlaneProbePath;
  /** Why this host can make none, in words, or null. */
  probePathTrouble(): string | null;
  /** What a killed process left of it in the host's routing: was there anything? */
  removeProbePath(instance: string): boolean;
  /** Tells the service manager, when there is one (sd_notify). */
  notify(state: string): void;
}

const TUN = '/dev/net/tun';
const SYSTEM_BPFFS = '/sys/fs/bpf';
const OWN_BPFFS = '/run/fairlead/bpf';

/** Throws FairleadError when the addon is missing or of another layout. */
export function makePlatform(addon: Addon = loadAddon()): Platform {
  const isBpffs = (path: string): boolean => {
    try {
      addon.bpffs(path, false);
      return true;
    } catch {
      return false;
    }
  };
  const remove = ({ backing, path }: RegionPlace): void => {
    if (backing === 'maps') explained(() => addon.remove(path));
    else rmSync(path, { force: true });
  };
  return {
    openPlane: (place, counts, workers) => explained(() => openPlane(addon, place, counts, workers)),
    openLeft: (place) => explained(() => openLeftPlane(addon, place)),
    inherit: (path) => explained(() => addon.inherit(path)),
    readPlane: (place) => explained(() => openReadPlane(addon, place)),
    hasRegion: ({ path }) => existsSync(path),
    removeRegion: (place) =>
      [place.path, setAsidePath(place)].filter((path) => {
        if (!existsSync(path)) return false;
        remove({ ...place, path });
        return true;
      }),
    putBack: (place) => {
      remove(place);
      renameSync(setAsidePath(place), place.path);
    },
    inspect: () => {
      const links = parseLinks(addon.inspect(RTM_GETLINK, AF_UNSPEC));
      return hostViewOf(links, parseAddresses(addon.inspect(RTM_GETADDR, AF_UNSPEC)));
    },
    driverOf: (name) => addon.driver(name),
    processors: addon.processors(),
    bpffs: (configured, mayMount) => {
      const path = configured ?? (isBpffs(SYSTEM_BPFFS) ? SYSTEM_BPFFS : OWN_BPFFS);
      if (mayMount) explained(() => addon.bpffs(path, true));
      return path;
    },
    probePath: (instance) => makeProbePath(instance, addon),
    probePathTrouble: () =>
      existsSync(TUN) ? null : `${TUN} is not there: checks of VIPs cannot be tried, and their servers get no flows`,
    removeProbePath: (instance) => removeProbePath(instance, addon),
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
