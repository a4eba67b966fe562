// What several checks of one server say together. Pure.
//
//            all must be good              any one will do
//     down   when any is down              when all are
//     up     when all are                  when any is
//     between them: unknown before doubted before the rest, for nobody is sure then

import type { MemberState } from './check.ts';

/** The states in the order in which one of them decides for all. */
const ALL: readonly MemberState[] = ['down', 'unknown', 'doubted', 'up'];
const ANY: readonly MemberState[] = ['up', 'doubted', 'unknown', 'down'];

export interface Combined {
  readonly state: MemberState;
  /** Which of the checks decided, as an index. */
  readonly decidedBy: number;
}

/** `states` holds at least one. */
export function combine(mode: 'all' | 'any', states: readonly MemberState[]): Combined {
  for (const state of mode === 'all' ? ALL : ANY) {
    const decidedBy = states.indexOf(state);
    if (decidedBy !== -1) return { state, decidedBy };
  }
  return { state: 'unknown', decidedBy: 0 };
}
