// What happened, in order: state changes with their reasons, what operators did, reloads. The last thousand are kept;
// whoever follows hears of each as it happens.

import { randomUUID } from 'node:crypto';

export type EventKind =
  | 'server-up'
  | 'server-down'
  | 'server-drained'
  | 'server-drain-over'
  | 'server-maintenance'
  | 'server-enabled'
  | 'server-weight'
  | 'server-advice'
  | 'server-warning'
  | 'server-ejected'
  | 'server-returned'
  | 'server-suspect'
  | 'service-up'
  | 'service-down'
  | 'service-compute-only'
  | 'service-compute-only-over'
  | 'backup-used'
  | 'backup-rests'
  | 'panic'
  | 'panic-over'
  | 'reloaded';

export interface HappenedEvent {
  /** Unique for all time: whoever is told twice can see it. */
  readonly id: string;
  /** ISO 8601. */
  readonly at: string;
  readonly kind: EventKind;
  readonly service: string | null;
  readonly server: string | null;
  /** For people: "connection refused". */
  readonly reason: string;
}

export type NewEvent = Pick<HappenedEvent, 'kind' | 'service' | 'server' | 'reason'>;

export interface Events {
  add(event: NewEvent): void;
  /** The latest, oldest first. */
  recent(limit?: number): readonly HappenedEvent[];
  /** Returns how to end it. */
  follow(listener: (event: HappenedEvent) => void): () => void;
}

const KEPT = 1000;

export function makeEvents(): Events {
  const run = randomUUID().slice(0, 8);
  const listeners = new Set<(event: HappenedEvent) => void>();
  let kept: HappenedEvent[] = [];
  let count = 0;
  return {
    add: (event) => {
      const happened = { id: `${run}-${++count}`, at: new Date().toISOString(), ...event };
      kept.push(happened);
      // Cut now and then, not each time.
      if (kept.length > 2 * KEPT) kept = kept.slice(-KEPT);
      for (const listener of listeners) listener(happened);
    },
    recent: (limit = KEPT) => kept.slice(Math.max(0, kept.length - Math.min(limit, KEPT))),
    follow: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** "web/web-1" → the event's service and server. */
export function partsOf(key: string): { service: string; server: string } {
  const [service = '', server = ''] = key.split('/');
  return { service, server };
}
