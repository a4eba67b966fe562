// A start that has to fail in words that an operator can use.
import { equal, match } from 'node:assert/strict';
import type { Topology } from '../topologies/topology.ts';
import { command } from './fairlead.ts';

/** Runs `fairlead up` that must end by itself, with this code and these words. */
export async function assertRefused(
  net: Topology,
  what: string,
  code: number,
  words: RegExp,
  line?: string,
): Promise<void> {
  const { balancer, fairlead } = net;
  const result = await balancer.attempt(line ?? `${command} up -c ${fairlead.configFile}`);
  const said = result.stdout + result.stderr;
  match(said, words, `${what} is named`);
  equal(result.code, code, `${what}: exit code\n${said}`);
  equal(/\bat .*\.ts:\d+:\d+/.test(said), false, `${what}: a message, not a stack trace\n${said}`);
}
