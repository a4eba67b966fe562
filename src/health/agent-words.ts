// The line by which a server, or a program that looks at it, speaks of its own use, as HAProxy's agents do: words and a
// percentage in any order, separated by blanks or commas, a comment after "#".
//
//     up 75%        drain        maint # backup running        down # disk full        ready 100%

import type { Advice } from './probe.ts';

export interface AgentWords {
  readonly isUp: boolean;
  readonly advice: Advice;
  /** The line itself, for reasons. */
  readonly said: string;
}

const DOWN = ['down', 'fail', 'failed', 'stopped'];
const READY = ['up', 'ready'];

/** Null when the line says nothing that is understood. */
export function parseAgentWords(line: string): AgentWords | null {
  const said = line.trim().slice(0, 100);
  const [words = ''] = said.split('#');
  let isUnderstood = false;
  let isUp = true;
  let weight: number | null = null;
  let admin: Advice['admin'] = null;
  for (const word of words
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((it) => it !== '')) {
    const percent = /^(\d{1,3})%$/.exec(word)?.[1];
    if (percent !== undefined) weight = Number(percent);
    else if (DOWN.includes(word)) isUp = false;
    else if (word === 'drain') admin = 'drain';
    else if (word === 'maint') admin = 'maintenance';
    else if (READY.includes(word)) admin ??= 'ready';
    else continue;
    isUnderstood = true;
  }
  return isUnderstood ? { isUp, advice: { weight, admin }, said } : null;
}
