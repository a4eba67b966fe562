// A plane that may become another one while it is in use: who holds it reads and commits to whatever engine is at work.

import type { Plane, PlaneEvents } from './plane.ts';

export interface SwitchPlane extends Plane {
  /** From now on everything goes to `next`, the listener's events and probes through the path too. Gives the one before, which stays open. */
  become(next: Plane): Plane;
}

export function makeSwitchPlane(first: Plane): SwitchPlane {
  let current = first;
  let listener: ((events: PlaneEvents) => void) | null = null;
  let path: unknown = null;
  return {
    get kind() {
      return current.kind;
    },
    get outcome() {
      return current.outcome;
    },
    get counts() {
      return current.counts;
    },
    get workers() {
      return current.workers;
    },
    section: (name) => current.section(name),
    commit: (image) => current.commit(image),
    start: (interfaces, inherit) => current.start(interfaces, inherit),
    stop: (keep, heir) => current.stop(keep, heir),
    takeFrom: (former) => current.takeFrom(former),
    resume: () => current.resume(),
    detach: (interfaces) => current.detach(interfaces),
    sample: (isOn) => current.sample(isOn),
    samples: () => current.samples(),
    carry: (next) => {
      path = next;
      current.carry(next);
    },
    watch: (run) => {
      listener = run;
      current.watch(run);
    },
    close: () => current.close(),
    become: (next) => {
      const before = current;
      current = next;
      if (listener !== null) next.watch(listener);
      if (path !== null) next.carry(path);
      return before;
    },
  };
}
