// `allow`, `deny` and `limits`: who may begin a flow with a service, and how many.

import { z } from 'zod';
import { numberOf, parseAddress } from '../net/address.ts';
import { formatPrefix, lastOf, networkOf, parsePrefix, type Prefix } from '../net/prefix.ts';
import type { Parsed } from './endpoint.ts';
import { choice, grammar, must, oneOrMore, wholeNumber } from './leaves.ts';
import { LIMITS } from './limits.ts';
import type { Finding, Path } from './positions.ts';

export interface LimitPlan {
  /** The longest prefix that holds a client decides; one in none of them may come when `allow` is empty. */
  readonly allow: readonly Prefix[];
  readonly deny: readonly Prefix[];
  /** Open flows of the service; null: any number. */
  readonly flows: number | null;
  /** New ones a second. */
  readonly newFlows: number | null;
  /** The same for each client, at each VIP. */
  readonly client: {
    /** An IPv4 address or IPv6 /64; or their networks, /24 and /48. */
    readonly by: 'address' | 'network';
    readonly flows: number | null;
    readonly newFlows: number | null;
  };
}

const RATE_WORDS = 'a rate like 100/s or 600/m';

/** New flows a second; fractions are fine. */
function parseRate(text: string): Parsed<number> {
  const match = /^([1-9]\d{0,7})\/(s|m)$/.exec(text);
  if (match === null) return { problem: `"${text}" is no rate`, hint: 'write it like 100/s or 600/m' };
  return { value: Number(match[1]) / (match[2] === 's' ? 1 : 60) };
}

function parseClients(text: string): Parsed<Prefix> {
  const address = parseAddress(text);
  const prefix = address === null ? parsePrefix(text) : { address, length: 8 * address.bytes.length };
  if (prefix === null)
    return { problem: `"${text}" is no prefix`, hint: 'write it like 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7' };
  const network: Prefix = { address: networkOf(prefix), length: prefix.length };
  return network.address.text === prefix.address.text
    ? { value: network }
    : { problem: `"${text}" has bits beyond its length`, hint: `write ${formatPrefix(network)}` };
}

const rate = grammar(RATE_WORDS, parseRate);
const flows = wholeNumber(1, LIMITS.flows.most);
const map = must('a map');

export const clientsShape = oneOrMore(grammar('a prefix like 192.0.2.0/24, or a list of them', parseClients));

export const limitsShape = z.strictObject(
  {
    flows: flows.optional(),
    'new-flows': rate.optional(),
    client: z
      .strictObject(
        {
          by: choice('client', ['address', 'network']).optional(),
          flows: flows.optional(),
          'new-flows': rate.optional(),
        },
        map,
      )
      .optional(),
  },
  map,
);

export interface LimitDraft {
  readonly allow?: readonly Prefix[] | undefined;
  readonly deny?: readonly Prefix[] | undefined;
  readonly limits?: z.output<typeof limitsShape> | undefined;
}

/** Null: everybody, and any number. */
export function buildLimit({ allow = [], deny = [], limits = {} }: LimitDraft): LimitPlan | null {
  const { client = {} } = limits;
  const plan: LimitPlan = {
    allow,
    deny,
    flows: limits.flows ?? null,
    newFlows: limits['new-flows'] ?? null,
    client: { by: client.by ?? 'address', flows: client.flows ?? null, newFlows: client['new-flows'] ?? null },
  };
  const numbers = [plan.flows, plan.newFlows, plan.client.flows, plan.client.newFlows];
  return allow.length + deny.length === 0 && numbers.every((it) => it === null) ? null : plan;
}

