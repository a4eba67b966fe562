// Load that lasts as long as something is done to the balancer, and must not notice.
import type { Topology } from '../topologies/topology.ts';
import { assertNoFailure } from './proof.ts';
import { startLoad, urlOf } from './traffic.ts';
import { waitFor } from './wait-for.ts';

const everyRequestAnew = "-H 'Connection: close'";

/**
 * Two kinds of load at once on each URL: connections that stay open, and a new connection for each request. It runs
 * before the change begins, and every server is asked again after it is done.
 */
export async function underLoad(
  net: Topology,
  change: () => Promise<void>,
  urls: readonly string[] = [urlOf(net.vip[4])],
): Promise<void> {
  const loads = await Promise.all(
    urls.flatMap((url) => [
      startLoad(net.client, url, 8).then((load) => ({ load, what: `connections kept open to ${url}` })),
      startLoad(net.client, url, 4, everyRequestAnew).then((load) => ({
        load,
        what: `a new connection for each request to ${url}`,
      })),
    ]),
  );
  await reachesEveryServer(net, 'before the change');
  await change();
  await reachesEveryServer(net, 'after the change');
  const ended = await Promise.all(loads.map(async ({ load, what }) => ({ load: await load.end(), what })));
  for (const { load, what } of ended) assertNoFailure(load, what);
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
