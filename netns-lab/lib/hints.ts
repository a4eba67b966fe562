// What to type in a lab that was left standing.
import { families, type Family, type Protocol, type Topology } from '../topologies/topology.ts';
import { command } from './fairlead.ts';
import { udpPort } from './servers.ts';

export function playCommands(net: Topology): string {
  const { lab, fairlead, servers } = net;
  return `
The lab ${lab.name} stands:
${[...lab.hosts.values()].map((host) => `  ${host.name.padEnd(10)} ${host.namespace}`).join('\n')}
${fairlead.daemon === null ? doctorCommands(net) : daemonCommands(net)}
See what a server sees:
  ip netns exec ${servers[0]?.host.namespace} tcpdump -ni eth0 port ${udpPort}

Take it down:
  ${command} lab down ${lab.name}
`;
}

/** Where no daemon runs: servers that are set up for direct server return. */
function doctorCommands({ balancer, fairlead, servers }: Topology): string {
  const [service] = Object.keys(fairlead.config?.services ?? {});
  return `
Ask the doctor about a server, or the balancer (its file is ${fairlead.configFile}):
  ip netns exec ${servers[0]?.host.namespace} ${command} doctor ${service} --server -c ${fairlead.configFile}
  ip netns exec ${balancer.namespace} ${command} doctor -c ${fairlead.configFile}
`;
}

/** Where a service listens on the VIP of a family: "10.0.1.10:80", or null. */
function listenOf({ fairlead, vip }: Topology, family: Family, protocol: Protocol): string | null {
  const all = Object.values(fairlead.config?.services ?? {}).flatMap(({ listen }) => listen);
  return all.find((it) => it.includes(vip[family]) && it.endsWith(`/${protocol}`))?.replace(/\/.*/, '') ?? null;
}

function clientCommands(net: Topology): string[] {
  const webs = families.map((family) => listenOf(net, family, 'tcp')).filter((it) => it !== null);
  const dns = listenOf(net, 4, 'udp');
  return [
    ...webs.map((web) => `curl 'http://${web}/'`),
    ...(dns === null ? [] : [`socat -t1 - UDP4:${dns}`]),
    ...webs.slice(0, 1).map((web) => `wrk -c16 -d5s http://${web}/`),
  ];
}

function daemonCommands(net: Topology): string {
  const { client, balancer, fairlead, servers, plan } = net;
  const [service] = Object.keys(fairlead.config?.services ?? {});
  const inClient = clientCommands(net).map(
    (it) => `  ${it.startsWith('socat') ? 'echo hello | ' : ''}ip netns exec ${client.namespace} ${it}`,
  );
  return `
Be a client:
${inClient.join('\n')}

Ask the balancer (it runs ${fairlead.configFile}):
  ${command} status -s ${fairlead.socket}
  ${command} servers -s ${fairlead.socket}
  ${command} flows --limit 10 -s ${fairlead.socket}
  ${command} drain ${service} ${servers[0]?.name} -s ${fairlead.socket}
  ip netns exec ${balancer.namespace} tcpdump -ni ${plan.interfaces.outside}
`;
}
