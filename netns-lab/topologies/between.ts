// Between: the balancer stands inline, with a router on either side; so routers, too, have something to say to both ends.
import type { Host } from '../lib/host.ts';
import type { Lab } from '../lib/lab.ts';
import { type Family, type Net, populate, type Topology, type TopologyOptions } from './topology.ts';

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

function at(name: NetName, number: number): [string, string] {
  return [`${nets[name][4]}${number}`, `${nets[name][6]}${number}`];
}

function inFamilies([four, six]: [string, string]): Record<Family, string> {
  return { 4: four, 6: six };
}

/** What routers call a network. */
export const networks = Object.fromEntries(
  Object.entries(nets).map(([name, net]) => [name, { 4: `${net[4]}0/24`, 6: `${net[6]}/64` }]),
) as Record<NetName, Record<Family, string>>;

/** The routers' addresses in the networks that they are in. */
export const routers = {
  near: { clients: inFamilies(at('clients', 1)), outside: inFamilies(at('outside', 1)) },
  far: { inside: inFamilies(at('inside', 254)), servers: inFamilies(at('servers', 254)) },
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
    const [four, six] = at(name, number);
    await host.address(device, `${four}/24`, `${six}/64`);
    return port;
  };
  const route = async (host: Host, to: NetName | 'default', [four, six]: [string, string]) => {
    await host.route(to === 'default' ? to : networks[to][4], four);
    await host.route(to === 'default' ? to : networks[to][6], six);
  };
  await join(near, 'south', 'clients', 1);
  await join(near, 'north', 'outside', 1);
  const ports = {
    outside: await join(balancer, 'out', 'outside', 2),
    inside: await join(balancer, 'in', 'inside', 1),
  };
  await join(far, 'south', 'inside', 254);
  await join(far, 'north', 'servers', 254);
  await route(balancer, 'default', at('outside', 1));
  await route(balancer, 'servers', at('inside', 254));
  await route(near, 'default', at('outside', 2));
  await route(far, 'default', at('inside', 1));
  const end = async (name: string, net: NetName, number: number, gateway: number) => {
    const host = await lab.addHost(name);
    await join(host, 'eth0', net, number);
    await route(host, 'default', at(net, gateway));
    return host;
  };
  const clients = await Promise.all(['client', 'client-2'].map((name, index) => end(name, 'clients', 100 + index, 1)));
  const serverHosts = await Promise.all(
    Array.from({ length: count }, (_, index) => end(`web-${index + 1}`, 'servers', 11 + index, 254)),
  );
  const plan = {
    kind: 'inline' as const,
    lab,
    clients,
    balancer,
    serverHosts,
    ports,
    interfaces: { outside: 'out', inside: 'in' },
    vip: inFamilies(at('outside', 10)),
    balancerAddress: inFamilies(at('inside', 1)),
    clientAddress: inFamilies(at('clients', 100)),
    serverAddress: (index: number, family: Family) => inFamilies(at('servers', 11 + index))[family],
  };
  return populate(plan, options);
}
