// One-arm: the balancer stands beside the path, with one interface, in the servers' own network; clients come through a
// router. With full-nat the servers need no special route; with nat the balancer must be their gateway.
import type { Lab } from '../lib/lab.ts';
import { type Net, populate, type Topology, type TopologyOptions, withOneArm } from './topology.ts';

export const picture = `
  client   .100 ─┐ 198.51.100.0/24   ┌────────┐     10.0.1.0/24  ┌─ .11 web-1
                 ├──── clients ── .1 │ router │ .254 ── lan ─────┼─ .12 web-2
  client-2 .101 ─┘ 2001:db8:c::/64   └────────┘  2001:db8:b::/64 ├─ .13 web-3
                                                    VIP .10      └─ .2  balancer
`;

const remote: Net = { 4: '198.51.100.', 6: '2001:db8:c::' };
const local: Net = { 4: '10.0.1.', 6: '2001:db8:b::' };

const both = (net: Net, host: number | string) => [`${net[4]}${host}/24`, `${net[6]}${host}/64`];

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
  await balancer.route('default', `${local[4]}254`);
  await balancer.route('default', `${local[6]}254`);

  const clients = await Promise.all(
    ['client', 'client-2'].map(async (name, index) => {
      const client = await lab.addHost(name);
      await lab.plug(client, 'eth0', clientSwitch);
      await client.address('eth0', ...both(remote, 100 + index));
      await client.route('default', `${remote[4]}1`);
      await client.route('default', `${remote[6]}1`);
      return client;
    }),
  );
  const last = gateway === 'router' ? 254 : 2;
  const serverHosts = await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const server = await lab.addHost(`web-${index + 1}`);
      await lab.plug(server, 'eth0', lan);
      await server.address('eth0', ...both(local, 11 + index));
      await server.route('default', `${local[4]}${last}`);
      await server.route('default', `${local[6]}${last}`);
      return server;
    }),
  );
  const plan = withOneArm(port, { remote, local, servers: local });
  return populate({ kind: 'one-arm', lab, clients, balancer, serverHosts, ...plan }, options);
}
