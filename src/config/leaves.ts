// The leaves of the configuration's shape: zod schemas for one value each. A message that starts with "must" is a
// predicate, the key's name is put before it; any other message is a whole sentence.

import { z } from 'zod';
import type { Parsed } from './endpoint.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { didYouMean } from './suggest.ts';

/** Schema options that give the same predicate to every way of being wrong. */
export function must(what: string): { error: () => string } {
  return { error: () => `must be ${what}` };
}

export function wholeNumber(least: number, most: number) {
  const rule = must(`a whole number from ${least} to ${most}`);
  return z.int(rule).gte(least, rule).lte(most, rule);
}

/** A text in one of the small grammars of endpoint.ts, as its value. */
export function grammar<T>(what: string, parse: (text: string) => Parsed<T>) {
  return z.string(must(what)).transform((text, context): T => {
    const parsed = parse(text);
    if ('value' in parsed) return parsed.value;
    context.addIssue({ code: 'custom', message: parsed.problem, params: { hint: parsed.hint } });
    return z.NEVER;
  });
}

/** A text that matches `pattern`; `what` says in words what does. */
export function textLike(pattern: RegExp, what: string) {
  return z.string(must(what)).regex(pattern, must(what));
}

export function duration(leastMs: number, mostMs: number) {
  const range = `from ${formatDuration(leastMs)} to ${formatDuration(mostMs)}`;
  return grammar('a duration like 500ms, 2s, 10m or 1h', (text) => {
    const ms = parseDuration(text);
    if (ms === null) return { problem: `"${text}" is no duration`, hint: 'write it like 500ms, 2s, 10m or 1h' };
    return ms < leastMs || ms > mostMs ? { problem: `duration ${text} is out of range, ${range}` } : { value: ms };
  });
}

/**
 * One of a few words. `later` holds words of the design that this version does not know yet: whoever writes one of them
 * has not mistyped it.
 */
export function choice<const T extends string>(kind: string, words: readonly T[], later: readonly string[] = []) {
  const list = words.length === 1 ? String(words[0]) : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
  return grammar(list, (text): Parsed<T> => {
    const word = words.find((candidate) => candidate === text);
    if (word !== undefined) return { value: word };
    if (later.includes(text)) return { problem: `${kind} "${text}" is not in this version`, hint: `use ${list}` };
    return { problem: `unknown ${kind} "${text}"`, hint: didYouMean(text, words) ?? `use ${list}` };
  });
}

/** A value or a list of them, as a list. */
export function oneOrMore<T extends z.ZodType>(item: T) {
  return z.preprocess((value) => (value === undefined || Array.isArray(value) ? value : [value]), z.array(item).min(1));
}

/**
 * The schema that `choose` names for what was written. A union would try all of them and tell of all that fail; this
 * tells of the one that was meant.
 */
export function dispatch<T>(choose: (value: unknown) => z.ZodType<T>) {
  return z.unknown().transform((value, context): T => {
    const parsed = choose(value).safeParse(value, { reportInput: true });
    if (parsed.success) return parsed.data;
    context.issues.push(...(parsed.error.issues as typeof context.issues));
    return z.NEVER;
  });
}
