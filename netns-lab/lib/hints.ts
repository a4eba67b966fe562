// What to type in a lab that was left standing.
import type { Topology } from '../topologies/topology.ts';
import { command } from './fairlead.ts';
import { udpPort } from './servers.ts';
import { urlOf } from './traffic.ts';

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
  return `
Ask the doctor about a server, or the balancer (its file is ${fairlead.configFile}):
  ip netns exec ${servers[0]?.host.namespace} ${command} doctor web4 --server -c ${fairlead.configFile}
  ip netns exec ${balancer.namespace} ${command} doctor -c ${fairlead.configFile}
`;
}

function daemonCommands({ client, balancer, fairlead, vip, servers, plan }: Topology): string {
  return `
Be a client:
  ip netns exec ${client.namespace} curl ${urlOf(vip[4])}
  ip netns exec ${client.namespace} curl '${urlOf(vip[6])}'
  echo hello | ip netns exec ${client.namespace} socat -t1 - UDP4:${vip[4]}:53
  ip netns exec ${client.namespace} wrk -c16 -d5s ${urlOf(vip[4])}

Ask the balancer (it runs ${fairlead.configFile}):
  ${command} status -s ${fairlead.socket}
  ${command} servers -s ${fairlead.socket}
  ${command} flows --limit 10 -s ${fairlead.socket}
  ${command} drain web4 ${servers[0]?.name} -s ${fairlead.socket}
  ip netns exec ${balancer.namespace} tcpdump -ni ${plan.interfaces.outside}
`;
}
