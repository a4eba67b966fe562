// Says when a service goes compute-only, and when it does no more. The data plane decides that by itself; this only looks.

import type { Clock, Timer } from '../base/clock.ts';
import type { NewEvent } from './events.ts';

export interface FloodedService {
  readonly name: string;
  readonly most: number;
  readonly slot: number;
}

export interface FloodsOptions {
  readonly clock: Clock;
  /** Those that can be. */
  readonly services: () => readonly FloodedService[];
  readonly isComputeOnly: (slot: number) => boolean;
  readonly onEvent: (event: NewEvent) => void;
}

export interface Floods {
  /** Looks at what services() says from now on; called after each commit. */
  follow(): void;
  stop(): void;
}

const EVERY_MS = 250;

export function makeFloods({ clock, services, isComputeOnly, onEvent }: FloodsOptions): Floods {
  let watched: readonly FloodedService[] = [];
  let flooded: ReadonlySet<string> = new Set();
  let timer: Timer | null = null;

  const look = (): void => {
    const now = watched.filter(({ slot }) => isComputeOnly(slot));
    for (const { name, most } of now) {
      if (flooded.has(name)) continue;
      const reason = `${most} SYNs without an answer: SYNs go on by the hash, and their ACK enters the flow`;
      onEvent({ kind: 'service-compute-only', service: name, server: null, reason });
    }
    const names = new Set(now.map(({ name }) => name));
    for (const name of flooded) {
      if (names.has(name)) continue;
      const reason = 'so few SYNs are without an answer again that each enters its flow';
      onEvent({ kind: 'service-compute-only-over', service: name, server: null, reason });
    }
    flooded = names;
  };

  const lookOn = (): void => {
    timer = null;
    look();
    if (watched.length > 0) timer = clock.setTimer(EVERY_MS, lookOn);
  };

  return {
    follow: () => {
      watched = services();
      if (watched.length > 0) timer ??= clock.setTimer(EVERY_MS, lookOn);
      else look();
    },
    stop: () => {
      timer?.cancel();
      timer = null;
    },
  };
}
