// A platform without addon, privileges or packets: memory planes that outlive their daemon, as a region file would.

import { writeFileSync } from 'node:fs';
import { FairleadError } from '../../src/base/errors.ts';
import type { HostView } from '../../src/config/host-view.ts';
import {
  makeMemoryPlane,
  makeMemoryRegion,
  type MemoryPlane,
  type MemoryRegion,
} from '../../src/plane/memory-plane.ts';
import type { Platform } from '../../src/plane/platform.ts';
import type { SectionCounts } from '../../src/plane/plane.ts';
import { fakeHost } from '../control/fakes.ts';

/** 02:00:00:00:00:11 on interface 1. */
const KNOWN_HOP = 0x0101_1100_0000_0002n;

export interface FakePlatform extends Platform {
  /** In the order in which it happened: "open created", "start eth0 eth1", "stop", "stop keeping the guard", "close". */
  readonly calls: string[];
  readonly notified: string[];
  readonly planes: MemoryPlane[];
  host: HostView;
  /** Thrown by the next start of an engine. */
  startFails: Error | null;
}

export function makeFakePlatform(): FakePlatform {
  const regions = new Map<string, { counts: SectionCounts; workers: number; memory: MemoryRegion }>();
  const locked = new Set<string>();
  const platform: FakePlatform = {
    calls: [],
    notified: [],
    planes: [],
    host: fakeHost,
    startFails: null,
    openPlane: (path, counts, workers) => {
      if (locked.has(path)) throw new FairleadError('refused', `another process has ${path}`);
      const left = regions.get(path);
      const memory = left?.memory ?? makeMemoryRegion(counts, workers);
      regions.set(path, { counts, workers, memory });
      writeFileSync(path, '');
      locked.add(path);
      const plane = makeMemoryPlane(counts, workers, memory);
      const outcome = left === undefined ? 'created' : 'adopted';
      platform.calls.push(`open ${outcome}`);
      const opened: MemoryPlane = {
        ...plane,
        outcome,
        start: (names) => {
          if (platform.startFails !== null) throw platform.startFails;
          platform.calls.push(`start ${names.join(' ')}`);
          return '';
        },
        commit: (image) => {
          const generation = plane.commit(image);
          for (let slot = 0; slot < 8; slot++) new BigUint64Array(plane.section('hops'))[slot] = KNOWN_HOP;
          return generation;
        },
        stop: (keep) => platform.calls.push(keep ? 'stop keeping the guard' : 'stop'),
        close: () => {
          locked.delete(path);
          platform.calls.push('close');
          plane.close();
        },
      };
      platform.planes.push(opened);
      return opened;
    },
    readPlane: (path) => {
      const { counts, workers, memory } = regions.get(path)!;
      return makeMemoryPlane(counts, workers, memory);
    },
    inspect: () => platform.host,
    notify: (state) => platform.notified.push(state),
  };
  return platform;
}
