// Which program may run on which core. Packets in software are worked on where their sender runs, so a figure means
// little without it.

import { readFileSync } from 'node:fs';
import { execute } from '../../netns-lab/lib/command.ts';
import type { Host } from '../../netns-lab/lib/host.ts';
import type { Path } from './paths.ts';

/**
 * one-core: everything. own-core: the balancer's programs on the second core, all else on the first; what the kernel does
 * of the balancing is done by the sender's core. two-cores: everything where the scheduler likes.
 */
export type Placement = 'one-core' | 'own-core' | 'two-cores';

/** The first two cores this process may use, "0" and "1" on most machines. */
export function coresToUse(): [string, string] {
  const list = /Cpus_allowed_list:\s*(\S+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const cores = list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => String(first + index));
  });
  return [cores[0] ?? '0', cores[1] ?? cores[0] ?? '0'];
}

export function coresOf(placement: Placement): { balancer: string; others: string } {
  const [first, second] = coresToUse();
  if (placement === 'two-cores') return { balancer: `${first},${second}`, others: `${first},${second}` };
  return { balancer: placement === 'own-core' ? second : first, others: first };
}

async function pin(host: Host, cores: string): Promise<void> {
  const pids = await execute(['ip', 'netns', 'pids', host.namespace], 'ip netns pids');
  const all = pids.stdout.split('\n').filter(Boolean);
  if (all.length > 0) await host.run(all.map((pid) => `taskset -acp ${cores} ${pid} >/dev/null`).join(' && '));
}

/** Moves what runs in a path's network, and gives what to put before commands on its client. */
export async function place({ net }: Path, placement: Placement): Promise<string> {
  const { balancer, others } = coresOf(placement);
  await pin(net.server, others);
  await pin(net.balancer, balancer);
  return `taskset -c ${others}`;
}
