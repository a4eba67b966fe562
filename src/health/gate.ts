// Lets so many in at a time; the others wait in the order in which they came. What is waiting holds no socket, so a
// thousand dead servers cannot use up the descriptors of the host.

export interface Gate {
  /** Resolves with the way out, once there is room. */
  enter(): Promise<() => void>;
  inside(): number;
  waiting(): number;
}

export function makeGate(room: number): Gate {
  let inside = 0;
  let head = 0;
  let queue: (() => void)[] = [];
  const leave = (): void => {
    const next = queue[head];
    if (next === undefined) {
      inside--;
      return;
    }
    head++;
    // The front is dropped now and then, not each time: that would move all the others.
    if (head > 1000 && head > queue.length / 2) {
      queue = queue.slice(head);
      head = 0;
    }
    next();
  };
  const once = (): (() => void) => {
    let isOut = false;
    return () => {
      if (isOut) return;
      isOut = true;
      leave();
    };
  };
  return {
    enter: () => {
      if (inside < room) {
        inside++;
        return Promise.resolve(once());
      }
      return new Promise((resolve) => queue.push(() => resolve(once())));
    },
    inside: () => inside,
    waiting: () => queue.length - head,
  };
}
