// The shape of `check`: one check, a list of which all must be good, or { any: [...] } and { all: [...] }. Which key
// belongs to which kind is in KEYS_OF, and said in build-check.ts, where the kind is known.

import { z } from 'zod';
import { CHECK_PATHS, CHECK_TYPES, type CheckType, DNS_RCODES, DNS_RECORDS, type StatusRange } from './check.ts';
import type { Parsed } from './endpoint.ts';
import { choice, dispatch, duration, grammar, must, oneOrMore, textLike, wholeNumber } from './leaves.ts';
import { LIMITS } from './limits.ts';
import { parsePattern } from './pattern.ts';

const map = must('a map');
const pattern = grammar('a text, or /a regular expression/', parsePattern);
const yesOrNo = z.boolean(must('true or false'));
const absolutePath = textLike(/^\/[^\0]{1,4000}$/, 'an absolute path');
const hostName = textLike(/^[!-~]{1,255}$/, 'a host name, with or without a port');
const octets = z.string(must('a text')).max(4096, must('a text of at most 4096 characters'));

export const commandLine = z
  .array(z.string(must('a text')), must('a list: the program and its arguments'))
  .min(1)
  .max(64, must('a list of at most 64'));

export const oneCheckShape = z.strictObject(
  {
    type: choice('check type', CHECK_TYPES).optional(),
    port: wholeNumber(1, LIMITS.port).optional(),
    target: choice('target', CHECK_PATHS).optional(),
    every: duration(50, LIMITS.durationMs).optional(),
    'fast-every': duration(50, LIMITS.durationMs).optional(),
    timeout: duration(10, LIMITS.durationMs).optional(),
    rise: wholeNumber(1, 255).optional(),
    fall: wholeNumber(1, 255).optional(),
    method: textLike(/^[A-Z]{3,20}$/, 'a method like GET, HEAD or OPTIONS').optional(),
    path: textLike(/^\/[!-~]{0,2000}$/, 'a path like /healthz').optional(),
    host: hostName.optional(),
    headers: z
      .record(
        z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/),
        textLike(/^[\t -~]{0,2000}$/, 'a text of one line'),
        must('a map of names and texts'),
      )
      .optional(),
    status: oneOrMore(
      z.preprocess(
        (value) => (typeof value === 'number' ? String(value) : value),
        grammar('a status like 200, or a range like 200-299', parseStatus),
      ),
    ).optional(),
    body: pattern.optional(),
    tls: yesOrNo.optional(),
    sni: textLike(/^[0-9A-Za-z._-]{1,253}$/, 'a host name').optional(),
    verify: yesOrNo.optional(),
    ca: absolutePath.optional(),
    'warn-days': wholeNumber(0, 365).optional(),
    send: octets.optional(),
    expect: pattern.optional(),
    name: textLike(/^(?:\.|[!-~]{1,253})$/, 'a domain name').optional(),
    record: choice('record', DNS_RECORDS).optional(),
    rcode: oneOrMore(choice('rcode', DNS_RCODES)).optional(),
    answer: textLike(/^[!-~]{1,253}$/, 'an address or a name').optional(),
    command: commandLine.optional(),
    reports: yesOrNo.optional(),
  },
  map,
);

export type OneCheckDraft = z.output<typeof oneCheckShape>;
export type CheckKey = keyof typeof oneCheckShape.shape;

const COMMON: readonly CheckKey[] = ['type', 'target', 'every', 'fast-every', 'timeout', 'rise', 'fall'];
const TLS: readonly CheckKey[] = ['tls', 'sni', 'verify', 'ca', 'warn-days'];
const HTTP: readonly CheckKey[] = ['port', 'method', 'path', 'host', 'headers', 'status', 'body', ...TLS];

/** Which keys a check of each type may have. */
export const KEYS_OF: Readonly<Record<CheckType, readonly CheckKey[]>> = {
  tcp: [...COMMON, 'port'],
  'tcp-half-open': [...COMMON, 'port'],
  icmp: COMMON,
  http: [...COMMON, ...HTTP],
  https: [...COMMON, ...HTTP],
  content: [...COMMON, 'port', 'send', 'expect', ...TLS],
  udp: [...COMMON, 'port', 'send', 'expect'],
  dns: [...COMMON, 'port', 'name', 'record', 'rcode', 'answer'],
  exec: [...COMMON, 'port', 'command', 'reports'],
  agent: [...COMMON, 'port', 'send'],
};

const some = z.array(oneCheckShape, must('a list of checks')).min(1).max(16, must('a list of at most 16 checks'));
const allShape = z.strictObject({ all: some }, map).transform(({ all }) => ({ mode: 'all' as const, checks: all }));
const anyShape = z.strictObject({ any: some }, map).transform(({ any }) => ({ mode: 'any' as const, checks: any }));

export type CheckDraft =
  | 'none'
  | { readonly mode: 'one' | 'list' | 'all' | 'any'; readonly checks: readonly OneCheckDraft[] };

export const checkShape = dispatch<CheckDraft>((value) => {
  if (Array.isArray(value)) return some.transform((checks) => ({ mode: 'list' as const, checks }));
  if (typeof value === 'object' && value !== null && 'any' in value) return anyShape;
  if (typeof value === 'object' && value !== null && 'all' in value) return allShape;
  if (value === 'none') return z.literal('none');
  const one = oneCheckShape.transform((check) => ({ mode: 'one' as const, checks: [check] }));
  return typeof value === 'object' && value !== null ? one : z.never(must('a map, a list of checks, or none'));
});

function parseStatus(text: string): Parsed<readonly StatusRange[]> {
  const ranges: StatusRange[] = [];
  for (const part of text.split(',')) {
    const match = /^\s*([1-5]\d\d)(?:-([1-5]\d\d))?\s*$/.exec(part);
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (match === null) {
      return { problem: `"${part.trim()}" is no status`, hint: 'write it like 200, 200-299 or "200-299,401"' };
    }
    if (last < first) return { problem: `status ${part.trim()} runs backwards` };
    ranges.push({ first, last });
  }
  return { value: ranges };
}
