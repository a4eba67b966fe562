// The network that every path is measured in: three hosts and two cables, without switches, so that nothing but the
// balancer stands between client and server. Each path has a network of its own: what one sets up costs no other a
// nanosecond, and paths can be measured in turn without anything being started or stopped.
//
//   client .100 ── 203.0.113.0/24 ── .2 balancer .1 ── 10.0.1.0/24 ── .11 server
//   10.64.0.0/10                     VIP .10                          nginx, iperf3, bench-ping, a sink for datagrams

import { join } from 'node:path';
import type { Host } from '../../netns-lab/lib/host.ts';
import { Lab } from '../../netns-lab/lib/lab.ts';
import { startWebServer, webPort } from '../../netns-lab/lib/servers.ts';

export const vip = '203.0.113.10';
export const balancerAddress = '10.0.1.1';
export const serverAddress = '10.0.1.11';
/** The first address of the flood's many clients. */
export const floodClient = '10.64.0.0';
export const ports = { web: webPort, bulk: 5201, ping: 7000, flood: 9000 } as const;
export const tcpPorts = [ports.web, ports.bulk, ports.ping] as const;

export const nativeDirectory = join(import.meta.dirname, '..', '..', 'native');
const tools = join(nativeDirectory, 'build');
export const floodTool = join(tools, 'bench-flood');
export const pingTool = join(tools, 'bench-ping');
export const coreTool = join(tools, 'bench-core');
export const kernelTool = join(tools, 'bench-kernel');
export const decapTool = join(tools, 'fairlead-decap');
export const limitTool = join(tools, 'bench-limit');

export interface Network {
  readonly lab: Lab;
  readonly client: Host;
  readonly balancer: Host;
  readonly server: Host;
}

export async function buildNetwork(label: string): Promise<Network> {
  const lab = new Lab(`bench ${label}`);
  const client = await lab.addHost('client');
  const balancer = await lab.addHost('balancer', { forwards: true });
  const server = await lab.addHost('server');
  await lab.connect(client, 'eth0', balancer, 'out');
  await lab.connect(server, 'eth0', balancer, 'in');
  await client.address('eth0', '203.0.113.100/24');
  await balancer.address('out', '203.0.113.2/24');
  await balancer.address('in', `${balancerAddress}/24`);
  await server.address('eth0', `${serverAddress}/24`);
  await client.route('default', '203.0.113.2');
  await server.route('default', balancerAddress);
  await balancer.route('10.64.0.0/10', '203.0.113.100');
  // Thousands of connections a second leave ports in TIME-WAIT for a minute.
  for (const host of [client, balancer]) await host.sysctl('net.ipv4.ip_local_port_range', '"1024 65535"');
  await startServers(lab, server);
  return { lab, client, balancer, server };
}

/** Datagrams have arrived once they are at the interface; a stack behind it would only add to every path. In GRE too. */
export async function dropFlood(host: Host): Promise<void> {
  const table = `table netdev bench {
    chain sink {
      type filter hook ingress device "eth0" priority 0
      udp dport ${ports.flood} drop
      ip protocol gre @nh,264,8 17 drop
    }
  }`;
  await host.run('nft -f -', { input: table });
}

async function startServers(lab: Lab, server: Host): Promise<void> {
  await dropFlood(server);
  const listens = (port: number) => async () => (await server.attempt(`ss -Hltn sport = ${port}`)).stdout !== '';
  await Promise.all([
    startWebServer(lab, server),
    server.start('iperf3', `iperf3 -s -p ${ports.bulk}`, { ready: listens(ports.bulk) }),
    server.start('ping', `${pingTool} serve ${ports.ping}`, { ready: listens(ports.ping) }),
  ]);
}
