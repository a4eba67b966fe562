// "ready" must occur as it stands; "/ready|ok/i" is a regular expression, as JavaScript has them.

import type { Pattern } from './check.ts';
import type { Parsed } from './endpoint.ts';

const WRITTEN = /^\/(?<source>.+)\/(?<flags>[ims]{0,3})$/s;

export function parsePattern(text: string): Parsed<Pattern> {
  if (text === '')
    return { problem: 'an empty text is in every answer', hint: 'write what must occur, or /a pattern/' };
  if (!WRITTEN.test(text)) return { value: { written: text, isRegExp: false } };
  try {
    compile(text);
    return { value: { written: text, isRegExp: true } };
  } catch (error) {
    return { problem: `${text} is no regular expression: ${(error as Error).message.replace(/^.*: /s, '')}` };
  }
}

function compile(written: string): RegExp {
  const { source = '', flags = '' } = WRITTEN.exec(written)?.groups ?? {};
  return new RegExp(source, flags);
}

/** A question to be asked again and again, made once. */
export function matcherOf({ written, isRegExp }: Pattern): (text: string) => boolean {
  if (!isRegExp) return (text) => text.includes(written);
  const expression = compile(written);
  return (text) => expression.test(text);
}

/** For messages: `"ready"` or `/ready/`. */
export function formatPattern({ written, isRegExp }: Pattern): string {
  return isRegExp ? written : JSON.stringify(written);
}
