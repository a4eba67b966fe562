// Routed: the servers stand behind a router, in a network of their own, and have the VIPs on lo. What the balancer sends
// them must be wrapped (l3-dsr); they answer clients straight through the router.
import type { Lab } from '../lib/lab.ts';
import { addClients, addServers, both, type Net, setGateway, withOneArm } from './net.ts';
import { populate, type Topology, type TopologyOptions } from './topology.ts';

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
  const port = await lab.plug(balancer, 'eth0', lan);
  await balancer.address('eth0', ...both(local, 2));
  await setGateway(balancer, local, 254);
  const clients = await addClients(lab, { into: clientSwitch, net: remote, gateway: 1 });
  const serverHosts = await addServers(lab, count, { into: farSwitch, net: far, gateway: 254 });
  const plan = withOneArm(port, { remote, local, servers: far });
  return populate({ kind: 'routed', lab, clients, balancer, serverHosts, ...plan }, options);
}
