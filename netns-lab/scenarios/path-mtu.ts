// What does not fit the tunnel: the client is told how much does, also when only a router on the way to the server knows,
// and what may be cut is cut. And the other way round: a router on the way to the client tells the server, by the balancer.
import { equal, match, ok } from 'node:assert/strict';
import { type Capture, capture } from '../lib/capture.ts';
import { webAndDatagrams } from '../lib/direct-return.ts';
import type { Host } from '../lib/host.ts';
import { forgetMtus, learnedMtu, narrow } from '../lib/path-mtu.ts';
import type { Scenario } from '../lib/scenario.ts';
import { setUpByText } from '../lib/server-setup.ts';
import { bigFile, sha256, udpPort, webPort } from '../lib/servers.ts';
import { download, upload, urlOf } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildRouted, picture } from '../topologies/routed.ts';
import { families, type Family, type Topology } from '../topologies/topology.ts';

// GRE over IPv4 takes 24 octets of each packet, over IPv6 44.
const overhead: Record<Family, number> = { 4: 24, 6: 44 };
const networks = {
  far: { 4: '10.0.2.0/24', 6: '2001:db8:d::/64' },
  clients: { 4: '198.51.100.0/24', 6: '2001:db8:c::/64' },
};

/** Whatever a path takes, the client is told what the tunnel leaves of it, and its upload completes. */
async function proveUpward(net: Topology, mtu: number, what: string, outer = overhead): Promise<void> {
  const big = bigFile(net.lab);
  for (const family of families) {
    const takers = [];
    for (const { name } of net.servers) {
      await forgetMtus(net.client);
      equal(await learnedMtu(net.client, net.vip[family]), null, 'the client knows nothing');
      const file = `${mtu}-${family}-${name}`;
      const taker = await upload(net.client, urlOf(net.vip[family], webPort, `/upload/${file}`), big.path);
      const server = net.servers.find((it) => it.name === taker);
      equal(server && sha256(server.upload(file)), big.sha256, `${what}: 10 MB up over IPv${family}`);
      const learned = await learnedMtu(net.client, net.vip[family]);
      equal(learned, mtu - outer[family], `${what}: the largest packet that fits, as the client was told`);
      takers.push(taker);
    }
    equal(new Set(takers).size, net.servers.length, `${what}: each server took one`);
  }
}

/** A datagram that fills the client's link and may be fragmented. */
async function proveFragments(net: Topology, host: Host, room: number, what: string): Promise<void> {
  const captures = await Promise.all(
    net.servers.map(({ name }) => capture({ host: net.lab.host('far'), device: name }, 'proto gre')),
  );
  // 1,500 octets with IP and UDP headers. The answer is larger, and fragmented by the server itself.
  const payload = 'x'.repeat(1472);
  const line = `socat -t 3 -b 65536 - UDP4:${net.vip[4]}:${udpPort},mtudiscover=0`;
  const refused = async () =>
    Promise.all(
      net.servers.map(async (server) => server.host.run("nstat -az UdpInCsumErrors | awk '/Udp/ { print $2 }'")),
    );
  const before = await refused();
  const answer = await host.run(line, { input: payload });
  // The sender leaves the checksum to its card, and a test run in the kernel knows no such frame (test/packet).
  equal((await refused()).join(' '), before.join(' '), `${what}: the checksum is made before the datagram is cut`);
  match(answer, /^web-\d 198\.51\.100\.101 \d+ x+$/, `${what}: answered`);
  equal(answer.split(' ')[3], payload, `${what}: the datagram arrived whole`);
  await Promise.all(captures.map((it) => it.stop()));
  const sum = async (filter: string) => (await counts(captures, filter)).reduce((a, b) => a + b, 0);
  // Of the packet inside, 24 octets further: its flag "more fragments", or its offset.
  equal(await sum('ip[30:2] & 0x2000 != 0'), 1, `${what}: a fragment that is not the last`);
  equal(await sum('ip[30:2] & 0x1fff != 0'), 1, `${what}: a fragment that is not the first`);
  ok((await sum(`ip[2:2] > ${room}`)) === 0, `${what}: each fits with its outer headers`);
  equal(await sum(''), 2, `${what}: and nothing else`);
}

