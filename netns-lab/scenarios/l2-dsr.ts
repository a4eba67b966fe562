// l2-dsr with its own balancer: only MACs change on the way to a server, and the server answers by its own way.
import { equal, ok } from 'node:assert/strict';
import { capture } from '../lib/capture.ts';
import { assertNoAnswer, listenForAnswers, proveBig, proveSmall, webAndDatagrams } from '../lib/direct-return.ts';
import { everyEngine, everyEngineAndMode } from '../lib/engine.ts';
import type { Scenario } from '../lib/scenario.ts';
import { setUpByText } from '../lib/server-setup.ts';
import { udpPort, webPort } from '../lib/servers.ts';
import { buildInline, pictureWithRouter } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import { families, type Family, type Topology } from '../topologies/topology.ts';

/** What reaches a server is the client's own frame, from the balancer's MAC to the server's, with as many hops to go as before. */
async function proveMacs(net: Topology, family: Family): Promise<void> {
  const { balancer, plan, vip } = net;
  const { name, host } = net.server(0);
  const at = { host: plan.ports.inside.host, device: name };
  // Inline the client is a neighbour, with one arm there is a router between.
  const hops = plan.kind === 'inline' ? 64 : 63;
  const toVip = `dst host ${vip[family]} and (tcp or udp)`;
  const [ours, its] = [await balancer.mac(plan.interfaces.inside ?? plan.interfaces.outside), await host.mac('eth0')];
  const frames = await capture(at, toVip);
  await proveSmall(net, 'tcp', vip[family], webPort, `requests over IPv${family}`);
  await proveSmall(net, 'udp', vip[family], udpPort, `datagrams over IPv${family}`);
  await frames.stop();
  const all = await frames.count();
  ok(all >= 10 * 4 + 10, `frames of ten requests and ten datagrams reached ${name}: ${all}`);
  const asTheyShould = `ether src ${ours} and ether dst ${its} and ${family === 4 ? 'ip[8]' : 'ip6[7]'} = ${hops}`;
  equal(
    await frames.count(`${asTheyShould} and src host ${plan.clientAddress[family]}`),
    all,
    'MACs and nothing else changed',
  );
}

async function prove(net: Topology): Promise<void> {
  const answers = await listenForAnswers(net);
  for (const family of families) {
    await proveMacs(net, family);
    await proveBig(net, `both${family}`, net.vip[family], webPort);
  }
  await assertNoAnswer(net, answers);
}

const scenario = (topology: 'one-arm' | 'inline', title: string): Scenario => ({
  name: `${topology}-l2-dsr`,
  title,
  picture: topology === 'one-arm' ? oneArmPicture : pictureWithRouter,
  engines: topology === 'one-arm' ? everyEngineAndMode : everyEngine,
  stage: async (lab) => {
    const options = { servers: 2, gateway: 'router', captures: false } as const;
    const net = await (topology === 'one-arm' ? buildOneArm(lab, options) : buildInline(lab, options));
    const services = families.map((family) => {
      const service = webAndDatagrams(net, { method: 'l2-dsr', family, more: { check: 'none' } });
      return [`both${family}`, service] as const;
    });
    const config = net.config(Object.fromEntries(services));
    await setUpByText(net, config);
    await net.fairlead.up(config);
    return net;
  },
  run: prove,
});

export const scenarios = [
  scenario(
    'one-arm',
    'beside the path: frames reach every server with other MACs only, 10 MB pass each way, no answer passes the balancer',
  ),
  scenario(
    'inline',
    'on the path, with a way around it for the answers: the same, out of another interface than frames came in by',
  ),
];
