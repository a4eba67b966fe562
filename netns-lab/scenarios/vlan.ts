// Frames with a VLAN tag: what comes in a VLAN goes on in it, requests, answers, and what the balancer itself says.
import { equal, match, ok } from 'node:assert/strict';
import { capture } from '../lib/capture.ts';
import { makeTrunk } from '../lib/programs.ts';
import type { Lab } from '../lib/lab.ts';
import { assertServed } from '../lib/proof.ts';
import type { Scenario } from '../lib/scenario.ts';
import { bigFile, sha256 } from '../lib/servers.ts';
import { datagrams, download, requests, upload, urlOf } from '../lib/traffic.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { families, type Topology } from '../topologies/topology.ts';

const vlan = 100; // as programs/trunk.bpf.c has it

async function inVlan(net: Topology): Promise<void> {
  const { inside, outside } = net.plan.ports;
  const seen = [await capture(outside), await capture(inside)];
  const big = bigFile(net.lab);
  for (const family of families) {
    const vip = net.vip[family];
    assertServed(await requests(net.client, vip, 9), 9, ['web-1'], `IPv${family} requests`);
    equal((await datagrams(net.client, vip, 6)).errors, 0, `IPv${family} datagrams`);
    match(await net.client.run(`ping -n -c 3 -i 0.05 -W 2 ${vip}`), /3 received/, `IPv${family}: the VIP answers`);
    equal(await download(net.client, urlOf(vip, 80, '/big')), big.sha256, `IPv${family}: 10 MB down`);
    await upload(net.client, urlOf(vip, 80, `/upload/${family}`), big.path);
    equal(sha256(net.server(0).upload(String(family))), big.sha256, `IPv${family}: 10 MB up`);
    for (const [side, frames] of seen.entries()) {
      const client = net.plan.clientAddress[family];
      // A pcap filter looks behind a tag only after "vlan".
      equal(await frames.count(`host ${client}`), 0, `IPv${family}: frames without a tag, side ${side}`);
      ok(
        (await frames.count(`vlan ${vlan} and host ${client}`)) > 50,
        `IPv${family}: frames in the VLAN, side ${side}`,
      );
    }
  }
  await Promise.all(seen.map((frames) => frames.stop()));
}

/**
 * Clients and server know nothing of it: their switch ports are in the VLAN, and only the balancer's carries the tag. Its
 * host has no interface in there, so who is where on the servers' side is written down.
 */
async function stage(lab: Lab): Promise<Topology> {
  const net = await buildInline(lab, { servers: 1, captures: false });
  const { balancer, plan } = net;
  const server = net.server(0).host;
  for (const { host, device: trunk } of Object.values(plan.ports)) {
    await makeTrunk(host, trunk);
    // As on a wire: by default a veth hands the tag on beside the frame, where a program in the driver does not see it.
    if (lab.isReadyForXdp) await host.run(`ethtool -K ${trunk} txvlan off`);
  }
  for (const family of families) {
    const [near, far] = [plan.balancerAddress[family], plan.serverAddress(0, family)];
    await server.run(`ip neigh replace ${near} lladdr ${await balancer.mac('in')} dev eth0 nud permanent`);
    await balancer.run(`ip neigh replace ${far} lladdr ${await server.mac('eth0')} dev in nud permanent`);
  }
  return net.serving('nat', { more: { check: 'none' } });
}

export const scenarios: Scenario[] = [
  {
    name: 'vlan',
    title: 'what comes in a VLAN goes on in it, both ways and whole, and the VIP is answered for there',
    picture,
    stage,
    run: inVlan,
  },
];
