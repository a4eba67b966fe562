// Methods side by side on one balancer; and a server without the VIP, which sends back what it gets: that is forwarded once
// and then dropped, by name.
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { capture } from '../lib/capture.ts';
import { assertNoAnswer, listenForAnswers, proveSmall, webAndDatagrams } from '../lib/direct-return.ts';
import type { ServiceDocument } from '../lib/fairlead.ts';
import { forgetMtus, learnedMtu, narrow } from '../lib/path-mtu.ts';
import { assertServed } from '../lib/proof.ts';
import type { Scenario } from '../lib/scenario.ts';
import { setUpByText } from '../lib/server-setup.ts';
import { bigFile, udpPort, webPort } from '../lib/servers.ts';
import { datagrams, download, requests, urlOf } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildOneArm, picture } from '../topologies/one-arm.ts';
import { families, type Topology } from '../topologies/topology.ts';

const wrappedPort = 8001;
const silentPort = 5354; // of datagrams in the tunnel; no program listens there
const more = { check: 'none' } as const;

function directServices(net: Topology): Record<string, ServiceDocument> {
  return Object.fromEntries(
    families.flatMap((family) => {
      const tunnel = { type: 'gue' };
      const wrapped = net.service({ method: 'l3-dsr', family, tunnel, port: wrappedPort, more });
      const silent = net.service({ method: 'l3-dsr', family, protocol: 'udp', tunnel, port: silentPort });
      return [
        [`direct${family}`, webAndDatagrams(net, { method: 'l2-dsr', family, more })],
        [`wrapped${family}`, { ...wrapped, listen: [wrapped.listen, silent.listen].flat() }],
      ];
    }),
  );
}

// Not the VIP: to a server that has it on lo, what comes from there would come from itself.
const sources = { 4: '10.0.1.3', 6: '2001:db8:b::3' };

function translated(net: Topology): Record<string, ServiceDocument> {
  return Object.fromEntries(
    families.map((family) => {
      const source = sources[family];
      return [`nat${family}`, net.service({ method: 'full-nat', family, more: { ...more, source } })];
    }),
  );
}

/** Each method's requests are served as by a balancer that has no other. */
async function sideBySide(net: Topology): Promise<void> {
  const names = net.servers.map(({ name }) => name);
  const answers = await listenForAnswers(net);
  for (const family of families) {
    await proveSmall(net, 'tcp', net.vip[family], webPort, `l2-dsr over IPv${family}`);
    await proveSmall(net, 'udp', net.vip[family], udpPort, `l2-dsr datagrams over IPv${family}`);
    await proveSmall(net, 'tcp', net.vip[family], wrappedPort, `l3-dsr over IPv${family}`);
  }
  await assertNoAnswer(net, answers);
  for (const family of families) {
    const tally = await requests(net.client, net.vip[family], 10);
    assertServed(tally, 10, names, `full-nat over IPv${family}`);
    const seen = new Set(tally.seenAs.map((it) => it.split(' ')[0]));
    deepEqual([...seen], [sources[family]], 'with full-nat the servers see the balancer');
  }
}

/** A router tells the VIP of the client's narrow link: with l2-dsr that goes to the flow's server as well. */
async function errorsReachServers(net: Topology): Promise<void> {
  await narrow(net.lab.host('router'), '198.51.100.0/24', 'south', 1400);
  await narrow(net.lab.host('router'), '2001:db8:c::/64', 'south', 1400);
  await forgetMtus(...net.servers.map(({ host }) => host));
  const big = bigFile(net.lab);
  for (const family of families) {
    for (const { name } of net.servers) {
      equal(await download(net.client, urlOf(net.vip[family], webPort, '/big')), big.sha256, `10 MB by ${name}`);
    }
    for (const { name, host } of net.servers) {
      equal(await learnedMtu(host, net.plan.clientAddress[family]), 1400, `${name} knows the path to the client`);
    }
  }
}

interface DropsDocument {
  reasons: { reason: string; count: number }[];
}

async function cameBack(net: Topology): Promise<void> {
  const { balancer, client, vip, plan, fairlead } = net;
  const { host } = net.server(1);
  for (const family of families) {
    await host.run(`ip address del ${vip[family]}/${family === 4 ? 32 : 128} dev lo`);
  }
  await host.run(
    'sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0',
  );
  const frames = await capture(plan.ports.outside, '(tcp or udp) and not port 80');
  const [ours, its] = [await balancer.mac('eth0'), await host.mac('eth0')];
  // Of two in a row one goes to it.
  const two = families.flatMap((family) => [
    requests(client, vip[family], 2, webPort, '--connect-timeout 1'),
    requests(client, vip[family], 2, wrappedPort, '--connect-timeout 1'),
    datagrams(client, vip[family], 2, udpPort),
  ]);
  for (const { errors, shares } of await Promise.all(two)) {
    deepEqual({ errors, shares }, { errors: 1, shares: { 'web-1': 1 } }, 'one is served and one is lost');
  }
  for (const family of families) {
    equal((await datagrams(client, vip[family], 2, silentPort)).errors, 2, 'nobody answers these');
  }
  const toVip = `(dst host ${vip[4]} or dst host ${vip[6]})`;
  const count = async () => ({
    came: await frames.count(`not ether src ${ours} and not ether src ${its} and ${toVip}`),
    forwarded: await frames.count(`ether src ${ours}`),
    toHim: await frames.count(`ether src ${ours} and ether dst ${its}`),
    back: await frames.count(`ether src ${its} and ${toVip}`),
    dropped: (await fairlead.view<DropsDocument>('drops')).reasons.find(({ reason }) => reason === 'came-back')?.count,
  });
  const sums = await waitFor(
    'each frame to be forwarded once, and dropped when it comes back',
    count,
    ({ came, forwarded, toHim, back, dropped }) =>
      toHim >= 8 && came === forwarded && toHim === back && back === dropped,
  );
  await frames.stop();
  ok(sums.forwarded > sums.toHim, 'the other server was served meanwhile');
  match(await fairlead.run('drops'), new RegExp(`${sums.dropped} +dropped +came-back +a server does not own the VIP`));
}

export const scenarios: Scenario[] = [
  {
    name: 'mixed-methods',
    title:
      'l2-dsr, l3-dsr and full-nat on one balancer; ICMP errors reach the flow’s server; what a server without the VIP sends back is dropped',
    picture,
    stage: async (lab) => {
      const net = await buildOneArm(lab, { servers: 2, captures: false });
      const direct = directServices(net);
      await setUpByText(net, net.config(direct));
      await net.fairlead.up(net.config({ ...direct, ...translated(net) }));
      return net;
    },
    run: async (net) => {
      await sideBySide(net);
      await errorsReachServers(net);
      await cameBack(net);
    },
  },
];
