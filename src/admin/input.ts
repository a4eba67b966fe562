// What a request may say: zod shapes for parameters, queries and bodies, and errors in words for whatever else it says.

import { z } from 'zod';
import { FairleadError } from '../base/errors.ts';
import { parseServerEndpoint } from '../config/endpoint.ts';
import { LIMITS } from '../config/limits.ts';
import type { EndpointFilter } from '../plane/flow-reader.ts';

const name = z.string().min(1).max(63);

export const serverParameters = z.strictObject({ service: name, server: name });

export const serversQuery = z.strictObject({ service: name.optional() });

export const weightBody = z.strictObject({
  weight: z.int('weight must be a whole number').min(0, 'weight must be 0 or more').max(LIMITS.weight),
});

export const drainBody = z.strictObject({
  deadlineMs: z
    .int('deadlineMs must be a whole number')
    .min(0, 'deadlineMs must be 0 or more')
    .max(LIMITS.durationMs)
    .optional(),
});

export const handoverBody = z.strictObject({
  successor: z.string().startsWith('/', 'successor must be a path').max(107),
});

const endpoint = z.string().transform((text, context): EndpointFilter => {
  const parsed = parseServerEndpoint(text);
  if ('value' in parsed) return parsed.value;
  context.addIssue({ code: 'custom', message: parsed.problem });
  return z.NEVER;
});

export const flowsQuery = z.strictObject({
  client: endpoint.optional(),
  server: endpoint.optional(),
  service: name.optional(),
  limit: z.coerce.number('limit must be a number').int().min(1, 'limit must be 1 or more').optional(),
});

export const eventsQuery = z.strictObject({
  follow: z.literal('true', 'follow must be true').optional(),
  limit: z.coerce.number('limit must be a number').int().min(0, 'limit must be 0 or more').optional(),
});

/** Throws `usage` in words. */
export function parseInput<T>(shape: z.ZodType<T>, value: unknown): T {
  const parsed = shape.safeParse(value ?? {});
  if (parsed.success) return parsed.data;
  const words = parsed.error.issues.map(({ path, message }) =>
    path.length === 0 || message.includes(String(path.at(-1))) ? message : `${path.join('.')}: ${message}`,
  );
  throw new FairleadError('usage', words.join('; '));
}
