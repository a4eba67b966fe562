// Links that carry less than 1500 octets in the middle of a path, and what hosts at its ends learn of them.
import type { Host } from './host.ts';

/** From now on a router takes packets to a network that it is in for too big above `mtu` octets; what comes from there it takes whole. */
export async function narrow(router: Host, network: string, device: string, mtu: number): Promise<void> {
  if (network.includes(':')) {
    await router.run(`ip -6 route change ${network} dev ${device} proto kernel metric 256 mtu ${mtu}`);
    return;
  }
  const [route] = JSON.parse(await router.run(`ip -j route show ${network} dev ${device}`)) as { prefsrc: string }[];
  // Forwarding goes by a route's MTU only if that is locked.
  await router.run(
    `ip route replace ${network} dev ${device} proto kernel scope link src ${route?.prefsrc} mtu lock ${mtu}`,
  );
}

/** The MTU of the path to an address, as routers have told this host; null: nothing smaller than its link's. */
export async function learnedMtu(host: Host, address: string): Promise<number | null> {
  interface Route {
    metrics?: { mtu?: number }[];
  }
  const [route] = JSON.parse(await host.run(`ip -j route get ${address}`)) as Route[];
  return route?.metrics?.[0]?.mtu ?? null;
}

export async function forgetMtus(...hosts: Host[]): Promise<void> {
  await Promise.all(hosts.map((host) => host.run('ip route flush cache && ip -6 route flush cache')));
}
