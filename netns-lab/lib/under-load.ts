// Load that lasts as long as something is done to the balancer, and must not notice.
import type { Topology } from '../topologies/topology.ts';
import { assertNoFailure } from './proof.ts';
import { startLoad, urlOf } from './traffic.ts';
import { waitFor } from './wait-for.ts';

const everyRequestAnew = "-H 'Connection: close'";

/**
 * Two kinds of load at once: connections that stay open, and a new connection for each request. It runs before the
 * change begins, and every server is asked again after it is done.
 */
export async function underLoad(net: Topology, change: () => Promise<void>): Promise<void> {
  const url = urlOf(net.vip[4]);
  const loads = await Promise.all([startLoad(net.client, url, 8), startLoad(net.client, url, 4, everyRequestAnew)]);
  await reachesEveryServer(net, 'before the change');
  await change();
  await reachesEveryServer(net, 'after the change');
  const [kept, renewed] = await Promise.all(loads.map((load) => load.end()));
  if (kept && renewed) {
    assertNoFailure(kept, 'connections kept open');
    assertNoFailure(renewed, 'a new connection for each request');
  }
}

/** Of connections that stay open and of new ones there are enough to go round. */
async function reachesEveryServer(net: Topology, when: string): Promise<void> {
  const before = await Promise.all(net.servers.map((it) => it.requests()));
  const served = async () => {
    const now = await Promise.all(net.servers.map((it) => it.requests()));
    return now.map((count, index) => count - (before[index] ?? 0));
  };
  await waitFor(`load to reach every server ${when}`, served, (counts) => counts.every((count) => count > 200));
}
