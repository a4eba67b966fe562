// The balancer's main job, for each method in each topology: both protocols, both families, small answers and 10 MB.
import { equal, match } from 'node:assert/strict';
import { capture } from '../lib/capture.ts';
import { everyEngine, everyEngineAndMode } from '../lib/engine.ts';
import type { Lab } from '../lib/lab.ts';
import { assertShares } from '../lib/proof.ts';
import type { Scenario } from '../lib/scenario.ts';
import { bigFile, sha256 } from '../lib/servers.ts';
import { datagrams, download, requests, upload, urlOf } from '../lib/traffic.ts';
import { buildInline, picture as inlinePicture } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import { families, type Family, type Method, type Topology } from '../topologies/topology.ts';

const even = { 'web-1': 10, 'web-2': 10, 'web-3': 10 };

async function proveSmall(net: Topology, method: Method, family: Family): Promise<void> {
  // With nat servers see the client itself, with full-nat the VIP.
  const seen = method === 'nat' ? net.plan.clientAddress[family] : net.vip[family];
  const web = await requests(net.client, net.vip[family], 30);
  assertShares(web, even, `IPv${family} requests`);
  const dns = await datagrams(net.client, net.vip[family], 30);
  assertShares(dns, even, `IPv${family} datagrams`);
  for (const client of [...web.seenAs, ...dns.seenAs]) {
    equal(client.split(' ')[0], seen, 'the client as the server sees it');
  }
}

async function proveBig(net: Topology, family: Family, isJumbo = false): Promise<void> {
  // Everywhere but in the driver the proof is about default offloads.
  const isWhole = isJumbo || !net.lab.isReadyForXdp;
  const frames = await capture(net.plan.ports.inside, 'greater 4000');
  const big = bigFile(net.lab);
  equal(await download(net.client, urlOf(net.vip[family], 80, '/big')), big.sha256, `IPv${family}: 10 MB down`);
  const name = `from-client-${family}`;
  const taker = await upload(net.client, urlOf(net.vip[family], 80, `/upload/${name}`), big.path);
  const server = net.servers.find((it) => it.name === taker);
  equal(server && sha256(server.upload(name)), big.sha256, `IPv${family}: 10 MB up`);
  equal((await frames.count()) > 0, isWhole, 'frames far above the usual MTU passed: as they were sent');
  await frames.stop();
}

async function prove(net: Topology, method: Method): Promise<void> {
  for (const family of families) {
    await proveSmall(net, method, family);
    await proveBig(net, family);
  }
}

function scenario(topology: 'inline' | 'one-arm', method: Method, workers: number): Scenario {
  return {
    name: `requests-${method}-${topology}`,
    title: `${method} ${topology} with ${workers} worker(s): TCP, UDP, IPv4 and IPv6 reach all servers, 10 MB pass both ways intact`,
    picture: topology === 'inline' ? inlinePicture : oneArmPicture,
    engines: topology === 'inline' && method === 'nat' ? everyEngineAndMode : everyEngine,
    stage: async (lab) => {
      const gateway = method === 'nat' ? 'balancer' : 'router';
      const net = await (topology === 'inline' ? buildInline(lab) : buildOneArm(lab, { gateway }));
      return net.serving(method, { more: { check: 'none' } }, { workers });
    },
    run: (net) => prove(net, method),
  };
}

/** In the driver such a frame lies in several buffers, of which a program sees the first. */
async function proveJumbo(net: Topology): Promise<void> {
  const { engine } = await net.fairlead.json<{ engine: { kind: string } }>('status');
  equal(engine.kind, net.lab.engine, 'in the driver too, and not behind it');
  for (const family of families) {
    await proveSmall(net, 'nat', family);
    await proveBig(net, family, true);
    const ping = await net.client.run(`ping -n -c 3 -i 0.05 -W 2 -M do -s 8000 ${net.vip[family]}`);
    match(ping, /3 received/, `IPv${family}: long echo requests are answered`);
  }
}

async function stageJumbo(lab: Lab): Promise<Topology> {
  const net = await buildInline(lab);
  const hosts = [
    net.client,
    net.balancer,
    ...net.servers.map(({ host }) => host),
    lab.host('outside'),
    lab.host('inside'),
  ];
  const more = lab.isReadyForXdp ? 'gro_max_size 9000' : '';
  for (const host of hosts) {
    await host.run(
      `for link in $(ls /sys/class/net | grep -v ^lo$); do ip link set $link mtu 9000 ${more} || exit 1; done`,
    );
  }
  return net.serving('nat', { more: { check: 'none' } });
}

export const scenarios = [
  scenario('inline', 'nat', 1),
  scenario('inline', 'full-nat', 2),
  scenario('one-arm', 'nat', 2),
  scenario('one-arm', 'full-nat', 1),
  {
    name: 'jumbo',
    title: 'links that take 9,000 octets are used to the full, in both directions and families',
    picture: inlinePicture,
    engines: everyEngineAndMode,
    stage: stageJumbo,
    run: proveJumbo,
  },
];
