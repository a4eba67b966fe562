// `sticky`: a client's server is remembered, and its next flows go there. As written, `none` or a map; what a service
// leaves out comes from `defaults`.

import { z } from 'zod';
import { formatDuration } from './duration.ts';
import type { Parsed } from './endpoint.ts';
import { dispatch, duration, grammar, must } from './leaves.ts';
import { LIMITS } from './limits.ts';
import type { Finding, Path } from './positions.ts';

export interface StickyPlan {
  /** Who is one client: an address, all of a prefix, or an address and port. */
  readonly by: 'client' | 'client-prefix' | 'client-port';
  /** So many bits of the address tell clients apart. */
  readonly length: number;
  /** Since the client last began or ended a flow. */
  readonly forMs: number;
}

type Family = 4 | 6;

interface By {
  readonly kind: StickyPlan['by'];
  readonly text: string;
  /** Of a prefix: of IPv4 clients and of IPv6 ones. */
  readonly lengths: Readonly<Record<Family, number>>;
}

const WHOLE = { 4: 32, 6: 128 } as const;
/** Shorter ones would be half the world. */
const LEAST = { 4: 8, 6: 32 } as const;
const BY_WORDS = 'client, client-prefix/24 or client-port';
const PREFIX_HINT = 'write it like client-prefix/24, or client-prefix/24/64 for IPv4 and IPv6';

/** "client", "client-port", "client-prefix/24", "client-prefix/24/64". */
function parseBy(text: string): Parsed<By> {
  if (text === 'client' || text === 'client-port') return { value: { kind: text, text, lengths: WHOLE } };
  if (!text.startsWith('client-prefix')) {
    return { problem: `unknown client "${text}"`, hint: `use ${BY_WORDS}` };
  }
  const match = /^client-prefix\/([1-9]\d{0,2})(?:\/([1-9]\d{0,2}))?$/.exec(text);
  if (match === null) return { problem: `"${text}" names no length`, hint: PREFIX_HINT };
  const [first, second = first] = match
    .slice(1, 3)
    .filter((it) => it !== undefined)
    .map(Number);
  const lengths = { 4: first ?? 0, 6: second ?? 0 };
  const isOne = match[2] === undefined;
  const fits = isOne
    ? fitsFamily(lengths, 4) || fitsFamily(lengths, 6)
    : fitsFamily(lengths, 4) && fitsFamily(lengths, 6);
  return fits
    ? { value: { kind: 'client-prefix', text, lengths } }
    : { problem: `"${text}" has a length out of range: IPv4's are ${LEAST[4]} to 32, IPv6's ${LEAST[6]} to 128` };
}

function fitsFamily(lengths: By['lengths'], family: Family): boolean {
  return lengths[family] >= LEAST[family] && lengths[family] <= WHOLE[family];
}

export const stickyMapShape = z.strictObject(
  {
    by: grammar(BY_WORDS, parseBy).optional(),
    for: duration(1000, LIMITS.durationMs).optional(),
  },
  must('none or a map'),
);

type StickyMap = z.output<typeof stickyMapShape>;
export type StickyDraft = StickyMap | 'none';

const none = grammar(
  'none or a map',
  (text): Parsed<'none'> =>
    text === 'none'
      ? { value: text }
      : { problem: `"sticky" cannot be "${text}"`, hint: 'write { by: client, for: 10m }, or none' },
);

export const stickyShape = dispatch<StickyDraft>((value) => (typeof value === 'string' ? none : stickyMapShape));

/** What a service's own words and those of `defaults` come to together. */
function mergeSticky(own: StickyDraft | undefined, general: StickyDraft | undefined): StickyDraft {
  if (own === undefined) return general ?? 'none';
  return own === 'none' || general === undefined || general === 'none' ? own : { ...general, ...own };
}

/** Null: nobody is remembered, as it is unless somebody asks. */
export function buildSticky(
  own: StickyDraft | undefined,
  general: StickyDraft | undefined,
  family: Family,
): StickyPlan | null {
  const draft = mergeSticky(own, general);
  if (draft === 'none') return null;
  const { kind = 'client', lengths = WHOLE } = draft.by ?? {};
  return { by: kind, length: lengths[family], forMs: draft.for ?? 600_000 };
}

/** A prefix's length must be one for the service's clients. */
export function checkSticky(
  own: StickyDraft | undefined,
  general: StickyDraft | undefined,
  family: Family,
  path: Path,
): Finding[] {
  const draft = mergeSticky(own, general);
  if (draft === 'none' || draft.by === undefined || fitsFamily(draft.by.lengths, family)) return [];
  const range = `${LEAST[family]} to ${WHOLE[family]}`;
  const message = `"${draft.by.text}" has no length for the service's IPv${family} clients: those are ${range}`;
  const isOwn = own !== undefined && own !== 'none' && own.by !== undefined;
  return [{ path: isOwn ? [...path, 'sticky', 'by'] : ['defaults', 'sticky', 'by'], message, hint: PREFIX_HINT }];
}

/** "client for 10m", "client-prefix/24 for 1h", "none". */
export function formatSticky(plan: StickyPlan | null): string {
  if (plan === null) return 'none';
  const { by, length, forMs } = plan;
  return `${by}${by === 'client-prefix' ? `/${length}` : ''} for ${formatDuration(forMs)}`;
}