function counts(captures: readonly Capture[], filter: string): Promise<number[]> {
  return Promise.all(captures.map((it) => it.count(filter)));
}

/** Downloads by servers that a router tells of the client's narrow link: it tells the VIP, that is: the balancer. */
async function proveDownward(net: Topology, mtu: number): Promise<void> {
  const [big, far] = [bigFile(net.lab), net.lab.host('far')];
  for (const family of families) {
    await forgetMtus(...net.servers.map(({ host }) => host));
    const isError = family === 4 ? 'ip[33] = 1' : 'ip6[50] = 58';
    const captures = await Promise.all(
      net.servers.map(({ name }) => capture({ host: far, device: name }, `proto gre and ${isError}`)),
    );
    const told = async () => (await counts(captures, '')).filter((count) => count > 0).length;
    for (const nth of net.servers.keys()) {
      // A server that is not told goes on sending what the router goes on dropping.
      equal(await download(net.client, urlOf(net.vip[family], webPort, '/big')), big.sha256, `download ${nth}`);
      await waitFor(`only those with a download to be told over IPv${family}`, told, (count) => count === nth + 1);
    }
    await Promise.all(captures.map((it) => it.stop()));
    for (const { name, host } of net.servers) {
      equal(await learnedMtu(host, net.plan.clientAddress[family]), mtu, `${name} knows the path to the client`);
    }
  }
}

async function prove(net: Topology): Promise<void> {
  const [router, stranger] = [net.lab.host('router'), net.plan.clients[1]];
  if (stranger === undefined) throw new Error('there is a second client');
  await proveUpward(net, 1500, 'on links of 1500 octets');
  await proveFragments(net, stranger, 1500, 'on links of 1500 octets');
  for (const family of families) await narrow(router, networks.clients[family], 'south', 1400);
  await proveDownward(net, 1400);
  for (const family of families) await narrow(router, networks.far[family], 'east', 1420);
  await proveUpward(net, 1420, 'with 1420 octets on the way to the servers');
  await proveFragments(net, stranger, 1420, 'with 1420 octets on the way to the servers');
}

/**
 * No tunnel, and every packet is the balancer's own: what routers say on either side is said to it, about packets whose
 * other ends nobody there knows.
 */
async function proveTranslated(net: Topology): Promise<void> {
  const [router, big] = [net.lab.host('router'), bigFile(net.lab)];
  for (const family of families) await narrow(router, networks.far[family], 'east', 1420);
  await proveUpward(net, 1420, 'with 1420 octets on the way to the servers', { 4: 0, 6: 0 });
  for (const family of families) await narrow(router, networks.clients[family], 'south', 1400);
  for (const family of families) {
    await forgetMtus(...net.servers.map(({ host }) => host));
    const url = urlOf(net.vip[family], webPort, '/big');
    for (const nth of net.servers.keys()) equal(await download(net.client, url), big.sha256, `download ${nth}`);
    for (const { name, host } of net.servers) {
      equal(await learnedMtu(host, net.vip[family]), 1400, `${name} knows the way to clients over IPv${family}`);
    }
  }
}

export const scenarios: Scenario[] = [
  {
    name: 'path-mtu-full-nat',
    title: 'what routers say about too large packets reaches clients and servers through full-nat, and transfers go on',
    picture,
    stage: async (lab) => {
      const net = await buildRouted(lab, { servers: 2, captures: false });
      const services = families.map((family) => {
        const service = { method: 'full-nat', family, port: webPort, more: { check: 'none' } } as const;
        return [`web${family}`, net.service(service)] as const;
      });
      await net.fairlead.up(net.config(Object.fromEntries(services)));
      return net;
    },
    run: proveTranslated,
  },
  {
    name: 'path-mtu',
    title:
      'clients are told what fits the tunnel and the way behind it, servers what fits the way to the client, and what may be cut is',
    picture,
    stage: async (lab) => {
      const net = await buildRouted(lab, { servers: 2, captures: false });
      const services = families.map((family) => {
        const options = { method: 'l3-dsr', family, tunnel: { type: 'gre' }, more: { check: 'none' } } as const;
        return [`web${family}`, webAndDatagrams(net, options)] as const;
      });
      const config = net.config(Object.fromEntries(services));
      await setUpByText(net, config);
      await net.fairlead.up(config);
      return net;
    },
    run: prove,
  },
];
