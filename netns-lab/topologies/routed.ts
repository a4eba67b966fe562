// Routed: the servers stand behind a router, in a network of their own, and have the VIPs on lo. What the balancer sends
// them must be wrapped (l3-dsr); they answer clients straight through the router.
import type { Lab } from '../lib/lab.ts';
import { type Net, populate, type Topology, type TopologyOptions, withOneArm } from './topology.ts';

export const picture = `
  client   .100 ─┐ 198.51.100.0/24   ┌────────┐ .254   10.0.1.0/24      .2 balancer
                 ├──── clients ── .1 │ router │──── lan ───────────────── VIP .10
  client-2 .101 ─┘ 2001:db8:c::/64   │        │    2001:db8:b::/64
                                     │        │ .254   10.0.2.0/24       ┌─ .11 web-1
                                     └────────┘──── far ─────────────────┼─ .12 web-2
                                                   2001:db8:d::/64       └─ .13 web-3
`;

const remote: Net = { 4: '198.51.100.', 6: '2001:db8:c::' };
const local: Net = { 4: '10.0.1.', 6: '2001:db8:b::' };
const far: Net = { 4: '10.0.2.', 6: '2001:db8:d::' };

const both = (net: Net, host: number | string) => [`${net[4]}${host}/24`, `${net[6]}${host}/64`];

export async function buildRouted(lab: Lab, options: TopologyOptions = {}): Promise<Topology> {
  const { servers: count = 3 } = options;
  const [clientSwitch, lan, farSwitch, router, balancer] = await Promise.all([
    lab.addSwitch('clients'),
    lab.addSwitch('lan'),
    lab.addSwitch('far'),
    lab.addHost('router', { forwards: true }),
    lab.addHost('balancer', { forwards: true }),
  ]);
  await lab.plug(router, 'south', clientSwitch);
  await lab.plug(router, 'north', lan);
  await lab.plug(router, 'east', farSwitch);
  await router.address('south', ...both(remote, 1));
  await router.address('north', ...both(local, 254));
  await router.address('east', ...both(far, 254));
  const join = async (name: string, into: typeof lan, net: Net, number: number, gateway: number) => {
    const host = await lab.addHost(name);
    await lab.plug(host, 'eth0', into);
    await host.address('eth0', ...both(net, number));
    await host.route('default', `${net[4]}${gateway}`);
    await host.route('default', `${net[6]}${gateway}`);
    return host;
  };
  const port = await lab.plug(balancer, 'eth0', lan);
  await balancer.address('eth0', ...both(local, 2));
  await balancer.route('default', `${local[4]}254`);
  await balancer.route('default', `${local[6]}254`);
  const clients = await Promise.all(
    ['client', 'client-2'].map((name, index) => join(name, clientSwitch, remote, 100 + index, 1)),
  );
  const serverHosts = await Promise.all(
    Array.from({ length: count }, (_, index) => join(`web-${index + 1}`, farSwitch, far, 11 + index, 254)),
  );
  const plan = withOneArm(port, { remote, local, servers: far });
  return populate({ kind: 'routed', lab, clients, balancer, serverHosts, ...plan }, options);
}
