// One-arm: the balancer stands beside the path, with one interface, in the servers' own network; clients come through a
// router. With full-nat the servers need no special route; with nat the balancer must be their gateway.
import type { Lab } from '../lib/lab.ts';
import { addClients, addServers, both, type Net, setGateway, withOneArm } from './net.ts';
import { populate, type Topology, type TopologyOptions } from './topology.ts';

export const picture = `
  client   .100 ─┐ 198.51.100.0/24   ┌────────┐     10.0.1.0/24  ┌─ .11 web-1
                 ├──── clients ── .1 │ router │ .254 ── lan ─────┼─ .12 web-2
  client-2 .101 ─┘ 2001:db8:c::/64   └────────┘  2001:db8:b::/64 ├─ .13 web-3
                                                    VIP .10      └─ .2  balancer
`;

const remote: Net = { 4: '198.51.100.', 6: '2001:db8:c::' };
const local: Net = { 4: '10.0.1.', 6: '2001:db8:b::' };

export async function buildOneArm(lab: Lab, options: TopologyOptions = {}): Promise<Topology> {
  const { servers: count = 3, gateway = 'router' } = options;
  const [clientSwitch, lan, router, balancer] = await Promise.all([
    lab.addSwitch('clients'),
    lab.addSwitch('lan'),
    lab.addHost('router', { forwards: true }),
    lab.addHost('balancer', { forwards: true }),
  ]);
  await lab.plug(router, 'south', clientSwitch);
  await lab.plug(router, 'north', lan);
  const port = await lab.plug(balancer, 'eth0', lan);
  await router.address('south', ...both(remote, 1));
  await router.address('north', ...both(local, 254));
  await balancer.address('eth0', ...both(local, 2));
  await setGateway(balancer, local, 254);

  const clients = await addClients(lab, { into: clientSwitch, net: remote, gateway: 1 });
  const last = gateway === 'router' ? 254 : 2;
  const serverHosts = await addServers(lab, count, { into: lan, net: local, gateway: last });
  const plan = withOneArm(port, { remote, local, servers: local });
  return populate({ kind: 'one-arm', lab, clients, balancer, serverHosts, ...plan }, options);
}
