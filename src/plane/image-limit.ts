// The part of an image that says what services let in: each one's limits, and its allow and deny lists as ranges.

import { clientRanges, type LimitPlan } from '../config/limit.ts';
import { constants } from '../native/layout.ts';
import { numberOf } from '../net/address.ts';
import { fieldsAt, type ImageWriter } from './image-writer.ts';
import type { SectionCounts } from './plane.ts';
import type { Roster } from './roster.ts';
import { tooMany } from './slots.ts';

/** A limit counts in 1/256 of a flow a tick. */
export function rateOf(perSecond: number | null): number {
  return perSecond === null ? 0 : Math.max(1, Math.round((perSecond * 256 * 2 ** constants.tickShift) / 1e9));
}

/** A list in ACCESS. */
export interface AccessList {
  readonly first: number;
  readonly count: number;
}

export interface WrittenLimits {
  /** Parallel to the roster, where each one's limits are, counted from 1; 0: it has none. */
  readonly limits: readonly number[];
  /** The addresses of nat servers: IPv4's, IPv6's. */
  readonly natServers: readonly [AccessList, AccessList];
}

export function writeLimits(writer: ImageWriter, roster: Roster, counts: SectionCounts): WrittenLimits {
  const limited = roster.flatMap(({ config: { limit, listens } }) =>
    limit === null ? [] : [{ plan: limit, isV6: listens[0]?.vip.family === 6 }],
  );
  const ranges = limited.map(({ plan }) => clientRanges(plan));
  const servers = ([4, 6] as const).map((family) => natRanges(roster, family));
  const total = [...ranges, ...servers].reduce((sum, { length }) => sum + length, 0);
  if (total > counts.access) throw tooMany('ranges of clients and nat servers', total, counts.access);
  const view = writer.block('limits', limited.length);
  const access = writer.block('access', total);
  let first = 0;
  for (const [index, { plan, isV6 }] of limited.entries()) {
    const own = ranges[index] ?? [];
    writeLimit(view, index, plan, { first, count: own.length });
    for (const range of own) writeRange(access, first++, range, isV6);
  }
  const [natServers4, natServers6] = servers.map((own, index) => {
    const list = { first, count: own.length };
    for (const range of own) writeRange(access, first++, range, index === 1);
    return list;
  }) as [AccessList, AccessList];
  let number = 0;
  return {
    limits: roster.map(({ config }) => (config.limit === null ? 0 : ++number)),
    natServers: [natServers4, natServers6],
  };
}

interface Range {
  readonly first: bigint;
  readonly isAllowed: boolean;
}

/** Who is a nat server, as who is let in. There may be 65,536 of them, so these ranges are made in one go. */
function natRanges(roster: Roster, family: 4 | 6): readonly Range[] {
  const addresses = roster.flatMap(({ config }) => (config.method === 'nat' ? config.servers : []));
  const numbers = addresses.filter(({ address }) => address.family === family).map(({ address }) => numberOf(address));
  if (numbers.length === 0) return [];
  const ranges: Range[] = [{ first: 0n, isAllowed: false }];
  let end = -1n; // of the last range that is let in
  for (const first of numbers.toSorted((a, b) => (a < b ? -1 : Number(a > b)))) {
    if (first < end) continue;
    // The next address after the last one's: one range goes on.
    if (first === end) ranges.pop();
    else ranges.push({ first, isAllowed: true });
    end = first + 1n;
    ranges.push({ first: end, isAllowed: false });
  }
  return ranges;
}

function writeLimit(view: DataView, index: number, plan: LimitPlan, access: { first: number; count: number }): void {
  const at = fieldsAt('fl_limit', index);
  view.setUint32(at('access_first'), access.first, true);
  view.setUint32(at('access_count'), access.count, true);
  view.setUint32(at('flows'), plan.flows ?? 0, true);
  view.setUint32(at('rate'), rateOf(plan.newFlows), true);
  view.setUint32(at('client_flows'), plan.client.flows ?? 0, true);
  view.setUint32(at('client_rate'), rateOf(plan.client.newFlows), true);
  view.setUint32(
    at('client_of'),
    plan.client.by === 'network' ? constants.clientNetwork : constants.clientAddress,
    true,
  );
}

/** Words in host order, so that the data plane compares numbers. */
function writeRange(view: DataView, index: number, range: Range, isV6: boolean): void {
  const at = fieldsAt('fl_access', index);
  const words = isV6 ? 4 : 1;
  for (let word = 0; word < words; word++) {
    const bits = (range.first >> BigInt(32 * (words - 1 - word))) & 0xffff_ffffn;
    view.setUint32(at('first_host') + 4 * word, Number(bits), true);
  }
  view.setUint32(at('is_allowed'), range.isAllowed ? 1 : 0, true);
}
