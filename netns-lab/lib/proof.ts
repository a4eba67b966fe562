// Assertions that many scenarios need, worded so that a failure says what was expected of whom.
import { deepEqual, equal } from 'node:assert/strict';
import type { Load, Tally } from './traffic.ts';

export function assertShares(tally: Tally, expected: Record<string, number>, what: string): void {
  equal(tally.errors, 0, `${what}: no request may fail`);
  deepEqual(sorted(tally.shares), sorted(expected), `${what}: each server's share`);
}

/** Every one of `count` was answered, by exactly these servers. */
export function assertServed(tally: Tally, count: number, servers: readonly string[], what: string): void {
  equal(tally.errors, 0, `${what}: no request may fail`);
  deepEqual(Object.keys(tally.shares).toSorted(), servers.toSorted(), `${what}: who answers`);
  const answers = Object.values(tally.shares).reduce((sum, it) => sum + it, 0);
  equal(answers, count, `${what}: each request has one answer`);
}

export function assertNoFailure(load: Load, what: string): void {
  equal(load.failed, 0, `${what}: no request may fail under load\n${load.text}`);
  equal(load.requests > 0, true, `${what}: there was load\n${load.text}`);
}

function sorted(shares: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(shares).toSorted(([a], [b]) => a.localeCompare(b)));
}
