// `half-open`: with how many unanswered SYNs a service does without flows for SYNs.

import { z } from 'zod';
import type { ServiceConfig } from './config.ts';
import { must, wholeNumber } from './leaves.ts';
import { LIMITS } from './limits.ts';
import type { Finding, Path } from './positions.ts';

/** `auto`: by the size of the flow table. */
export type HalfOpen = number | 'auto' | 'off';

/** Of the flow table, by default, and of full-nat's ports: half-open flows of one service never crowd out those of all. */
const SHARE = 1 / 8;
/** By which full-nat leaves from one address to one server. */
const PORTS = 64_512;
const WORDS = `a whole number from 1 to ${LIMITS.flows.most}, or off`;

export const halfOpenShape = z.union([z.literal('off', must(WORDS)), wholeNumber(1, LIMITS.flows.most)], must(WORDS));

const isOfTcp = ({ listens }: ServiceConfig): boolean => listens.some(({ protocol }) => protocol === 'tcp');

/** The number of unanswered SYNs, as the data plane has it; null: the service never does without. */
export function halfOpenMost(service: ServiceConfig, flows: number): number | null {
  const { halfOpen } = service;
  if (halfOpen === 'off' || !isOfTcp(service)) return null;
  return halfOpen === 'auto' ? Math.max(1, Math.floor(Math.min(flows, portsOf(service)) * SHARE)) : halfOpen;
}

function portsOf({ method, servers, sources }: ServiceConfig): number {
  return method === 'full-nat' ? servers.length * Math.max(1, sources.length) * PORTS : Infinity;
}

/** One that can have no effect. */
export function checkHalfOpen(written: unknown, service: ServiceConfig, path: Path): Finding[] {
  if (written === undefined || isOfTcp(service)) return [];
  const message = '"half-open" has no effect on a service without TCP, which has no SYNs';
  return [{ path: [...path, 'half-open'], on: 'key', message }];
}
