// What a check of the doctor has to say. `bites`: traffic is lost, or will be; `may-bite`: only somebody who knows more
// can tell; `fine`: looked at, nothing wrong. Facts that a check needs are gathered elsewhere, so that checks are pure.

export type Severity = 'bites' | 'may-bite' | 'fine';

export interface Finding {
  readonly severity: Severity;
  /** What was looked at: "vip", "arp", "reverse-path"... */
  readonly check: string;
  /** A sentence without a full stop. */
  readonly words: string;
  /** The command that mends it, or what else to do. */
  readonly mend?: string;
}

export function bites(check: string, words: string, mend: string): Finding {
  return { severity: 'bites', check, words, mend };
}

export function mayBite(check: string, words: string, mend: string): Finding {
  return { severity: 'may-bite', check, words, mend };
}

export function fine(check: string, words: string): Finding {
  return { severity: 'fine', check, words };
}

/** The findings, or when there is none that all is well. */
export function orFine(findings: readonly Finding[], check: string, words: string): readonly Finding[] {
  return findings.length > 0 ? findings : [fine(check, words)];
}