/** What is odd in a service's lists. */
export function checkLimit({ allow = [], deny = [], limits }: LimitDraft, family: 4 | 6, path: Path): Finding[] {
  const findings: Finding[] = [];
  for (const [key, list] of Object.entries({ allow, deny })) {
    const strange = list.find(({ address }) => address.family !== family);
    if (strange !== undefined) {
      const message = `"${key}" has ${formatPrefix(strange)}, and the service's clients have IPv${family} addresses`;
      findings.push({ path: [...path, key], message });
    }
    if (list.length > LIMITS.clientPrefixes) {
      const message = `"${key}" has ${list.length} prefixes; ${LIMITS.clientPrefixes} are the most`;
      findings.push({ path: [...path, key], message });
    }
  }
  const denied = new Set(deny.map(formatPrefix));
  const both = allow.find((prefix) => denied.has(formatPrefix(prefix)));
  if (both !== undefined) {
    const message = `${formatPrefix(both)} is in "allow" and in "deny"; of two prefixes the longer one decides`;
    findings.push({ path: [...path, 'deny'], message });
  }
  if (limits?.client !== undefined && limits.client.flows === undefined && limits.client['new-flows'] === undefined) {
    const message = '"client" limits nothing without "flows" or "new-flows"';
    findings.push({ path: [...path, 'limits', 'client'], on: 'key', message });
  }
  return findings;
}

/** The lists as ranges in ascending order, the first of which begins with the lowest address. Empty: everybody may. */
export function clientRanges({
  allow,
  deny,
}: Pick<LimitPlan, 'allow' | 'deny'>): { first: bigint; isAllowed: boolean }[] {
  if (allow.length + deny.length === 0) return [];
  const nested = [
    ...allow.map((prefix) => ({ prefix, isAllowed: true })),
    ...deny.map((prefix) => ({ prefix, isAllowed: false })),
  ]
    .map(({ prefix, isAllowed }) => ({ first: numberOf(prefix.address), last: numberOf(lastOf(prefix)), isAllowed }))
    .toSorted((a, b) =>
      a.first === b.first ? Number(b.last > a.last) - Number(b.last < a.last) : a.first < b.first ? -1 : 1,
    );
  const ranges: { first: bigint; isAllowed: boolean }[] = [];
  const from = (first: bigint, isAllowed: boolean) => {
    if (ranges.at(-1)?.first === first) ranges.pop();
    if (ranges.at(-1)?.isAllowed !== isAllowed) ranges.push({ first, isAllowed });
  };
  const everybody = { last: null as bigint | null, isAllowed: allow.length === 0 };
  const open = [everybody];
  const closeBefore = (first: bigint | null) => {
    for (let top = open.at(-1); top !== undefined && top.last !== null; top = open.at(-1)) {
      if (first !== null && top.last >= first) return;
      open.pop();
      from(top.last + 1n, open.at(-1)?.isAllowed ?? false);
    }
  };
  from(0n, everybody.isAllowed);
  for (const { first, last, isAllowed } of nested) {
    closeBefore(first);
    open.push({ last, isAllowed });
    from(first, isAllowed);
  }
  closeBefore(null);
  return ranges;
}

function formatRate(perSecond: number): string {
  return Number.isInteger(perSecond) ? `${perSecond}/s` : `${Math.round(perSecond * 60)}/m`;
}

/** "flows 1000, new-flows 100/s, client (address) flows 10, allow 10.0.0.0/8"; "none". */
export function formatLimit(plan: LimitPlan | null): string {
  if (plan === null) return 'none';
  const { by } = plan.client;
  const numbers = (of: { flows: number | null; newFlows: number | null }): string[] => [
    ...(of.flows === null ? [] : [`flows ${of.flows}`]),
    ...(of.newFlows === null ? [] : [`new-flows ${formatRate(of.newFlows)}`]),
  ];
  const client = numbers(plan.client);
  return [
    ...numbers(plan),
    ...(client.length === 0 ? [] : [`client (${by}) ${client.join(' ')}`]),
    ...(plan.allow.length === 0 ? [] : [`allow ${plan.allow.map(formatPrefix).join(' ')}`]),
    ...(plan.deny.length === 0 ? [] : [`deny ${plan.deny.map(formatPrefix).join(' ')}`]),
  ].join(', ');
}
