// Inline: the balancer stands on the path, between the clients' network and the servers'; it is the servers' gateway.
import type { Lab } from '../lib/lab.ts';
import { type Family, populate, type Topology, type TopologyOptions } from './topology.ts';

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

const outside: Record<Family, string> = { 4: '203.0.113.', 6: '2001:db8:a::' };
const inside: Record<Family, string> = { 4: '10.0.1.', 6: '2001:db8:b::' };

const both = (net: Record<Family, string>, host: number | string) => [`${net[4]}${host}/24`, `${net[6]}${host}/64`];

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

  const clients = await Promise.all(
    ['client', 'client-2'].map(async (name, index) => {
      const client = await lab.addHost(name);
      await lab.plug(client, 'eth0', outsideSwitch);
      await client.address('eth0', ...both(outside, 100 + index));
      await client.route('default', `${outside[4]}2`);
      await client.route('default', `${outside[6]}2`);
      return client;
    }),
  );
  if (gateway === 'router') {
    const router = await lab.addHost('router', { forwards: true });
    await lab.plug(router, 'out', outsideSwitch);
    await lab.plug(router, 'in', insideSwitch);
    await router.address('out', ...both(outside, 254));
    await router.address('in', ...both(inside, 254));
  }
  const last = gateway === 'router' ? 254 : 1;
  const serverHosts = await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const server = await lab.addHost(`web-${index + 1}`);
      await lab.plug(server, 'eth0', insideSwitch);
      await server.address('eth0', ...both(inside, 11 + index));
      await server.route('default', `${inside[4]}${last}`);
      await server.route('default', `${inside[6]}${last}`);
      return server;
    }),
  );
  const plan = {
    kind: 'inline' as const,
    lab,
    clients,
    balancer,
    serverHosts,
    ports,
    interfaces: { outside: 'out', inside: 'in' },
    vip: { 4: `${outside[4]}10`, 6: `${outside[6]}10` },
    balancerAddress: { 4: `${inside[4]}1`, 6: `${inside[6]}1` },
    clientAddress: { 4: `${outside[4]}100`, 6: `${outside[6]}100` },
    serverAddress: (index: number, family: Family) => `${inside[family]}${11 + index}`,
  };
  return populate(plan, options);
}
