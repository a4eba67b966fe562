// Counting frames on the balancer's cables: whatever comes in for a VIP or a flow leaves once, translated, and the
// balancer sends nothing else. A host that forwards a copy, or answers by itself, shows up in the sums.
import { deepEqual } from 'node:assert/strict';
import { type Capture, capture } from '../lib/capture.ts';
import { everyEngine, everyEngineAndMode } from '../lib/engine.ts';
import { assertShares } from '../lib/proof.ts';
import type { Host } from '../lib/host.ts';
import type { Scenario } from '../lib/scenario.ts';
import { udpPort, webPort } from '../lib/servers.ts';
import { datagrams, download, requests, urlOf } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildInline, picture as inlinePicture } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import { families, type Family, type Method, type Protocol, type Topology } from '../topologies/topology.ts';

const even = { 'web-1': 10, 'web-2': 10, 'web-3': 10 };
const servers = { 4: '10.0.1.0/24', 6: '2001:db8:b::/64' };
const ports = { tcp: { service: 80, server: webPort }, udp: { service: 53, server: udpPort } };

interface Side {
  capture: Capture;
  /** Of the balancer's interface there. */
  mac: string;
}

interface Sums {
  asked: number;
  given: number;
  answered: number;
  returned: number;
  sent: number;
}

async function count(
  [outside, inside]: readonly [Side, Side],
  names: { client: string; seen: string; vip: string; family: Family; protocol: Protocol },
): Promise<Sums> {
  const { client, seen, vip, family, protocol } = names;
  const { service, server } = ports[protocol];
  const both = `${family === 4 ? 'ip' : 'ip6'} and ${protocol}`;
  const on = (side: Side, filter: string) => side.capture.count(`${both} and ${filter}`);
  const from = (side: Side, filter: string) => on(side, `ether src ${side.mac} and ${filter}`);
  const to = (side: Side, filter: string) => on(side, `not ether src ${side.mac} and ${filter}`);
  const sides = outside === inside ? [outside] : [outside, inside];
  const sent = await Promise.all(sides.map((side) => on(side, `ether src ${side.mac}`)));
  return {
    asked: await to(outside, `src host ${client} and dst host ${vip} and dst port ${service}`),
    given: await from(inside, `src host ${seen} and dst net ${servers[family]} and dst port ${server}`),
    answered: await to(inside, `src net ${servers[family]} and src port ${server} and dst host ${seen}`),
    returned: await from(outside, `src host ${vip} and src port ${service} and dst host ${client}`),
    sent: sent.reduce((sum, it) => sum + it, 0),
  };
}

function isBalanced({ asked, given, answered, returned, sent }: Sums): boolean {
  return asked >= 30 && answered >= 30 && asked === given && answered === returned && sent === given + returned;
}

/**
 * What xdp sends to a veth lies in a ring of 256 frames until its other end polls, and a frame too many is dropped, which
 * no balancer can see. A window of 64 KiB is less than a ring.
 */
async function keepBelowRing(client: Host): Promise<void> {
  await client.sysctl('net.ipv4.tcp_rmem', '"4096 65536 65536"');
}

async function prove(net: Topology, method: Method): Promise<void> {
  if (net.lab.isReadyForXdp) await keepBelowRing(net.client);
  const { balancer, plan } = net;
  const { interfaces } = plan;
  const outside = { capture: await capture(plan.ports.outside), mac: await balancer.mac(interfaces.outside) };
  const inside =
    interfaces.inside === undefined
      ? outside
      : { capture: await capture(plan.ports.inside), mac: await balancer.mac(interfaces.inside) };
  for (const family of families) {
    const vip = net.vip[family];
    const client = plan.clientAddress[family];
    assertShares(await requests(net.client, vip, 30), even, `IPv${family} requests`);
    assertShares(await datagrams(net.client, vip, 30), even, `IPv${family} datagrams`);
    await download(net.client, urlOf(vip, 80, '/big'));
    for (const protocol of ['tcp', 'udp'] as const) {
      const names = { client, seen: method === 'nat' ? client : vip, vip, family, protocol };
      const what = `every IPv${family} ${protocol} frame to pass exactly once and nothing else to be sent`;
      await waitFor(what, () => count([outside, inside], names), isBalanced);
    }
  }
  const complaints = 'icmp[0] == 3 or icmp[0] == 5 or (ip6 and icmp6 and (ip6[40] == 1 or ip6[40] == 137))';
  deepEqual(await outside.capture.frames(complaints), [], 'nobody complains or redirects');
}

function scenario(topology: 'inline' | 'one-arm', method: Method): Scenario {
  return {
    name: `exactly-once-${method}-${topology}`,
    title: `${method} ${topology}: each frame passes exactly once, and the balancer sends nothing else`,
    picture: topology === 'inline' ? inlinePicture : oneArmPicture,
    engines: topology === 'inline' && method === 'nat' ? everyEngineAndMode : everyEngine,
    stage: async (lab) => {
      const gateway = method === 'nat' ? 'balancer' : 'router';
      // The proof captures everything by itself.
      const captures = false;
      const net = await (topology === 'inline'
        ? buildInline(lab, { captures })
        : buildOneArm(lab, { gateway, captures }));
      return net.serving(method, { more: { check: 'none' } });
    },
    run: (net) => prove(net, method),
  };
}

export const scenarios = [
  scenario('inline', 'nat'),
  scenario('inline', 'full-nat'),
  scenario('one-arm', 'nat'),
  scenario('one-arm', 'full-nat'),
];
