// The line between fairlead and the host it runs on: each frame is the business of exactly one of them.
import { deepEqual, equal, ok } from 'node:assert/strict';
import { capture } from '../lib/capture.ts';
import { assertShares } from '../lib/proof.ts';
import type { Scenario } from '../lib/scenario.ts';
import { udpPort, webPort } from '../lib/servers.ts';
import { datagrams, requests, urlOf } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { families, type Topology } from '../topologies/topology.ts';

const servers = { 4: '10.0.1.0/24', 6: '2001:db8:b::/64' };
const clients = { 4: '203.0.113.100', 6: '2001:db8:a::100' };

async function hostStaysSilent(net: Topology): Promise<void> {
  const outside = await capture(net.plan.ports.outside);
  for (const family of families) {
    const vip = net.vip[family];
    // Nobody serves this port of the VIP; a host that took the VIP for its own would reset the connection or complain.
    const closed = await net.client.attempt(`curl -s --connect-timeout 1 '${urlOf(vip, 81)}'`);
    ok([7, 28].includes(closed.code), `nobody answers at a port without a service: curl ended with ${closed.code}`);
    const stray = await net.client.attempt(
      `echo stray | socat -t0.3 - UDP${family}:${family === 6 ? `[${vip}]` : vip}:54`,
    );
    equal(stray.stdout, '', 'nobody answers a datagram to such a port');
    assertShares(await requests(net.client, vip, 3), { 'web-1': 1, 'web-2': 1, 'web-3': 1 }, 'the service itself');
    const frames = await outside.frames(`src host ${vip} and tcp`);
    deepEqual(
      frames.filter((frame) => frame.includes('Flags [R')),
      [],
      'no reset comes from the VIP',
    );
  }
  const complaints = await outside.frames(
    'icmp[0] == 3 or icmp[0] == 5 or (ip6 and icmp6 and (ip6[40] == 1 or ip6[40] == 137))',
  );
  deepEqual(complaints, [], 'the host neither complains nor redirects');
  const local = await net.balancer.run('ip -j address');
  for (const family of families) {
    ok(!local.includes(`"${net.vip[family]}"`), 'the VIP is not an address of the host');
  }
  await outside.stop();
}

async function notOurs(net: Topology): Promise<void> {
  const outside = await capture(net.plan.ports.outside);
  const inside = await capture(net.plan.ports.inside);
  const server = net.server(0).host;
  for (const family of families) {
    const address = net.plan.serverAddress(0, family);
    await net.client.run(`ping -n -c 5 -i 0.05 -W 2 ${address}`);
    await net.client.run(`ping -n -c 2 -i 0.05 -W 2 ${family === 4 ? '203.0.113.2' : '2001:db8:a::2'}`);
    assertShares(await requests(net.client, address, 10, webPort), { 'web-1': 10 }, 'straight to a server');
    assertShares(await datagrams(net.client, address, 10, udpPort), { 'web-1': 10 }, 'datagrams straight to a server');
    // The server's own connection to the outside, from the very port it serves on.
    const away = `${family === 4 ? 'TCP4' : 'TCP6'}:${family === 4 ? clients[4] : `[${clients[6]}]`}:7000`;
    const listener = await net.client.start(
      `listener-${family}`,
      `socat -u TCP${family}-LISTEN:7000,reuseaddr STDOUT`,
      {
        ready: async () => (await net.client.attempt('ss -Hltn sport = :7000')).stdout !== '',
      },
    );
    await server.run(`echo from-inside | socat -u - ${away}`);
    await waitFor(
      'the outside to hear the server',
      () => listener.output(),
      (text) => text.includes('from-inside'),
    );

    const [client, net6or4] = [clients[family], servers[family]];
    const both = async (filter: string) => [await outside.count(filter), await inside.count(filter)];
    for (const filter of [
      `${family === 4 ? 'icmp' : 'icmp6'} and src host ${client} and dst net ${net6or4}`,
      `tcp and src host ${client} and dst net ${net6or4}`,
      `tcp and dst host ${client} and src net ${net6or4}`,
      `udp and src host ${client} and dst net ${net6or4}`,
      `udp and dst host ${client} and src net ${net6or4}`,
    ]) {
      const same = ([left, right]: number[]) => left === right && (left ?? 0) > 0;
      await waitFor(`each frame of "${filter}" to pass exactly once`, () => both(filter), same);
    }
  }
  await Promise.all([outside.stop(), inside.stop()]);
}

