// Lets so many in at a time; the others wait in the order in which they came. What is waiting holds no socket, so a
// thousand dead servers cannot use up the descriptors of the host.
//
// And so many at most in one turn of the event loop. Without that, a moment of delay makes thousands of connections due
// at once, all are begun before any answer is read, that takes a second, and the next thousands are due: a process that
// has the time for all of them never gets out of it.

export interface Gate {
  /** Resolves with the way out, once there is room. */
  enter(): Promise<() => void>;
  inside(): number;
  waiting(): number;
}

/** Some milliseconds of work. */
const IN_A_TURN = 64;

export function makeGate(room: number): Gate {
  let inside = 0;
  let thisTurn = 0;
  let isTurnEnding = false;
  let head = 0;
  let queue: ((leave: () => void) => void)[] = [];

  const hasRoom = (): boolean => inside < room && thisTurn < IN_A_TURN;

  const endTurn = (): void => {
    isTurnEnding = false;
    thisTurn = 0;
    while (hasRoom() && head < queue.length) admit(queue[head++]!);
    // The front is dropped now and then, not each time: that would move all the others.
    if (head > 1000 && head > queue.length / 2) {
      queue = queue.slice(head);
      head = 0;
    }
  };

  const waitForTurn = (): void => {
    if (isTurnEnding) return;
    isTurnEnding = true;
    setImmediate(endTurn);
  };

  const admit = (resolve: (leave: () => void) => void): void => {
    inside++;
    thisTurn++;
    waitForTurn();
    let isOut = false;
    resolve(() => {
      if (isOut) return;
      isOut = true;
      inside--;
      if (head < queue.length) waitForTurn();
    });
  };

  return {
    enter: () =>
      new Promise((resolve) => {
        if (hasRoom() && head === queue.length) admit(resolve);
        else {
          queue.push(resolve);
          if (inside < room) waitForTurn();
        }
      }),
    inside: () => inside,
    waiting: () => queue.length - head,
  };
}
