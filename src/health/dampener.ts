// Turns single check results into a state that does not flap. Pure: results in, state out.
//
//              first result ok                      `fall` failures in a row
//     unknown ────────────────▶ up ─────────────────────────────────────────▶ down
//        │                       ▲                                            │ ▲
//        │                       └────────────────────────────────────────────┘ │
//        │                           `rise` successes in a row                  │
//        └──────────────────────────────────────────────────────────────────────┘
//                              first result failed
//
// A server starts as unknown and gets no flows, like one that is down; but its first check runs at once and its result
// decides alone, so that a balancer that starts is useful within milliseconds, and never sends to a server unseen.

export type HealthState = 'unknown' | 'up' | 'down';

export interface Damping {
  readonly state: HealthState;
  /** How many of the latest results in a row contradict the state. */
  readonly against: number;
}

export interface DampingLimits {
  /** Successes in a row that bring a server up; at least 1. */
  readonly rise: number;
  /** Failures in a row that take it down; at least 1. */
  readonly fall: number;
}

export const UNKNOWN: Damping = { state: 'unknown', against: 0 };

/** The damping after one more result. */
export function dampen(damping: Damping, isOk: boolean, limits: DampingLimits): Damping {
  const claimed = isOk ? 'up' : 'down';
  if (damping.state === claimed) return { state: claimed, against: 0 };
  const needed = damping.state === 'unknown' ? 1 : isOk ? limits.rise : limits.fall;
  const against = damping.against + 1;
  return against >= needed ? { state: claimed, against: 0 } : { state: damping.state, against };
}
