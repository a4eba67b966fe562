// What to type in a lab that was left standing.
import type { Topology } from '../topologies/topology.ts';
import { command } from './fairlead.ts';
import { udpPort } from './servers.ts';
import { urlOf } from './traffic.ts';

export function playCommands(net: Topology): string {
  const { client, balancer, fairlead, vip, servers } = net;
  const [server] = servers;
  return `
The lab ${net.lab.name} stands:
${[...net.lab.hosts.values()].map((host) => `  ${host.name.padEnd(10)} ${host.namespace}`).join('\n')}

Be a client:
  ip netns exec ${client.namespace} curl ${urlOf(vip[4])}
  ip netns exec ${client.namespace} curl '${urlOf(vip[6])}'
  echo hello | ip netns exec ${client.namespace} socat -t1 - UDP4:${vip[4]}:53
  ip netns exec ${client.namespace} wrk -c16 -d5s ${urlOf(vip[4])}

Ask the balancer (it runs ${fairlead.configFile}):
  ${command} status -s ${fairlead.socket}
  ${command} servers -s ${fairlead.socket}
  ${command} flows --limit 10 -s ${fairlead.socket}
  ${command} drain web4 ${server?.name} -s ${fairlead.socket}
  ip netns exec ${balancer.namespace} tcpdump -ni ${net.plan.interfaces.outside}

See what a server sees:
  ip netns exec ${server?.host.namespace} tcpdump -ni eth0 port ${udpPort}

Take it down:
  ${command} lab down ${net.lab.name}
`;
}
