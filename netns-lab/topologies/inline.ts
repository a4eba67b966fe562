// Inline: the balancer stands on the path, between the clients' network and the servers'; it is the servers' gateway.
import type { Lab } from '../lib/lab.ts';
import { addClients, addServers, both, type Net, withTwoArms } from './net.ts';
import { populate, type Topology, type TopologyOptions } from './topology.ts';

export const picture = `
  client   .100 ─┐ 203.0.113.0/24    ┌──────────┐    10.0.1.0/24 ┌─ .11 web-1
                 ├──── outside ── .2 │ balancer │ .1 ── inside ──┼─ .12 web-2
  client-2 .101 ─┘ 2001:db8:a::/64   └──────────┘ 2001:db8:b::/64└─ .13 web-3
                      VIP .10                       default gateway: .1
`;

/** With gateway "router": the servers answer around the balancer. */
export const pictureWithRouter = `${picture.replace(/ *default gateway: .1\n/, '\n')}                      ┌────────┐
      outside ── .254 │ router │ .254 ── inside    default gateway: .254
                      └────────┘
`;

const outside: Net = { 4: '203.0.113.', 6: '2001:db8:a::' };
const inside: Net = { 4: '10.0.1.', 6: '2001:db8:b::' };

export async function buildInline(lab: Lab, options: TopologyOptions = {}): Promise<Topology> {
  const { servers: count = 3, gateway = 'balancer' } = options;
  const [outsideSwitch, insideSwitch, balancer] = await Promise.all([
    lab.addSwitch('outside'),
    lab.addSwitch('inside'),
    lab.addHost('balancer', { forwards: true }),
  ]);
  const ports = {
    outside: await lab.plug(balancer, 'out', outsideSwitch),
    inside: await lab.plug(balancer, 'in', insideSwitch),
  };
  await balancer.address('out', ...both(outside, 2));
  await balancer.address('in', ...both(inside, 1));

  const clients = await addClients(lab, { into: outsideSwitch, net: outside, gateway: 2 });
  if (gateway === 'router') {
    const router = await lab.addHost('router', { forwards: true });
    await lab.plug(router, 'out', outsideSwitch);
    await lab.plug(router, 'in', insideSwitch);
    await router.address('out', ...both(outside, 254));
    await router.address('in', ...both(inside, 254));
  }
  const last = gateway === 'router' ? 254 : 1;
  const serverHosts = await addServers(lab, count, { into: insideSwitch, net: inside, gateway: last });
  const plan = withTwoArms(ports, { clients: outside, outside, inside, servers: inside });
  return populate({ kind: 'inline', lab, clients, balancer, serverHosts, ...plan }, options);
}
