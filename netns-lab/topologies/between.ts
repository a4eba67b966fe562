// Between: the balancer stands inline, with a router on either side; so routers, too, have something to say to both ends.
import type { Host } from '../lib/host.ts';
import type { Lab } from '../lib/lab.ts';
import { addClients, addServers, at, both, type Net, setGateway, withTwoArms } from './net.ts';
import { families, type Family, populate, type Topology, type TopologyOptions } from './topology.ts';

export const picture = `
  client   .100 ─┐ 198.51.100.0/24  ┌──────┐ 203.0.113.0/24    ┌──────────┐ 10.0.1.0/24        ┌─────┐ 10.0.2.0/24         ┌─ .11 web-1
                 ├─── clients ── .1 │ near │ .1 ── outside ─ .2 │ balancer │ .1 ─ inside ─ .254 │ far │ .254 ── servers ────┼─ .12 web-2
  client-2 .101 ─┘ 2001:db8:c::/64  └──────┘ 2001:db8:a::/64    └──────────┘ 2001:db8:b::/64    └─────┘ 2001:db8:d::/64     └─ .13 web-3
                                                VIP .10
`;

const nets = {
  clients: { 4: '198.51.100.', 6: '2001:db8:c::' },
  outside: { 4: '203.0.113.', 6: '2001:db8:a::' },
  inside: { 4: '10.0.1.', 6: '2001:db8:b::' },
  servers: { 4: '10.0.2.', 6: '2001:db8:d::' },
} as const satisfies Record<string, Net>;

type NetName = keyof typeof nets;

/** What routers call a network. */
export const networks = Object.fromEntries(
  Object.entries(nets).map(([name, net]) => [name, { 4: `${net[4]}0/24`, 6: `${net[6]}/64` }]),
) as Record<NetName, Record<Family, string>>;

/** The routers' addresses in the networks that they are in. */
export const routers = {
  near: { clients: at(nets.clients, 1), outside: at(nets.outside, 1) },
  far: { inside: at(nets.inside, 254), servers: at(nets.servers, 254) },
};

export async function buildBetween(lab: Lab, options: TopologyOptions = {}): Promise<Topology> {
  const { servers: count = 3 } = options;
  const switches = Object.fromEntries(
    await Promise.all((Object.keys(nets) as NetName[]).map(async (name) => [name, await lab.addSwitch(name)] as const)),
  ) as Record<NetName, Host>;
  const router = (name: string) => lab.addHost(name, { forwards: true });
  const [near, balancer, far] = await Promise.all(['near', 'balancer', 'far'].map(router));
  if (near === undefined || balancer === undefined || far === undefined) throw new Error('three routers');
  const join = async (host: Host, device: string, name: NetName, number: number) => {
    const port = await lab.plug(host, device, switches[name]);
    await host.address(device, ...both(nets[name], number));
    return port;
  };
  await join(near, 'south', 'clients', 1);
  await join(near, 'north', 'outside', 1);
  const ports = {
    outside: await join(balancer, 'out', 'outside', 2),
    inside: await join(balancer, 'in', 'inside', 1),
  };
  await join(far, 'south', 'inside', 254);
  await join(far, 'north', 'servers', 254);
  await setGateway(balancer, nets.outside, 1);
  for (const family of families) await balancer.route(networks.servers[family], routers.far.inside[family]);
  await setGateway(near, nets.outside, 2);
  await setGateway(far, nets.inside, 1);
  const clients = await addClients(lab, { into: switches.clients, net: nets.clients, gateway: 1 });
  const serverHosts = await addServers(lab, count, { into: switches.servers, net: nets.servers, gateway: 254 });
  const plan = withTwoArms(ports, nets);
  return populate({ kind: 'inline', lab, clients, balancer, serverHosts, ...plan }, options);
}
