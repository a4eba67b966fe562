// The networks of topologies, in both families at once: addresses by the number of a host, the hosts at the ends, and who
// has which address.
import type { Host } from '../lib/host.ts';
import type { Lab, Port } from '../lib/lab.ts';
import type { Family } from './topology.ts';

/** The first octets of a network, in each family; a host's number is put behind them. */
export type Net = Readonly<Record<Family, string>>;

export function at(net: Net, host: number): Record<Family, string> {
  return { 4: `${net[4]}${host}`, 6: `${net[6]}${host}` };
}

/** As an interface has them. */
export function both(net: Net, host: number): [string, string] {
  return [`${net[4]}${host}/24`, `${net[6]}${host}/64`];
}

export async function setGateway(host: Host, net: Net, gateway: number): Promise<void> {
  await host.defaultRoutes(...Object.values(at(net, gateway)));
}

/** Where hosts with one interface stand: at a switch, in its network, with the number of their gateway there. */
export interface Place {
  readonly into: Host;
  readonly net: Net;
  readonly gateway: number;
}

async function addEnd(lab: Lab, name: string, number: number, { into, net, gateway }: Place): Promise<Host> {
  const host = await lab.addHost(name);
  await lab.plug(host, 'eth0', into);
  await host.address('eth0', ...both(net, number));
  await setGateway(host, net, gateway);
  return host;
}

export function addClients(lab: Lab, place: Place): Promise<Host[]> {
  return Promise.all(['client', 'client-2'].map((name, index) => addEnd(lab, name, 100 + index, place)));
}

export function addServers(lab: Lab, count: number, place: Place): Promise<Host[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => addEnd(lab, `web-${index + 1}`, 11 + index, place)));
}

/** Of a plan whose balancer has one arm, in the network `local`. */
export function withOneArm(port: Port, { remote, local, servers }: Record<'remote' | 'local' | 'servers', Net>) {
  return {
    ports: { outside: port, inside: port },
    interfaces: { outside: 'eth0' },
    vip: at(local, 10),
    balancerAddress: at(local, 2),
    clientAddress: at(remote, 100),
    serverAddress: (index: number, family: Family) => at(servers, 11 + index)[family],
  };
}

/** Of a plan whose balancer stands on the path, in the networks `outside`, with the VIPs, and `inside`. */
export function withTwoArms(
  ports: Record<'outside' | 'inside', Port>,
  { clients, outside, inside, servers }: Record<'clients' | 'outside' | 'inside' | 'servers', Net>,
) {
  return {
    ports,
    interfaces: { outside: 'out', inside: 'in' },
    vip: at(outside, 10),
    balancerAddress: at(inside, 1),
    clientAddress: at(clients, 100),
    serverAddress: (index: number, family: Family) => at(servers, 11 + index)[family],
  };
}
