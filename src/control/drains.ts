// When the time of a drained server is over: who decides then ends its flows. Here is only told that it is so, once, however
// early or late a timer runs, and whatever else is applied at that moment.

import type { Clock, Timer } from '../base/clock.ts';
import type { Overrides } from './overrides.ts';

export interface DrainsOptions {
  readonly clock: Clock;
  readonly overrides: () => Overrides;
  /** The time of these servers, by name, is over. */
  readonly onOver: (servers: readonly string[]) => void;
}

export interface Drains {
  /** Looks at what overrides() says from now on; called after each commit. */
  follow(): void;
  stop(): void;
}

export function makeDrains({ clock, overrides, onOver }: DrainsOptions): Drains {
  let awaited: ReadonlyMap<string, number> = new Map();
  let timer: Timer | null = null;

  const stop = (): void => {
    timer?.cancel();
    timer = null;
  };

  const follow = (): void => {
    stop();
    const nowMs = clock.nowMs();
    const ends = new Map(
      [...overrides()].flatMap(([server, { endsAtMs }]) =>
        endsAtMs === undefined ? [] : [[server, endsAtMs] as const],
      ),
    );
    const over = [...awaited].filter(([server, atMs]) => atMs <= nowMs && ends.get(server) === atMs);
    awaited = new Map([...ends].filter(([, atMs]) => atMs > nowMs));
    if (awaited.size > 0) timer = clock.setTimer(Math.min(...awaited.values()) - nowMs, follow);
    if (over.length > 0) onOver(over.map(([server]) => server));
  };

  return { follow, stop };
}