async function vipAnswers(net: Topology): Promise<void> {
  const outside = await capture(net.plan.ports.outside);
  const config = net.config(net.everyService('nat'));
  await net.fairlead.up(config);
  const [vip4, vip6] = [net.vip[4], net.vip[6]];
  const seen = (filter: string) => outside.count(filter);
  // ARP: operation at offset 6, sender's address at 14, target's at 24. An announcement names one address twice.
  const announced4 = () => seen(`arp and arp[14:4] == arp[24:4] and arp[14:4] == 0xcb00710a`);
  await waitFor('gratuitous ARP for the VIP', announced4, (count) => count > 0);
  const announced6 = () =>
    seen(
      `icmp6 and ip6[40] == 136 and dst host ff02::1 and ip6[48:4] == 0x20010db8 and ip6[52:4] == 0x000a0000 and ip6[60:4] == 0x10`,
    );
  await waitFor('an unsolicited neighbour advertisement for the VIP', announced6, (count) => count > 0);

  const mac = await net.balancer.mac('out');
  for (const vip of [vip4, vip6]) {
    await net.client.run('ip neigh flush dev eth0');
    await net.client.run(`ping -n -c 3 -i 0.05 -W 2 ${vip}`);
    const neighbour = await net.client.run(`ip neigh show ${vip} dev eth0`);
    ok(neighbour.includes(mac), `${vip} is found at the balancer's own MAC ${mac}: ${neighbour}`);
  }
  // Two answers to one question would mean that the host answers too.
  const answers = await net.client.run(`arping -c 3 -w 5 -i eth0 ${vip4}`);
  equal(answers.match(new RegExp(`from ${mac}`, 'g'))?.length, 3, `one answer to each ARP request:\n${answers}`);
  const stranger = await net.client.attempt('arping -c 1 -w 1 -i eth0 203.0.113.77');
  ok(stranger.code !== 0, 'an address of nobody stays unanswered');
  await net.client.run(`ping -n -c 2 -i 0.05 -s 1200 -W 2 ${vip4}`);
  await net.client.run(`ping -n -c 2 -i 0.05 -s 1200 -W 2 ${vip6}`);
  await outside.stop();
}

async function hopLimit(net: Topology): Promise<void> {
  for (const family of families) {
    const outside = await capture(net.plan.ports.outside, family === 4 ? 'icmp[0] == 11' : 'icmp6 and ip6[40] == 3');
    const [vip, balancer] = [net.vip[family], family === 4 ? '203.0.113.2' : '2001:db8:a::2'];
    const target = family === 4 ? `UDP4:${vip}:53,ttl=1` : `UDP6:[${vip}]:53,unicast-hops=1`;
    await net.client.attempt(`echo last-hop | socat -t0.3 - ${target}`);
    const told = () => outside.frames(`src host ${balancer} or src host ${vip}`);
    await waitFor(`time exceeded over IPv${family}`, told, (frames) => frames.length === 1);
    await outside.stop();
  }
  // Behind the driver these datagrams still owe their checksums, and only user space can make an answer of them. In the
  // driver it depends on how much room the buffer has.
  const { reasons } = await net.fairlead.json<{ reasons: { reason: string; count: number }[] }>('drops');
  const handedUp = reasons.find(({ reason }) => reason === 'slow-path')?.count;
  if (net.lab.engine === 'tc') equal(handedUp, families.length, 'frames that a program left to user space');
  if (net.lab.engine === 'packet') equal(handedUp, 0, 'there is no slow path in user space');
}

export const scenarios: Scenario[] = [
  {
    name: 'host-stays-silent',
    title: 'the host never answers for a VIP: no reset, no complaint, no redirect',
    picture,
    stage: async (lab) => {
      const net = await buildInline(lab);
      // Or fairlead would reset it, and be taken for the host.
      return net.serving('nat', { more: { check: 'none' } }, { 'on-no-service': 'drop' });
    },
    run: hostStaysSilent,
  },
  {
    name: 'not-ours',
    title:
      "what is for no VIP is the host's: pings, direct requests and the servers' own connections pass exactly once",
    picture,
    stage: async (lab) => (await buildInline(lab)).serving('nat', { more: { check: 'none' } }),
    run: notOurs,
  },
  {
    name: 'vip-answers',
    title: 'the VIP announces itself at start and answers ARP, neighbour discovery and ping, once each',
    picture,
    stage: (lab) => buildInline(lab),
    run: vipAnswers,
  },
  {
    name: 'hop-limit',
    title: 'a packet whose hops are used up is answered with time exceeded',
    picture,
    stage: async (lab) => (await buildInline(lab)).serving('nat'),
    run: hopLimit,
  },
];
